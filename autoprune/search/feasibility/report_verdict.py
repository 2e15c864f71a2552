"""The verdict at the start of a search: what pruning can reach here, and what else would."""

from __future__ import annotations

import tempfile
from pathlib import Path

from autoprune.domain.plan import PruningPlan
from autoprune.domain.verdict import Verdict
from autoprune.errors import TrialFailed
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.workbench import Workbench
from autoprune.search.feasibility.alternatives import timed_options
from autoprune.search.feasibility.decide import verdict_of

MOST_CORRECTED = 1.15  # of the predictions, by one measurement


def say_verdict(bench: Workbench, budget_ms: float | None, listener: SearchListener) -> Workbench:
    """Time the floor, a plan, smaller siblings and images; say what they mean for the limit.

    Kept in the study's verdict.json: a continued search times nothing again. One that cannot be
    timed is said and costs nothing else.

    Args:
        bench: With its predictor, the dense model measured; the caller holds the study's lock.
        budget_ms: The latency limit; None where the goal is an accuracy.
        listener: Told the verdict and what the others cost.

    Returns:
        The bench, its predictions corrected by what the plan timed for the limit really took.

    Raises:
        ConfigError: verdict.json is broken.
        TargetUnreachable: The device is gone.
    """
    path = bench.folder.verdict
    if not path.exists() and bench.folder.trial_records():
        return bench  # a study begun before there were verdicts
    if path.exists():
        verdict = Verdict.load(path)
    else:
        listener.candidate("alternatives", None, None)
        listener.stage("latency")
        try:
            verdict = _timed(bench, budget_ms)
        except TrialFailed as failure:
            listener.say(f"What else could be run cannot be timed: {failure.detail}")
            return bench
        verdict.save(path)
    listener.say(verdict.text)
    if verdict.others:
        beside = (f"{each.name} {each.latency.median_ms:.2f} ms" for each in verdict.others)
        listener.say(f"Without pruning: {', '.join(beside)} (latency only, not trained).")
    return _corrected(bench, verdict, listener)


def _timed(bench: Workbench, budget_ms: float | None) -> Verdict:
    assert bench.predictor is not None
    assert bench.dense_latency is not None
    met = budget_ms is not None and bench.dense_latency.high_ms <= budget_ms
    with tempfile.TemporaryDirectory(prefix="autoprune-options-") as own:
        dense, options = timed_options(
            bench, bench.predictor, None if met else budget_ms, Path(own), known=bench.dense_latency
        )
    return verdict_of(budget_ms, dense, options)


def _corrected(bench: Workbench, verdict: Verdict, listener: SearchListener) -> Workbench:
    """Plans near the limit are what the search looks at: there predictions should be right."""
    timed = next((option for option in verdict.options if option.kind == "plan"), None)
    if timed is None or timed.plan is None:
        return bench
    assert bench.predictor is not None
    assert bench.dense_latency is not None
    predicted_ms = bench.predicted_ms(PruningPlan.from_mapping(timed.plan, timed.name))
    factor = timed.latency.ratio * bench.dense_latency.median_ms / predicted_ms
    factor = min(MOST_CORRECTED, max(1 / MOST_CORRECTED, factor))
    listener.say(
        f"That plan took {factor:.3f} times what was predicted; predictions are corrected by it."
    )
    return bench.with_predictor(bench.predictor.times(factor))
