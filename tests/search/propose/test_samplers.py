"""What single samplers are for; what all of them promise is in tests/contracts."""

from __future__ import annotations

from tests.search.draws import LIMIT, draw, study_of


def test_tpe_learns_to_stay_within_the_constraint() -> None:
    plans = draw(study_of(None, "tpe", 0), 60)
    within = [sum(plan) <= LIMIT for plan in plans]
    assert sum(within[-20:]) > sum(within[:8]) / 8 * 20
