"""Whether a goal makes sense for this model and target, and whether the time for it is enough."""

from __future__ import annotations

import math
from collections.abc import Sequence

from autoprune.domain.goal import Limit
from autoprune.domain.verdict import Option
from autoprune.search.context.budget import Budget
from autoprune.search.context.workbench import Measured

EASY = 0.8  # of the dense latency: a limit above that asks for little
USUAL_SPEEDUP = 2.0
FEWEST_TRIALS = 12  # worth calling a search
_LEARNING_S = 25.0  # the least that predictor and verdict take
_PER_TRIAL = 1.3  # times a validation: pruning and writing come to it
_CALIBRATION = 1.5  # times a validation: the fewest images, forwards and backwards
_TRAINING = 3.0  # times a validation, per image
_REPORT_S = 8.0


def easy_goal(limit: Limit) -> str | None:
    """A sentence for a latency limit that asks for little; None for any other goal."""
    share = limit.latency_share
    if share is None or not EASY <= share < 1:
        return None
    asked_ms = limit.dense_ms / USUAL_SPEEDUP
    return (
        f"{limit.latency_ms:.4g} ms is {share:.0%} of what the dense model takes here: an easy"
        f" goal. --speedup {USUAL_SPEEDUP:g} asks for more ({asked_ms:.3g} ms)."
    )


def sensible_speedup(limit: Limit, options: Sequence[Option]) -> str | None:
    """A sentence that names a goal half-way, in the logarithm, between dense and the floor.

    Args:
        limit: The goal, which pruning cannot reach.
        options: What was timed; the floor of pruning first.
    """
    if limit.latency_ms is None or not options:
        return None
    speedup = math.floor(10 / math.sqrt(min(1.0, options[0].latency.ratio))) / 10
    if speedup <= 1:
        return None
    asked_ms = limit.dense_ms / speedup
    return f"--speedup {speedup:g} asks for {asked_ms:.3g} ms, which pruning can reach here."


def short_of_time(bench: Measured, budget: Budget) -> str | None:
    """A sentence where the time limit leaves fewer than FEWEST_TRIALS trials; None elsewhere.

    By what the dense model's measurement and validation took; everything before the trials that can
    be done with less is taken at its least.
    """
    if not budget.limited or bench.folder.trial_records():
        return None
    validation_s = sum(score.seconds for score in bench.dense.rungs)
    images = bench.fine_tune.epochs * len(bench.data.train) / len(bench.data.selection_images)
    fixed_s = (
        budget.now()
        - budget.began
        + _CALIBRATION * validation_s
        + _LEARNING_S
        + _TRAINING * images * validation_s
        + 2 * bench.dense.seconds
        + _REPORT_S
    )
    trial_s = _PER_TRIAL * validation_s
    limit_s = budget.ends - budget.began
    fit = max(0, int((limit_s - fixed_s) / max(trial_s, 1e-9)))
    if fit >= FEWEST_TRIALS:
        return None
    enough_s = math.ceil((fixed_s + FEWEST_TRIALS * trial_s) / 10) * 10
    return (
        f"--timeout {limit_s:g} leaves time for about {fit} plans; --timeout {enough_s} would do"
        f" for {FEWEST_TRIALS} and a fine-tune. Going on with what there is."
    )
