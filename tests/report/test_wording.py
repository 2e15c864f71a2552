"""Numbers as words."""

import pytest

from autoprune.latency.processes import together
from autoprune.report import wording
from tests.report import fake_study as fake


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999, "999"), (1000, "1.00 k"), (850_400, "850 k"), (3_011_043, "3.01 M"),
     (1_700_000, "1.70 M"), (68_200_000, "68.2 M"), (1_310_000_000, "1.31 G")],
)  # fmt: skip
def test_counts_have_three_digits_and_a_unit(value: int, text: str) -> None:
    assert wording.count(value) == text


@pytest.mark.parametrize(
    ("lost", "text"),
    [(1.94, "1.9 points below dense"), (-0.5, "0.5 points above dense"),
     (1.0, "1.0 point below dense"), (0.04, "equal to dense")],
)  # fmt: skip
def test_points_say_their_direction(lost: float, text: str) -> None:
    assert wording.points(lost) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(59.4, "59 s"), (372, "6 min 12 s"), (7500, "2 h 05 min")]
)
def test_durations_use_two_units_at_most(seconds: float, text: str) -> None:
    assert wording.duration(seconds) == text


def test_times_below_a_millisecond_keep_three_decimals() -> None:
    assert wording.milliseconds(0.1234) == "0.123 ms"
    assert wording.latency(fake.latency(4.0)) == "4.00 ms (95 % interval 3.95 to 4.05)"


def test_an_interval_over_several_processes_is_not_called_a_95_percent_one() -> None:
    confirmed = together([fake.latency(4.0), fake.latency(4.1), fake.latency(4.2)])
    assert wording.latency(confirmed) == "4.10 ms (3.95 to 4.25 over 3 processes)"


def test_a_time_of_day_is_cut_to_the_minute_and_other_text_kept() -> None:
    assert wording.moment("2026-01-05T10:21:33+00:00") == "2026-01-05 10:21 UTC"
    assert wording.moment("yesterday") == "yesterday"
