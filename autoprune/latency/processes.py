"""One latency of several processes: how many there are, and what they say together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autoprune.domain.record import LatencyResult
from autoprune.latency.estimate import across

FEW = 3  # so many or fewer say too little of how processes differ


def _always(_: LatencyResult) -> bool:
    return True


@dataclass(frozen=True)
class Processes:
    """How many fresh processes time one model.

    Attributes:
        first: So many in any case.
        more: So many more where the first leave the question open.
        undecided: Whether they do, given what they say together.
    """

    first: int = 1
    more: int = 0
    undecided: Callable[[LatencyResult], bool] = _always

    def time(self, once: Callable[[], LatencyResult]) -> LatencyResult:
        """Time in one process after the other.

        Args:
            once: Times the model in a fresh process.
        """
        results = [once() for _ in range(self.first)]
        if self.more and self.undecided(together(results)):
            results += [once() for _ in range(self.more)]
        return together(results)


def together(results: Sequence[LatencyResult]) -> LatencyResult:
    """One result of several of the same model, each from a process of its own.

    An interval holds what happened during its own seconds, not what differs from process to process
    or what a machine's neighbours do a moment later. So that of FEW processes reaches from the
    lowest bound to the highest, and its time is that of the one in the middle. More of them show
    how they differ: time and interval are those of their mean. Samples are the middle one's.

    Args:
        results: At least one, with the same fingerprint, relative to the same dense latency.
    """
    by_time = sorted(results, key=lambda result: result.median_ms)
    middle = by_time[(len(by_time) - 1) // 2]
    found = {
        "p90_ms": max(result.p90_ms for result in results),
        "low_ms": min(result.low_ms for result in results),
        "high_ms": max(result.high_ms for result in results),
        "ratio_low": min(result.ratio_low for result in results),
        "ratio_high": max(result.ratio_high for result in results),
        "blocks": sum(result.blocks for result in results),
        "processes": len(results),
        "steady": all(result.steady for result in results),
        "lasting_change": max((r.lasting_change for r in results), key=abs),
    }
    return middle.model_copy(update=found | (_of_many(results) if len(results) > FEW else {}))


def _of_many(results: Sequence[LatencyResult]) -> dict[str, float]:
    """The mean of many processes and its interval, in place of the one in the middle."""
    ratio, dense_ms = across([result.ratio for result in results]), results[0].dense_ms
    below = max(_rest(r.median_ms / r.low_ms, r.ratio / r.ratio_low) for r in results)
    above = max(_rest(r.high_ms / r.median_ms, r.ratio_high / r.ratio) for r in results)
    down = math.hypot(math.log(ratio.value / ratio.low), below)
    up = math.hypot(math.log(ratio.high / ratio.value), above)
    return {
        "ratio": ratio.value,
        "ratio_low": ratio.low,
        "ratio_high": ratio.high,
        "median_ms": ratio.value * dense_ms,
        "low_ms": ratio.value * dense_ms * math.exp(-down),
        "high_ms": ratio.value * dense_ms * math.exp(up),
    }


def _rest(of_time: float, of_ratio: float) -> float:
    """What an interval of the time has beyond that of the ratio: the dense latency's own error."""
    return math.sqrt(max(0.0, math.log(of_time) ** 2 - math.log(of_ratio) ** 2))
