"""From raw times to one number and how far to trust it; pure numpy.

The ratio to dense is the median, over groups of neighbouring blocks (ABBA), of the ratio of the
blocks' 25 % quantiles. The quantile ignores runs that something else made longer, the group shares
its neighbours' weather, and the median ignores groups that straddle a change of it. These steps are
functions of the runner, because its stopping rule uses them too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoprune.domain.record import LatencyResult
from autoprune.latency.runner import block_times, log_interval

Array = np.ndarray[Any, Any]

_SHORTEST_SPELL = 5  # blocks: a median of fewer is chance
_PLACEMENT = 0.003
"""Standard deviation of a ratio from one process to the next, by where models lie in memory.

No number of blocks averages it away, so every interval of a ratio holds it.
"""


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half of the interval's width on the log scale, about the relative error."""
        return math.log(self.high / self.low) / 2

    def times(self, other: Interval) -> Interval:
        """Product of two independent estimates: their log errors add in quadrature."""
        value = self.value * other.value
        below = math.hypot(math.log(self.value / self.low), math.log(other.value / other.low))
        above = math.hypot(math.log(self.high / self.value), math.log(other.high / other.value))
        return Interval(value, value * math.exp(-below), value * math.exp(above))


EXACTLY_ONE = Interval(1.0, 1.0, 1.0)


def ratio_to(dense_ms: Array, candidate_ms: Array) -> Interval:
    """How much longer the candidate takes than dense.

    Args:
        dense_ms: Counted times, shape (blocks, runs).
        candidate_ms: Of the neighbouring blocks, the same shape.
    """
    value, low, high = log_interval(candidate_ms, dense_ms)
    placed = 1.96 * _PLACEMENT
    below, above = math.hypot(value - low, placed), math.hypot(high - value, placed)
    return Interval(math.exp(value), math.exp(value - below), math.exp(value + above))


def across(values: Sequence[float]) -> Interval:
    """Geometric mean of independent estimates and Student's interval of it; at least 2 of them."""
    from scipy.stats import t as student  # here: importing it takes longer than most else

    logs = np.log(values)
    error = float(np.std(logs, ddof=1)) / math.sqrt(len(logs))
    mean, around = float(np.mean(logs)), float(student.ppf(0.975, len(logs) - 1)) * error
    return Interval(math.exp(mean), math.exp(mean - around), math.exp(mean + around))


def typical_ms(times_ms: Array) -> Interval:
    """A model's own time in ms, from blocks of counted times, shape (blocks, runs)."""
    return Interval(*map(math.exp, log_interval(times_ms, None)))


def lasting_change(dense_ms: Array) -> float:
    """The largest lasting change of the machine's speed during a measurement, as a fraction.

    Over all ways to cut the measurement in two, both parts at least _SHORTEST_SPELL blocks and a
    fifth of it: by how much longer the dense model took in the slower part than in the other, in
    the median. A few slow blocks change no median; a neighbour that came or went does.

    Args:
        dense_ms: Counted times of the dense model, shape (blocks, runs).

    Returns:
        0.3 for 30 % longer; 0 for fewer than twice _SHORTEST_SPELL blocks.
    """
    times = np.log(block_times(dense_ms))
    shortest = max(_SHORTEST_SPELL, len(times) // 5)
    cuts = range(shortest, len(times) - shortest + 1)
    changes = [abs(np.median(times[cut:]) - np.median(times[:cut])) for cut in cuts]
    return math.expm1(max(changes, default=0.0))


def tail_factor(times_ms: Array) -> float:
    """p90 of single runs relative to the typical time, at least 1; shape (blocks, runs).

    Runs are compared with their own block, so that a slower half of the measurement does not
    look like a long tail; with single runs there is only the median of all to compare with.
    """
    steady = block_times(times_ms)[:, None] if times_ms.shape[1] > 1 else np.median(times_ms)
    return max(1.0, float(np.quantile(times_ms / steady, 0.9)))


def at_dense_time(result: LatencyResult, dense: LatencyResult) -> LatencyResult:
    """A result with its ratio as measured, in milliseconds of another dense time.

    Args:
        result: Measured beside the dense model at some earlier time.
        dense: The dense model's latency as calibrated since, with the same fingerprint.
    """
    ratio = Interval(result.ratio, result.ratio_low, result.ratio_high)
    time_ms = ratio.times(Interval(dense.median_ms, dense.low_ms, dense.high_ms))
    return result.model_copy(
        update={
            "median_ms": time_ms.value,
            "p90_ms": result.p90_ms * time_ms.value / result.median_ms,
            "low_ms": time_ms.low,
            "high_ms": time_ms.high,
            "dense_ms": dense.median_ms,
            "dense_now_ms": None,  # that was another day
        }
    )
