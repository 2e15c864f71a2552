"""Times what could be run instead of the dense model: pruned, smaller, or a stock export of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import nn

from autoprune.domain.plan import PruningPlan
from autoprune.domain.record import LatencyResult
from autoprune.domain.space import SearchSpace
from autoprune.domain.verdict import Option, OptionKind
from autoprune.families.siblings import smaller_siblings
from autoprune.latency.exported_model import ExportedModel
from autoprune.latency.measure import TimingSettings, compare
from autoprune.latency.predictor import LatencyPredictor
from autoprune.search.learn.learn_latency import LatencyBench, models_at_once
from autoprune.search.learn.profile import Profile
from autoprune.search.propose.solver import cheapest_plan

AIM = 0.96  # of the limit, for the proposed plan: predictions miss by a percent or two
SIBLINGS = SIZES = 2  # at most, of each
GLANCE = TimingSettings(min_blocks=12, min_s=0.5, dense_s=2.0, cap_s=5.0)

_Row = tuple[OptionKind, str, float | None, PruningPlan | None, nn.Module]


class OptionsBench(LatencyBench, Protocol):
    """What timing the options needs of a study."""

    @property
    def space(self) -> SearchSpace:
        """Widths on offer."""


class Cropped(nn.Module):
    """A model at a smaller image size that takes the full size: so both are timed interleaved."""

    def __init__(self, model: nn.Module, imgsz: tuple[int, int]) -> None:
        super().__init__()
        self.model, self.imgsz = model, imgsz

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Cut the corner out (a copy, some 0.2 % of the time) and run the model on it."""
        height, width = self.imgsz
        found: torch.Tensor = self.model(image[:, :, :height, :width].contiguous())
        return found


def timed_options(
    bench: OptionsBench,
    predictor: LatencyPredictor,
    limit_ms: float | None,
    folder: Path,
    known: LatencyResult | None = None,
    worth: Callable[[float], bool] = lambda cost_s: True,
    alone: Callable[[nn.Module], LatencyResult] | None = None,
) -> tuple[LatencyResult, tuple[Option, ...]]:
    """Time the floor, the cheapest plan, siblings and image sizes beside the dense model.

    Last comes the dense model exported without the rewrites, where the runtime has them: what a
    stock exporter's file costs. All run interleaved in one process, as far as memory allows; none
    is trained.

    Args:
        bench: With the dense model exported and measured.
        predictor: Proposes the cheapest plan for the limit.
        limit_ms: The latency limit; None where there is none, or nothing to look for.
        folder: For the runtime's files.
        known: The dense model's latency, to be relied on; None: as timed now.
        worth: Asked, with the seconds it will cost, before each further one after the pruned ones.
        alone: Times the cheapest plan, beside the dense model only; None: with all the others.

    Returns:
        The dense model's latency, and the options, the floor first.

    Raises:
        TrialFailed: A model cannot be exported or timed.
        TargetUnreachable: The device does not answer.
    """
    share = limit_ms and limit_ms / bench.dense_latency.median_ms
    rows = list(_pruned(bench, predictor, share))
    apart = [row for row in rows if row[0] == "plan" and alone is not None]
    rows = [row for row in rows if row not in apart]
    models: list[ExportedModel] = []
    longest_s = 0.0
    for row in (*rows, *_others(bench, share)):
        number = len(models)
        if number >= len(rows):
            if not worth(longest_s + GLANCE.cap_s / 2 * (number + 2)):
                break
            rows.append(row)
        began = time.monotonic()
        kind, module = row[0], row[-1]
        rewritten = kind != "stock export"
        models.append(bench.export(module, folder / str(number), rewritten=rewritten))
        longest_s = max(longest_s, time.monotonic() - began)
    results: list[LatencyResult] = []
    dense = known
    together = models_at_once(bench.dense_export)
    for start in range(0, len(models), together):
        part = [bench.dense_export, *models[start : start + together]]
        dense, *timed = compare(bench.target, part, bench.options, GLANCE, dense)
        results += timed
    if alone is not None:
        results[1:1] = [alone(row[-1]) for row in apart]
        rows[1:1] = apart
    options = tuple(
        Option(
            kind=kind,
            name=name,
            latency=latency,
            params=sum(parameter.numel() for parameter in module.parameters()),
            removed=removed,
            plan=plan.to_mapping() if plan else None,
        )
        for (kind, name, removed, plan, module), latency in zip(rows, results, strict=True)
    )
    return dense or bench.dense_latency, options


def smaller_sizes(
    imgsz: tuple[int, int], stride: int, share: float | None
) -> list[tuple[int, int]]:
    """Image sizes worth timing: for a limit, the largest one likely within it and the next.

    Args:
        imgsz: Height and width in pixels.
        stride: Sides are multiples of it.
        share: The limit as a share of the dense latency, which goes with the area; None for none.
    """
    scale = 0.8 if share is None or share >= 1 else share**0.5
    longest = min(int(max(imgsz) * scale) // stride * stride, max(imgsz) - stride)
    step = max(stride, longest // 5 // stride * stride)
    found = [
        tuple(max(stride, round(side * longer / max(imgsz) / stride) * stride) for side in imgsz)
        for longer in (longest, longest - step)
        if longer >= stride
    ]
    return [(height, width) for height, width in dict.fromkeys(found)][:SIZES]


def _pruned(
    bench: OptionsBench, predictor: LatencyPredictor, share: float | None
) -> Iterator[_Row]:
    """The strongest plan and, if the limit can be met by prediction, the cheapest one for it."""
    channels = sum(group.width for group in bench.pruner.groups)
    strongest = {name: offered[0] for name, offered in bench.space.choices.items()}
    plans: list[tuple[OptionKind, str, PruningPlan]] = [
        ("floor", "floor: all at strongest", bench.space.plan(strongest))
    ]
    if share is not None:
        profile = Profile.of(bench.pruner, bench.space, predictor)
        positions = cheapest_plan(profile, np.ones(len(profile.names)), AIM * share)
        if profile.latency_ratios(positions[None])[0] <= AIM * share:
            plans.append(("plan", "cheapest plan", bench.space.plan(profile.kept(positions))))
    for kind, name, plan in plans:
        removed = 1 - sum(bench.pruner.signature(plan)) / channels
        yield kind, name, removed, plan, bench.pruner.prune(plan)


def _others(bench: OptionsBench, share: float | None) -> Iterator[_Row]:
    model = bench.pruner.model
    for name, sibling in smaller_siblings(model, SIBLINGS):
        yield "sibling", name, None, None, sibling
    stride = int(max(torch.as_tensor(model.stride).tolist()))
    for size in smaller_sizes(bench.imgsz, stride, share):
        yield "image size", f"{size[0]}x{size[1]} px", None, None, Cropped(model, size)
    if bench.options.row.rewritten:
        yield "stock export", "stock export", None, None, model
