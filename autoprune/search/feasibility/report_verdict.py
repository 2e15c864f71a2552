"""The verdict at the start of a search: what pruning can reach here, and what else would."""

from __future__ import annotations

import math
from pathlib import Path

from autoprune.domain.goal import Evidence
from autoprune.domain.plan import PruningPlan
from autoprune.domain.verdict import Verdict
from autoprune.errors import TrialFailed
from autoprune.search.context.budget import Allowance
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.workbench import Informed
from autoprune.search.feasibility.alternatives import timed_options
from autoprune.search.feasibility.decide import verdict_of
from autoprune.search.feasibility.reasonable import sensible_speedup
from autoprune.storage.scratch import scratch_folder

ALONE_S = 7.0  # what it takes to time one plan beside the dense model
MOST_CORRECTED = 1.15  # of the predictions, by one measurement


def say_verdict(bench: Informed, allowance: Allowance, listener: SearchListener) -> Informed:
    """Time the floor, a plan, smaller siblings and images; say what they mean for the limit.

    Kept in the study's verdict.json: a continued search times nothing again. One that cannot be
    timed is said and costs nothing else.

    Args:
        bench: The caller holds the study's lock.
        allowance: Without any time left nothing is timed; siblings and sizes only as time goes.
        listener: Told the verdict and what the others cost.

    Returns:
        The bench, its predictions corrected by what the plan timed for the limit really took, as
        far as that is beyond their error.

    Raises:
        ConfigError: verdict.json is broken.
        TargetUnreachable: The device is gone.
    """
    path = bench.folder.verdict
    if not path.exists() and bench.folder.trial_records():
        return bench  # a study begun before there were verdicts
    if path.exists():
        verdict = Verdict.load(path)
    elif not allowance.allows(0.0, owed=True):
        return bench
    else:
        listener.candidate("alternatives", None, None)
        listener.stage("latency")
        try:
            verdict = _timed(bench, allowance)
        except TrialFailed as failure:
            listener.say(f"What else could be run cannot be timed: {failure.detail}")
            return bench
        verdict.save(path)
    listener.say(verdict.text)
    hint = None if verdict.good else sensible_speedup(bench.limit, verdict.options)
    if hint is not None:
        listener.say(hint)
    if verdict.others:
        beside = (f"{each.name} {each.latency.median_ms:.2f} ms" for each in verdict.others)
        listener.say(f"Without pruning: {', '.join(beside)} (latency only, not trained).")
    if (stock := verdict.stock_export) is not None:
        took = f"{stock.latency.median_ms:.2f} ms ({stock.latency.ratio:.2f} of dense)"
        listener.say(f"Exported without autoprune's rewrites, the dense model takes {took}.")
    return _corrected(bench, verdict, listener)


def _timed(bench: Informed, allowance: Allowance) -> Verdict:
    limit_ms, dense = bench.limit.latency_ms, bench.dense_latency
    met = bench.limit.judge_latency(dense) >= Evidence.INTERVAL
    with scratch_folder("options") as own:
        wanted_ms = None if met else limit_ms
        dense, options = timed_options(
            bench,
            bench.predictor,
            wanted_ms,
            Path(own),
            known=dense,
            worth=lambda cost_s: allowance.allows(cost_s + ALONE_S),
            alone=lambda module: bench.measure(module, Path(own)),  # as candidates are
        )
    return verdict_of(bench.limit, dense, options)


def _corrected(bench: Informed, verdict: Verdict, listener: SearchListener) -> Informed:
    """Plans near the limit are what the search looks at: there predictions should be right."""
    timed = next((option for option in verdict.options if option.kind == "plan"), None)
    if timed is None or timed.plan is None:
        return bench
    predicted_ms = bench.predicted_ms(PruningPlan.from_mapping(timed.plan, timed.name))
    factor = timed.latency.ratio * bench.dense_latency.median_ms / predicted_ms
    factor = min(MOST_CORRECTED, max(1 / MOST_CORRECTED, factor))
    took = f"That plan took {factor:.3f} times what was predicted"
    shared = _shared(math.log(factor), bench.predictor.error.mape)
    if shared == 0.0:
        listener.say(f"{took}: predictions may be off by that much.")
        return bench
    listener.say(f"{took}; all are corrected by {math.exp(shared):.3f}.")
    return bench.grown(Informed, predictor=bench.predictor.times(math.exp(shared)))


def _shared(miss: float, error: float) -> float:
    """What one plan's miss says of all predictions: nothing, if it is within their error.

    Shrunk as by James and Stein (1961), positive part: the miss is what all share and, with the
    predictor's deviation, what is the plan's own.

    Args:
        miss: Logarithm of measured / predicted.
        error: The predictor's mean relative error.
    """
    own = error**2 * math.pi / 2  # variance of a normal one of that mean error
    return miss * max(0.0, 1 - own / miss**2) if miss else 0.0
