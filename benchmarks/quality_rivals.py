"""The final plan of each method within a latency level, and how its network is made.

All methods choose by the same rule: the measured latency, not the predicted one, is at most the
level. What was chosen is plain data, so that a continued run makes the same network again.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from quality_bench import Quality, latency_row
from quality_pool import load_pool, usable
from torch import nn

from autoprune.evaluation.quiet import quiet
from autoprune.evaluation.recalibrate import recalibrate_batchnorm
from autoprune.plan import PruningPlan
from autoprune.pruning.prune import Pruner, uniform_plan
from autoprune.search.baselines import uniform_plans
from autoprune.search.solver import cheapest_plan

CLOSE = 0.985  # a plan that uses this share of the level need not be improved on
TRIES = 8  # measurements spent on getting one plan within the level
SAFETY = 0.998  # aim this much below the level: measurements differ by as much
BISECTIONS = 6
STRONGEST = 0.85  # uniform ratio given to torch-pruning at most

Choice = dict[str, Any]


class NoPlan(Exception):
    """A method has no plan within the level, or cannot be run here."""


@dataclass(frozen=True)
class Finals:
    """Finds and makes the final plans of all methods on one data set."""

    quality: Quality
    name: str

    @cached_property
    def l2_pruner(self) -> Pruner:
        """The documented engine: channels by their L2 norm, nothing takes over for them."""
        return Pruner(self.quality.bench.yolo.model, "l2")

    @cached_property
    def pool_rows(self) -> list[dict[str, Any]]:
        """The data set's pool, if there is one."""
        return usable(load_pool(self.name))

    def choose(self, method: str, level: float) -> Choice:
        """Find a method's plan for a level: how to make it, and its latency as measured.

        Raises:
            NoPlan: There is none within the level.
        """
        return METHODS[method][0](self, level)

    def make(self, method: str, choice: Choice) -> nn.Module:
        """The pruned network of a choice, before any training."""
        return METHODS[method][1](self, choice)


def _ours(finals: Finals, level: float) -> Choice:
    """The profile's cheapest plan, its limit corrected by how far measurements are off."""
    quality, profile = finals.quality, finals.quality.profile
    solved = [row for row in finals.pool_rows if row["origin"] == "solver"]
    bias = statistics.median([row["ratio"] / row["predicted_ratio"] for row in solved] or [1.0])
    limit, best, seen = SAFETY * level / bias, None, set()
    for _ in range(TRIES):
        kept = profile.kept(cheapest_plan(profile, np.ones(len(profile.names)), limit))
        plan = quality.bench.space.plan(kept)
        if tuple(kept.values()) in seen:
            limit *= SAFETY
            continue
        seen.add(tuple(kept.values()))
        latency = quality.measure(quality.bench.pruner.prune(plan), f"ours-{level:g}")
        if latency.ratio <= level and (best is None or latency.ratio > best["ratio"]):
            best = _plan_choice(plan, f"limit {limit:.3f}") | latency_row(latency)
        if best is not None and best["ratio"] >= CLOSE * level:
            break
        limit *= SAFETY * level / latency.ratio
    if best is None:
        raise NoPlan(f"no plan within {level:g} of the dense latency")
    return best


def _uniform(finals: Finals, level: float) -> Choice:
    """The best uniform plan within the level, ratio and rounding tuned.

    With a pool, the one with the best fine-tuned val score there; without, the mildest.
    """
    for plan, how in _uniform_candidates(finals, level):
        module = finals.quality.bench.pruner.prune(plan)
        latency = finals.quality.measure(module, f"uniform-{level:g}")
        if latency.ratio <= level:
            return _plan_choice(plan, how) | latency_row(latency)
    raise NoPlan(f"no uniform plan within {level:g} of the dense latency")


