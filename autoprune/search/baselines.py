"""Uniform-ratio baselines: what a careful person would try by hand, measured the same way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from autoprune.errors import TrialFailed
from autoprune.plan import PruningPlan
from autoprune.pruning.prune import uniform_plan
from autoprune.pruning.size import model_size
from autoprune.record import LatencyResult, TrialRecord
from autoprune.search.evaluate import Candidate, evaluate
from autoprune.search.listener import SearchListener
from autoprune.search.workbench import Workbench
from autoprune.yaml_io import dump_yaml, load_yaml, write_atomic

RATIOS = tuple(step / 20 for step in range(1, 17))  # 0.05 .. 0.80
FIXED_RATIOS = (0.25, 0.5)  # when the goal sets no latency
STRONGER_SHARE = 0.75  # the second baseline aims at this share of the budget


@dataclass(frozen=True)
class UniformPlan:
    """One ratio for every index, widths rounded up to whole channel blocks."""

    ratio: float
    block: int
    plan: PruningPlan
    macs: int

    @property
    def name(self) -> str:
        """For example `uniform-0.30-r16`: ratio and rounding."""
        return f"uniform-{self.ratio:.2f}-r{self.block}"


def evaluate_baselines(
    bench: Workbench, budget_ms: float | None, listener: SearchListener
) -> list[TrialRecord]:
    """Prune uniformly, measure and fine-tune two baselines; finished ones are read back.

    With a latency budget: the mildest block-aligned uniform plan within it, ratio and rounding
    tuned by measurement, and the mildest within STRONGER_SHARE of it.
    """
    done = bench.folder.baseline_records()
    if len(done) >= 2:
        return done
    for uniform, latency in _chosen(bench, budget_ms, listener):
        if any(record.name == uniform.name for record in done):
            continue
        listener.candidate(f"baseline {uniform.name}", None, None)
        candidate = Candidate("baseline", uniform.name, None, uniform.plan)
        record = evaluate(bench, candidate, None, listener, latency)
        listener.result(record, None)
        done.append(record)
    return done


def blocks_of(isa: str) -> tuple[int, ...]:
    """Channel blocks worth rounding to: CPU kernels work on 8 at once, with AVX-512 on 16."""
    return (8, 16) if isa == "avx512" else (8,)


def uniform_plans(bench: Workbench) -> list[UniformPlan]:
    """All different block-aligned uniform plans, from the mildest to the strongest by MACs."""
    assert bench.dense_latency is not None
    found: dict[tuple[int, ...], UniformPlan] = {}
    for block in reversed(blocks_of(bench.dense_latency.fingerprint.isa)):
        for ratio in RATIOS:
            plan = uniform_plan(bench.pruner.widths, ratio, block)
            plan = bench.annotated(_without_protected(plan, bench))
            signature = bench.pruner.signature(plan)
            if signature not in found and not plan.removes_nothing():
                macs = model_size(bench.pruner.prune(plan), bench.imgsz).macs
                found[signature] = UniformPlan(ratio, block, plan, macs)
    return sorted(found.values(), key=lambda uniform: -uniform.macs)


def _without_protected(plan: PruningPlan, bench: Workbench) -> PruningPlan:
    ratios = dict(plan.prune_ratios)
    for index in bench.config.protect:
        if ratios[index] is not None:
            ratios[index] = (0.0, 0.0) if isinstance(ratios[index], tuple) else 0.0
    return replace(plan, prune_ratios=ratios)


def _chosen(
    bench: Workbench, budget_ms: float | None, listener: SearchListener
) -> list[tuple[UniformPlan, LatencyResult | None]]:
    plans = uniform_plans(bench)
    if budget_ms is None:
        wanted = (
            min(plans, key=lambda u: (abs(u.ratio - ratio), -u.block)) for ratio in FIXED_RATIOS
        )
        return [(uniform, None) for uniform in dict.fromkeys(wanted)]
    noted = bench.folder.root / "baselines" / "chosen.yaml"
    if noted.exists():  # a resumed study keeps its baselines, whatever today's noise would choose
        names = load_yaml(noted)["baselines"]
        return [(uniform, None) for uniform in plans if uniform.name in names]
    listener.say("Looking for the mildest uniform plan within the budget.")
    measured: dict[str, LatencyResult] = {}

    def fits(limit_ms: float, uniform: UniformPlan) -> bool:
        if uniform.name not in measured:
            listener.candidate(uniform.name, None, None)
            listener.stage("latency")
            pruned = bench.pruner.prune(uniform.plan)
            try:
                measured[uniform.name] = bench.measure(pruned, bench.folder.root / "baselines")
            except TrialFailed as failure:
                listener.say(f"{uniform.name}: {failure}")
                return False
        return measured[uniform.name].high_ms <= limit_ms

    mildest = _first(plans, partial(fits, budget_ms))
    weaker = plans[plans.index(mildest) + 1 :]
    chosen = [mildest]
    if weaker:
        chosen.append(_first(weaker, partial(fits, STRONGER_SHARE * budget_ms)))
    write_atomic(noted, dump_yaml({"baselines": [uniform.name for uniform in chosen]}))
    return [(uniform, measured.get(uniform.name)) for uniform in chosen]


def _first(plans: list[UniformPlan], fits: Callable[[UniformPlan], bool]) -> UniformPlan:
    """The first plan that fits, by bisection; the last one if none does."""
    low, high = 0, len(plans) - 1
    while low < high:
        middle = (low + high) // 2
        if fits(plans[middle]):
            high = middle
        else:
            low = middle + 1
    fits(plans[low])  # so that it is measured, even where bisection never looked
    return plans[low]
