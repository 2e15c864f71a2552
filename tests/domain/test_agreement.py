"""Agreement between the two scores, by hand."""

from __future__ import annotations

import pytest

from autoprune.domain.agreement import agreement, quantized_agreement
from autoprune.domain.record import SHORT, TrialRecord
from tests.search.fakes import DENSE, record, score


def _both(
    name: str, ms: float, untrained: float, trained: float, kind: str = "trial"
) -> TrialRecord:
    return record(name, ms, trained, kind=kind, predicted=ms, untrained=untrained)


FOUR = [
    _both("a", 5.0, 0.1, 0.2),
    _both("b", 5.1, 0.2, 0.3),
    _both("c", 9.0, 0.3, 0.5),
    _both("d", 9.2, 0.4, 0.4),
]


def test_the_overall_correlation_is_spearmans() -> None:
    found = agreement(FOUR)
    # ranks 1 2 3 4 against 1 2 4 3: 1 - 6 * 2 / (4 * 15)
    assert found.overall == pytest.approx(0.8)
    assert found.plans == 4
    assert found.within_bands is None  # two pairs of alike latency, none of four


def test_plans_of_alike_latency_are_compared_among_themselves() -> None:
    fast = [_both(f"f{n}", 5 + n / 100, 0.1 * n, 0.2 + 0.1 * n) for n in range(4)]
    slow = [_both(f"s{n}", 9 + n / 100, 0.9 - 0.1 * n, 0.8 + 0.01 * n) for n in range(4)]
    found = agreement([*fast, *slow])
    assert found.within_bands == pytest.approx(0.0)  # perfect in one band, reversed in the other
    assert found.overall is not None
    assert found.overall > 0


def test_too_few_pairs_or_equal_scores_say_nothing() -> None:
    assert agreement([]).overall is None
    assert agreement(FOUR[:3]).overall is None
    assert agreement(FOUR[:3]).plans == 3
    equal = [_both(str(n), 5.0, 0.0, 0.1 * n) for n in range(5)]
    assert agreement(equal).overall is None
    assert agreement(equal).within_bands is None


def test_only_records_of_their_own_with_both_scores_count() -> None:
    others = [
        record("dense", 10.0, 0.8, kind="dense"),
        record("scored", None, None, state="scored", predicted=5.0, untrained=0.9),
        record("over", 6.0, None, state="over_budget", untrained=0.9),
        record("copy", 5.0, 0.1, untrained=0.9, same_as="a"),
    ]
    assert agreement([*FOUR, *others]) == agreement(FOUR)
    assert agreement([*FOUR, _both("u", 5.0, 0.5, 0.6, kind="baseline")]).plans == 5


def test_float_and_int8_are_compared_over_the_plans_that_have_both() -> None:
    assert quantized_agreement(FOUR) == (None, 0)

    def in_both(number: int, in_float: float, quantized: float) -> TrialRecord:
        both = score(quantized, SHORT).model_copy(
            update={"float_metrics": score(in_float, SHORT).metrics}
        )
        return record(f"t{number}", 5.0, None, number=number).model_copy(update={"rungs": (both,)})

    pairs = [(0.1, 0.1), (0.2, 0.2), (0.3, 0.4), (0.4, 0.3)]
    plans = [in_both(number, *pair) for number, pair in enumerate(pairs)]
    assert quantized_agreement([DENSE, *FOUR, *plans]) == (pytest.approx(0.8), 4)
    assert quantized_agreement(plans[:3]) == (None, 3)
