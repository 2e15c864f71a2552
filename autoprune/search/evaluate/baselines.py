"""Uniform-ratio baselines: what a careful person would try by hand, measured the same way."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from autoprune.domain.goal import Evidence
from autoprune.domain.plan import PruningPlan
from autoprune.domain.record import LatencyResult, TrialRecord
from autoprune.errors import ConfigError, TrialFailed
from autoprune.pruning.prune import uniform_plan
from autoprune.pruning.trace_geometry import model_geometry
from autoprune.search.context.budget import Allowance
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.workbench import Informed
from autoprune.search.evaluate.candidate import Candidate, evaluate_trained
from autoprune.search.evaluate.reuse import take_baseline
from autoprune.storage.yaml_io import dump_yaml, load_yaml, write_atomic

RATIOS = tuple(step / 20 for step in range(1, 17))  # 0.05 .. 0.80
FIXED_RATIOS = (0.25, 0.5)  # when the goal sets no latency
MILDER_PROBES = 2
SCAN_S = 3.0
SCAN_SHARE = 0.3  # of the stage's time, for looking
SCAN_HALF_WIDTH = 0.02  # a glance is enough to choose; the chosen are measured as all others


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
    bench: Informed, allowance: Allowance, listener: SearchListener
) -> list[TrialRecord]:
    """Prune uniformly, measure and fine-tune two baselines; finished ones are read back.

    One that an earlier study has is taken over from there. Where time is short there is only one.

    With a latency budget they bracket it: the mildest block-aligned uniform plan within it, ratio
    and rounding tuned by measurement, and the next milder aligned one, which is above it.
    """
    done = bench.folder.baseline_records()
    if len(done) >= 2 or not allowance.allows(0.0, owed=not done):
        return done
    for uniform in _chosen(bench, allowance, listener):
        if any(record.name == uniform.name for record in done):
            continue
        listener.candidate(f"baseline {uniform.name}", None, None)
        candidate = Candidate("baseline", uniform.name, None, uniform.plan)
        record = take_baseline(bench, candidate)
        if record is None:
            longest_s = max((each.seconds for each in done), default=0.0)
            if not allowance.allows(longest_s, owed=not done):
                listener.say(f"No time for the baseline {uniform.name}.")
                break
            record = evaluate_trained(bench, candidate, listener, however_slow=True)
        listener.result(record, None)
        done.append(record)
    return done


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


def _chosen(bench: Informed, allowance: Allowance, listener: SearchListener) -> list[UniformPlan]:
    """The plans to train; looked for by measurement, or by prediction where time is short."""
    plans, limit = uniform_plans(bench), bench.limit
    if limit.latency_ms is None:
        nearest = (min(plans, key=partial(_distance, wanted)) for wanted in FIXED_RATIOS)
        return list({uniform.name: uniform for uniform in nearest}.values())
    if (noted := scan_file(bench)).exists():  # a resumed study keeps its baselines
        names = load_yaml(noted).get("baselines")
        if not isinstance(names, list):
            raise ConfigError.of(str(noted), "baselines", names, "a list of names")
        return [uniform for uniform in plans if uniform.name in names]
    listener.say("Looking for the mildest uniform plan within the budget.")
    measured: dict[str, LatencyResult] = {}
    quick = replace(bench.timing, half_width=SCAN_HALF_WIDTH, min_s=SCAN_S / 2, cap_s=SCAN_S)
    glancing = replace(bench, timing=quick)
    look = allowance.part(SCAN_SHARE)
    longest_s = 0.0

    def fits(uniform: UniformPlan) -> bool:
        nonlocal longest_s
        if uniform.name not in measured:
            if not look.allows(longest_s):
                return bool(limit.judge_predicted(bench.predicted_ms(uniform.plan)))
            began = time.monotonic()
            listener.candidate(uniform.name, None, None)
            listener.stage("latency")
            pruned = bench.pruner.prune(uniform.plan)
            try:
                measured[uniform.name] = glancing.measure(pruned, bench.folder.root / "baselines")
            except TrialFailed as failure:
                listener.say(f"{uniform.name}: {failure}")
                return False
            longest_s = max(longest_s, time.monotonic() - began)
        return limit.judge_latency(measured[uniform.name]) >= Evidence.INTERVAL

    found = _mildest(plans, fits, _expected(bench, plans))
    aligned = max(uniform.block for uniform in plans)
    milder = [uniform for uniform in plans[:found] if uniform.block == aligned]
    chosen = [plans[found], *(milder[-1:] or plans[found + 1 : found + 2])]
    note = {
        "baselines": [uniform.name for uniform in chosen],
        "measured": [
            {"name": u.name, "block": u.block, "macs": u.macs, "ms": measured[u.name].median_ms}
            for u in plans
            if u.name in measured
        ],
    }
    write_atomic(noted, dump_yaml(note))
    return chosen


def scan_file(bench: Informed) -> Path:
    """baselines/scan.yaml: the uniform plans timed on the way, and which became baselines."""
    return bench.folder.root / "baselines" / "scan.yaml"


def _distance(wanted: float, uniform: UniformPlan) -> float:
    return abs(uniform.ratio - wanted)


def _expected(bench: Informed, plans: list[UniformPlan]) -> int:
    """Position of the mildest plan predicted to fit; the last one if none is."""
    within = (
        position
        for position, uniform in enumerate(plans)
        if bench.limit.judge_predicted(bench.predicted_ms(uniform.plan))
    )
    return next(within, len(plans) - 1)


def _mildest(plans: list[UniformPlan], fits: Callable[[UniformPlan], bool], expected: int) -> int:
    """Position of the mildest plan that fits, by measurement, looking around the expected one.

    Latency does not fall strictly with MACs, so a few milder plans are tried beyond the first that
    does not fit. The last plan when none fits.
    """
    found = expected
    while not fits(plans[found]):
        if found == len(plans) - 1:
            return found
        found += 1
    milder, misses = found - 1, 0
    while milder >= 0 and misses < MILDER_PROBES:
        if fits(plans[milder]):
            found, misses = milder, 0
        else:
            misses += 1
        milder -= 1
    return found
