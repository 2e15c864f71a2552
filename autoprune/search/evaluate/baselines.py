"""Uniform-ratio baselines: what a careful person would try by hand, measured the same way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

import numpy as np

from autoprune.domain.goal import Evidence
from autoprune.domain.plan import PruningPlan
from autoprune.domain.record import TrialRecord
from autoprune.pruning.prune import uniform_plan
from autoprune.pruning.trace_geometry import model_geometry
from autoprune.search.context.workbench import Informed
from autoprune.search.evaluate.candidate import Candidate

RATIOS = tuple(step / 20 for step in range(1, 17))  # 0.05 .. 0.80
FIXED_RATIOS = (0.25, 0.5)  # when the goal sets no latency
BASELINES = 2  # one within the latency limit, and the next milder one


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


@dataclass(frozen=True)
class NextBaseline:
    """A uniform plan to be measured next.

    Attributes:
        however_slow: It is to be fine-tuned even if it is over the latency limit.
    """

    candidate: Candidate
    however_slow: bool


def next_baseline(bench: Informed, done: Sequence[TrialRecord]) -> NextBaseline | None:
    """The uniform plan to measure next; None where there are enough.

    With a latency limit first the mildest one that is predicted to be within it, then stronger
    ones until one is measured to be; and then the next milder one with whole channel blocks, so
    that a trained one lies on either side of the limit. Without a limit, those of FIXED_RATIOS.

    Args:
        bench: The study.
        done: Its baselines so far.
    """
    plans, names = uniform_plans(bench), {record.name for record in done}
    if bench.limit.latency_ms is None:
        nearest = (min(plans, key=partial(_distance, wanted)) for wanted in FIXED_RATIOS)
        fresh = [uniform for uniform in nearest if uniform.name not in names]
        return _next(fresh[0], however_slow=True) if fresh else None
    known = {record.name: record for record in done}
    within = [u for u in plans if u.name in names and _is_within(bench, known[u.name])]
    if not within:
        return _within_the_limit(bench, plans, known)
    if sum(record.state != "over_budget" for record in done) >= BASELINES:
        return None
    aligned = max(uniform.block for uniform in plans)
    mildest = plans.index(within[0])
    beside = [u for u in plans[:mildest] if u.block == aligned][-1:] or plans[mildest + 1 :][:1]
    fresh = [uniform for uniform in beside if uniform.name not in names]
    return _next(fresh[0], however_slow=True) if fresh else None


def _within_the_limit(
    bench: Informed, plans: list[UniformPlan], known: dict[str, TrialRecord]
) -> NextBaseline | None:
    """The mildest plan predicted to fit, stronger than all that were tried."""
    slower = [
        record.latency.median_ms / record.predicted_ms
        for record in known.values()
        if record.latency and record.predicted_ms
    ]
    bias = median(slower or [1.0])
    tried = [position for position, uniform in enumerate(plans) if uniform.name in known]
    stronger = plans[max(tried, default=-1) + 1 :]
    fitting = (
        uniform
        for uniform in stronger
        if bench.limit.judge_predicted(bench.predicted_ms(uniform.plan) * bias)
    )
    chosen = next(fitting, stronger[-1] if stronger else None)
    return None if chosen is None else _next(chosen, however_slow=False)


def _is_within(bench: Informed, record: TrialRecord) -> bool:
    latency = record.latency
    return latency is not None and bench.limit.judge_latency(latency) >= Evidence.INTERVAL


def _next(uniform: UniformPlan, *, however_slow: bool) -> NextBaseline:
    candidate = Candidate("baseline", uniform.name, None, uniform.plan)
    return NextBaseline(candidate, however_slow)


def blocks_of(isa: str) -> tuple[int, ...]:
    """Channel blocks worth rounding to: CPU kernels work on 8 at once, with AVX-512 on 16."""
    return (8, 16) if isa == "avx512" else (8,)


def uniform_plans(bench: Informed) -> list[UniformPlan]:
    """All different block-aligned uniform plans, from the mildest to the strongest by MACs."""
    geometry = model_geometry(bench.pruner.model, bench.pruner.groups, bench.imgsz)
    found: dict[tuple[int, ...], UniformPlan] = {}
    for block in reversed(blocks_of(bench.dense_latency.fingerprint.isa)):
        for ratio in RATIOS:
            plan = uniform_plan(bench.pruner.widths, ratio, block)
            plan = bench.annotated(_without_protected(plan, bench))
            signature = bench.pruner.signature(plan)
            if signature not in found and not plan.removes_nothing():
                macs = int(geometry.macs(np.array([signature]))[0])
                found[signature] = UniformPlan(ratio, block, plan, macs)
    return sorted(found.values(), key=lambda uniform: -uniform.macs)


def _without_protected(plan: PruningPlan, bench: Informed) -> PruningPlan:
    ratios = dict(plan.prune_ratios)
    for index in bench.config.protect:
        if ratios[index] is not None:
            ratios[index] = (0.0, 0.0) if isinstance(ratios[index], tuple) else 0.0
    return replace(plan, prune_ratios=ratios)


def _distance(wanted: float, uniform: UniformPlan) -> float:
    return abs(uniform.ratio - wanted)
