"""Sentinel: the dense model runs beside every candidate, and shows whether the machine drifts."""

from __future__ import annotations

from collections import deque
from statistics import median

from autoprune.domain.record import LatencyResult
from autoprune.search.context.listener import SearchListener

DRIFT_WORTH_SAYING = 0.05
LOOKS = 3  # measurements in a row, in the median: one may be a bad moment


class Sentinel:
    """Compares the dense model's time beside each candidate with its calibrated one.

    Ratios to dense, and so the ranking of plans, hold whatever the machine's speed; milliseconds
    are as of the calibration.

    Args:
        listener: Told once when the machine has become faster or slower.
    """

    def __init__(self, listener: SearchListener) -> None:
        self.listener = listener
        self.said = False
        self._recent: deque[float] = deque(maxlen=LOOKS)

    def look(self, latency: LatencyResult | None) -> None:
        """Take note of a measurement just made; None was none."""
        if latency is None or latency.dense_now_ms is None:
            return
        self._recent.append(latency.dense_now_ms / latency.dense_ms - 1)
        drift = median(self._recent)
        if len(self._recent) == LOOKS and abs(drift) > DRIFT_WORTH_SAYING and not self.said:
            self.said = True
            slower = "slower" if drift > 0 else "faster"
            self.listener.say(
                f"The machine has become {abs(drift):.0%} {slower} since the dense model was"
                f" calibrated ({latency.dense_now_ms:.2f} ms now, {latency.dense_ms:.2f} ms then):"
                " speed-ups hold, milliseconds are as of then."
            )