def _uniform_candidates(finals: Finals, level: float) -> Iterable[tuple[PruningPlan, str]]:
    bench = finals.quality.bench
    pooled = [
        row for row in finals.pool_rows if row["origin"] == "uniform" and row["ratio"] <= level
    ]
    for row in sorted(pooled, key=lambda row: -row["val"]):
        ratio, block = row["drawn"]["ratio"], row["drawn"]["round_to"]
        plan = uniform_plan(bench.pruner.widths, ratio, block)
        yield plan, f"ratio {ratio:g}, rounded to {block}; best of {len(pooled)} in the pool"
    for uniform in uniform_plans(bench):
        if finals.quality.predicted_ratio(uniform.plan) <= 1.02 * level:
            yield uniform.plan, f"ratio {uniform.ratio:g}, rounded to {uniform.block}; the mildest"


def _as_planned(finals: Finals, choice: Choice) -> nn.Module:
    return finals.quality.bench.pruner.prune(_plan(choice))


def _by_l2(finals: Finals, choice: Choice) -> nn.Module:
    """The uniform plan's widths with the documented engine; same shapes, so the same latency."""
    module = finals.l2_pruner.prune(_plan(choice))
    return _recalibrated(finals.quality, module)


def _torch_pruning(finals: Finals, level: float) -> Choice:
    """The mildest uniform ratio within the level; of both roundings, the one with more MACs."""
    from autoprune.pruning.size import model_size

    quality = finals.quality
    _require_torch_pruning()
    found: list[Choice] = []
    for block in (8, 16):
        low, high = 0.0, STRONGEST
        best: Choice | None = None
        for _ in range(BISECTIONS):
            ratio = (low + high) / 2
            choice: Choice = {"ratio_removed": ratio, "round_to": block}
            module = _pruned_by_torch_pruning(quality, choice)
            latency = quality.measure(module, f"torch-pruning-{level:g}")
            if latency.ratio <= level:
                macs = model_size(module, quality.bench.imgsz).macs
                how = f"ratio {ratio:.3f}, rounded to {block}"
                best = {**choice, "how": how, "macs": macs, **latency_row(latency)}
                high = ratio
            else:
                low = ratio
        found += [best] if best else []
    if not found:
        raise NoPlan(f"no network within {level:g} of the dense latency")
    return max(found, key=lambda choice: choice["macs"])


def _made_by_torch_pruning(finals: Finals, choice: Choice) -> nn.Module:
    _require_torch_pruning()
    module = _pruned_by_torch_pruning(finals.quality, choice)
    return _recalibrated(finals.quality, module)


def _require_torch_pruning() -> None:
    try:
        import torch_pruning  # noqa: F401
    except ImportError:
        raise NoPlan("torch-pruning is not installed") from None


def _pruned_by_torch_pruning(quality: Quality, choice: Choice) -> nn.Module:
    from quality_torch_pruning import prune_uniformly

    bench = quality.bench
    with quiet(bench.folder.root / "log.txt"):
        return prune_uniformly(
            bench.yolo.model, bench.imgsz, choice["ratio_removed"], choice["round_to"]
        )


def _recalibrated(quality: Quality, module: nn.Module) -> nn.Module:
    bench = quality.bench
    recalibrate_batchnorm(module, bench.recalibration_images, bench.train_size, bench.device)
    return module


def _plan_choice(plan: PruningPlan, how: str) -> Choice:
    """The plan's widths alone: what else its file holds is this machine's."""
    content = plan.to_mapping()
    return {
        "how": how,
        "plan": {"prune_ratios": content["prune_ratios"], "round_to": plan.round_to},
    }


def _plan(choice: Choice) -> PruningPlan:
    """The plan of a choice; JSON turns its indices into text."""
    ratios = {int(index): ratio for index, ratio in choice["plan"]["prune_ratios"].items()}
    return PruningPlan.from_mapping({**choice["plan"], "prune_ratios": ratios})


METHODS: dict[
    str,
    tuple[Callable[[Finals, float], Choice], Callable[[Finals, Choice], nn.Module]],
] = {
    "ours": (_ours, _as_planned),
    "uniform": (_uniform, _as_planned),
    "uniform, l2": (_uniform, _by_l2),
    "torch-pruning": (_torch_pruning, _made_by_torch_pruning),
}
