"""Latencies that are looked up are those that the predictor works out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoprune.latency.features import WORK, Staircase
from autoprune.latency.predictor import LatencyPredictor, PredictorError
from autoprune.search.learn import latency_tables
from autoprune.search.learn.latency_tables import LatencyTables
from autoprune.search.learn.profile import Profile
from tests.search.profiles import GEOMETRY, every_plan, random_profile


def _predicted(seed: int) -> tuple[Profile, LatencyPredictor]:
    """A profile on a predictor with random prices, some of them wide of others."""
    prices = np.random.default_rng(seed).gamma(0.5, 1e-5, (len(WORK), len(GEOMETRY.convs)))
    error = PredictorError(mape=0.01, spearman=1.0, plans=32)
    predictor = LatencyPredictor(GEOMETRY, Staircase(16, True, 4), prices, 0.1, error)
    return replace(random_profile(seed, step=12), predictor=predictor), predictor


@pytest.mark.parametrize("seed", range(4))
def test_every_plan_has_the_latency_that_the_predictor_gives_it(seed: int) -> None:
    profile, predictor = _predicted(seed)
    rows = every_plan(profile)
    widths = np.repeat(profile.least_pruned[None], len(rows), axis=0)
    for parameter, (table, columns) in enumerate(
        zip(profile.group_widths, profile.group_columns, strict=True)
    ):
        widths[:, columns] = table[rows[:, parameter]]
    assert profile._tables is not None
    assert profile.latency_ratios(rows) == pytest.approx(predictor.predict(widths), rel=1e-12)
    alone = np.array([profile.latency_ratios(row[None])[0] for row in rows[:50]])
    assert np.array_equal(alone, profile.latency_ratios(rows)[:50]), "whatever is asked beside it"


def test_a_space_too_fine_for_tables_is_predicted_plan_by_plan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    profile, predictor = _predicted(0)
    rows = every_plan(profile)[:20]
    looked_up = profile.latency_ratios(rows)
    monkeypatch.setattr(latency_tables, "MOST_ROWS", 3)
    given = profile.least_pruned, profile.group_widths, profile.group_columns
    assert LatencyTables.of(predictor, *given) is None
    fresh = replace(profile)
    assert fresh._tables is None
    assert fresh.latency_ratios(rows) == pytest.approx(looked_up, rel=1e-12)


def test_convolutions_that_no_parameter_changes_count_as_they_are() -> None:
    profile, predictor = _predicted(0)
    names = profile.group_widths[:1], profile.group_columns[:1]  # all others are protected
    tables = LatencyTables.of(predictor, profile.least_pruned, *names)
    assert tables is not None
    assert any(not column.any() for column in tables.strides.T), "some are nobody's"
    rows = np.arange(len(names[0][0]))[:, None]
    widths = np.repeat(profile.least_pruned[None], len(rows), axis=0)
    widths[:, names[1][0]] = names[0][0][rows[:, 0]]
    assert tables.ratios(rows) == pytest.approx(predictor.predict(widths), rel=1e-12)


@pytest.mark.parametrize("looked_up", [True, False])
def test_changes_of_one_parameter_have_the_latency_of_the_plans_they_make(looked_up: bool) -> None:
    profile = _predicted(1)[0] if looked_up else random_profile(1, step=12)
    assert (profile._tables is not None) == looked_up
    plans = every_plan(profile)[::97]
    found = profile.changed_ratios(plans)
    for plan, ratios in zip(plans, found, strict=True):
        changed = []
        for parameter, offered in enumerate(profile.choices):
            for position in range(len(offered)):
                changed.append(plan.copy())
                changed[-1][parameter] = position
        assert ratios == pytest.approx(profile.latency_ratios(np.array(changed)), rel=1e-12)


def test_a_parameter_that_changes_no_latency_changes_none() -> None:
    profile, predictor = _predicted(0)
    nothing = (*profile.group_columns[:-1], np.array([], dtype=int))
    tables = LatencyTables.of(predictor, profile.least_pruned, profile.group_widths, nothing)
    assert tables is not None
    rows = every_plan(profile)[:5]
    own = tables.steps[0] == len(profile.choices) - 1
    assert tables.changed(rows)[:, own] == pytest.approx(
        np.repeat(tables.ratios(rows)[:, None], own.sum(), axis=1)
    )
