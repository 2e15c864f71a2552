"""What several processes that timed one model say together."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from autoprune.domain.record import LatencyResult
from autoprune.latency.processes import FEW, Processes, together
from tests.search.fakes import latency

SIX = (4.90, 4.95, 4.92, 5.00, 4.93, 4.91)


def test_the_bounds_of_few_all_count() -> None:
    found = together([latency(4.9), latency(4.7), latency(4.8)])
    assert (found.low_ms, found.median_ms, found.high_ms) == (4.7 * 0.99, 4.8, 4.9 * 1.01)
    assert (found.blocks, found.processes) == (24, FEW)


def test_many_say_how_far_they_differ() -> None:
    """Student's interval of the mean of their logarithms: scipy's own, not ours."""
    exact = [latency(ms).model_copy(update={"low_ms": ms, "high_ms": ms}) for ms in SIX]
    found = together(exact)
    logs = [math.log(ms / 10) for ms in SIX]
    expected = stats.ttest_1samp(logs, 0.0).confidence_interval(0.95)
    assert found.ratio_low == pytest.approx(math.exp(expected.low))
    assert found.ratio_high == pytest.approx(math.exp(expected.high))
    assert found.high_ms == pytest.approx(10 * found.ratio_high)
    assert found.median_ms == pytest.approx(10 * math.exp(sum(logs) / 6))
    assert found.high_ms < max(SIX)  # the envelope of them reaches beyond the slowest


def test_the_dense_latencys_own_error_stays_in_the_interval_of_many() -> None:
    """A ratio known exactly of a dense latency known to 1 %."""
    exact = [
        latency(ms).model_copy(update={"ratio_low": ms / 10, "ratio_high": ms / 10}) for ms in SIX
    ]
    ratios = together(exact)
    spread = math.log(ratios.ratio_high / ratios.ratio)
    assert math.log(ratios.high_ms / ratios.median_ms) == pytest.approx(
        math.hypot(spread, math.log(1.01))
    )


@pytest.mark.parametrize(("undecided", "asked"), [(True, 5), (False, 2)])
def test_more_are_asked_where_the_first_leave_it_open(undecided: bool, asked: int) -> None:
    seen: list[LatencyResult] = []
    times = iter(SIX)

    def open_still(found: LatencyResult) -> bool:
        seen.append(found)
        return undecided

    found = Processes(2, 3, open_still).time(lambda: latency(next(times)))
    assert [each.processes for each in seen] == [2]
    assert found.processes == asked
    assert len(list(times)) == len(SIX) - asked


def test_one_process_is_as_it_is() -> None:
    assert Processes().time(lambda: latency(4.0)) == latency(4.0)
