"""The final plan of each method within a latency level, and how its network is made.

All methods choose by the same rule: the measured latency, not the predicted one, is at most the
level. What was chosen is plain data, so that a continued run makes the same network again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from torch import nn

from autoprune.domain.plan import PruningPlan
from autoprune.domain.record import TrialRecord
from autoprune.evaluation.quiet import quiet
from autoprune.evaluation.recalibrate import recalibrate_batchnorm
from autoprune.pruning.prune import Pruner, uniform_plan
from autoprune.search.evaluate.baselines import uniform_plans
from autoprune.search.learn.target_space import with_target_space
from benchmarks.lib.provenance import RESULTS
from benchmarks.search_quality.bench import Quality, latency_row
from benchmarks.search_quality.plans import plan_of
from benchmarks.search_quality.pool import load_pool, usable
from benchmarks.search_quality.replay import replayed_rows
from benchmarks.search_quality.scored import scored_study

SCORED = 40  # plans of a search for one level
TRIES = 12  # measurements spent on getting one of them within the level
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

    @cached_property
    def replayed(self) -> dict[str, Any]:
        """What `replay` found on the pool; {} before it ran."""
        path = RESULTS / f"search_quality_replay_{self.name}.json"
        content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return content

    def scored(self, level: float) -> list[TrialRecord]:
        """The trials of a search for a level: scored, none trained; kept in its own study."""
        listener, name = self.quality.listener, f"confirm-{level:g}"
        bench = with_target_space(self.quality.bench, listener)
        return scored_study(bench, listener, name, "profile", level, SCORED, proposed=True)

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
    """Of a search's trials within the level, the one that scores best without training."""
    quality = finals.quality
    known = [record for record in finals.scored(level) if record.untrained_map50_95]
    known.sort(key=lambda record: -(record.untrained_map50_95 or 0.0))
    for record in [record for record in known if record.same_as is None][:TRIES]:
        plan = record.pruning_plan()
        latency = quality.measure(quality.bench.pruner.prune(plan), f"ours-{level:g}")
        if latency.ratio <= level:
            how = f"trial {record.number} of {SCORED}, by the score without training"
            return _plan_choice(plan, how, 0) | latency_row(latency)
    raise NoPlan(f"no plan within {level:g} of the dense latency")


def _replayed(finals: Finals, level: float, family: str) -> Choice:
    """The best fine-tuned plan within the level that a sampler finds in the replay, seed 0."""
    pool = load_pool(finals.name)
    if not finals.replayed:
        raise NoPlan("the pool was not replayed")
    rival = finals.replayed["tuned_nsga2"] if family == "nsga2" else family
    steps = finals.replayed["steps"]
    rows = replayed_rows(pool, usable(pool), rival, 0, steps)
    within = [row for row in rows if row["ratio"] <= level]
    if not within:
        raise NoPlan(f"none of {steps} plans is within {level:g} of the dense latency")
    best = max(within, key=lambda row: row["val"])
    kept = {**best, "kept": [int(width) for width in best["kept"].split()]}
    how = f"plan {best['number']} of the pool, its best within the level after {steps} fine-tunes"
    choice = _plan_choice(plan_of(finals.quality, kept), how, steps)
    return choice | {key: best[key] for key in ("ratio", "ratio_low", "ratio_high", "steady")}


def _uniform(finals: Finals, level: float) -> Choice:
    """The best uniform plan within the level, ratio and rounding tuned.

    With a pool, the one with the best fine-tuned val score there; without, the mildest.
    """
    for plan, how in _uniform_candidates(finals, level):
        module = finals.quality.bench.pruner.prune(plan)
        latency = finals.quality.measure(module, f"uniform-{level:g}")
        if latency.ratio <= level:
            tried = sum(row["origin"] == "uniform" for row in finals.pool_rows)
            return _plan_choice(plan, how, tried) | latency_row(latency)
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
    return finals.quality.bench.pruner.prune(plan_in(choice))


def _by_l2(finals: Finals, choice: Choice) -> nn.Module:
    """The uniform plan's widths with the documented engine; same shapes, so the same latency."""
    module = finals.l2_pruner.prune(plan_in(choice))
    return _recalibrated(finals.quality, module)


def _torch_pruning(finals: Finals, level: float) -> Choice:
    """The mildest uniform ratio within the level; of the roundings, the one with most MACs."""
    from autoprune.pruning.size import model_size

    quality = finals.quality
    _require_torch_pruning()
    found: list[Choice] = []
    for block in (1, 8, 16):
        low, high = 0.0, STRONGEST
        best: Choice | None = None
        for _ in range(BISECTIONS):
            ratio = (low + high) / 2
            plan = {"ratio_removed": ratio, "round_to": block}
            module = _pruned_by_torch_pruning(quality, plan)
            latency = quality.measure(module, f"torch-pruning-{level:g}")
            if latency.ratio <= level:
                macs = model_size(module, quality.bench.imgsz).macs
                how = f"ratio {ratio:.3f}, rounded to {block}"
                best = {"how": how, "fine_tunes": 0, "plan": plan, "macs": macs}
                best |= latency_row(latency)
                high = ratio
            else:
                low = ratio
        found += [best] if best else []
    if not found:
        raise NoPlan(f"no network within {level:g} of the dense latency")
    return max(found, key=lambda choice: choice["macs"])


def _made_by_torch_pruning(finals: Finals, choice: Choice) -> nn.Module:
    _require_torch_pruning()
    module = _pruned_by_torch_pruning(finals.quality, choice["plan"])
    return _recalibrated(finals.quality, module)


def _require_torch_pruning() -> None:
    try:
        import torch_pruning  # noqa: F401
    except ImportError:
        raise NoPlan("torch-pruning is not installed") from None


def _pruned_by_torch_pruning(quality: Quality, plan: dict[str, Any]) -> nn.Module:
    from benchmarks.search_quality.torch_pruning_rival import prune_uniformly

    bench = quality.bench
    with quiet(bench.folder.root / "log.txt"):
        return prune_uniformly(
            bench.yolo.model, bench.imgsz, plan["ratio_removed"], plan["round_to"]
        )


def _recalibrated(quality: Quality, module: nn.Module) -> nn.Module:
    bench = quality.bench
    recalibrate_batchnorm(module, bench.recalibration_images, bench.train_size, bench.device)
    return module


def _plan_choice(plan: PruningPlan, how: str, fine_tunes: int) -> Choice:
    """The plan's widths alone: what else its file holds is this machine's."""
    content = plan.to_mapping()
    return {
        "how": how,
        "fine_tunes": fine_tunes,
        "plan": {"prune_ratios": content["prune_ratios"], "round_to": plan.round_to},
    }


def plan_in(choice: Choice) -> PruningPlan:
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
    "random": (partial(_replayed, family="random"), _as_planned),
    "tpe": (partial(_replayed, family="tpe"), _as_planned),
    "nsga2": (partial(_replayed, family="nsga2"), _as_planned),
}
