"""The sampler that solves the profile: ordinary to Optuna, repeatable, and willing to learn."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.trial import Trial, TrialState

from autoprune.domain.space import SearchSpace
from autoprune.search.evaluate.trials import TrialLoop
from autoprune.search.learn.profile import Profile
from autoprune.search.propose.distributions import distribution_of
from autoprune.search.propose.profile_sampler import (
    FACTORS,
    LEAST_SCORE,
    NOISE,
    PRIOR_SPREAD,
    ProfileSampler,
)
from autoprune.search.propose.samplers import Known
from autoprune.search.propose.study_sampler import study_sampler
from tests.search.profiles import every_plan, random_profile, total_costs

DENSE_MAP = 0.8
LIMIT = 0.6
OPEN = ("keep_0", "keep_1", "keep_2", "keep_3", "keep_4")


def _study(sampler: BaseSampler, storage: str | None = None) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    directions = ["minimize", "minimize", "maximize"]
    return optuna.create_study(
        study_name="s",
        storage=storage,
        sampler=sampler,
        directions=directions,
        load_if_exists=True,
    )


def _suggested(trial: Trial, profile: Profile) -> dict[str, int]:
    """As the trial loop asks."""
    space = SearchSpace({}, dict(zip(profile.names, profile.choices, strict=True)), 8)
    drawn: dict[str, int] = {}

    def draw(suggest: Any) -> None:
        for name, offered in space.choices.items():
            drawn[name] = offered[0] if len(offered) == 1 else suggest(name, offered)

    loop = object.__new__(TrialLoop)
    loop.bench = cast(
        Any, SimpleNamespace(space=SimpleNamespace(draw=draw), annotated=lambda plan: plan)
    )
    loop._draw(trial)
    return drawn


def _run(study: optuna.Study, profile: Profile, factors: Any, trials: int) -> list[Any]:
    """Trials whose untrained score follows the additive model with the true factors."""
    rows = []
    for _ in range(trials):
        trial = study.ask()
        row = profile.positions(_suggested(trial, profile))
        ratio = float(profile.latency_ratios(row[None])[0])
        loss = float(total_costs(profile, row[None], factors)[0])
        score = DENSE_MAP * np.exp(-loss) if ratio <= LIMIT else 0.0
        trial.set_constraint("latency_over_budget_ms", ratio - LIMIT)
        study.tell(trial, [float(row.sum()), ratio, score])
        rows.append(row)
    return rows


def _sampler(profile: Profile, seed: int) -> BaseSampler:
    return study_sampler("profile", Known(profile, LIMIT, DENSE_MAP), seed)


def _regret(profile: Profile, factors: Any, rows: list[Any]) -> float:
    """True cost of the best plan within the limit, above the least possible."""
    plans = every_plan(profile)
    least = total_costs(profile, plans[profile.latency_ratios(plans) <= LIMIT], factors).min()
    drawn = np.array(rows)
    drawn = drawn[profile.latency_ratios(drawn) <= LIMIT]
    reached = total_costs(profile, drawn, factors).min() if len(drawn) else np.inf
    return float(reached - least)


def test_what_it_draws_is_what_the_trial_loop_suggests_without_a_warning() -> None:
    profile = random_profile(0)
    uneven = (16, 32, 64, 48, 80)
    profile = replace(
        profile,
        choices=((32,), (16, 64), *profile.choices[2:4], tuple(sorted(uneven))),
        costs=(np.zeros(1), np.array([0.1, 0.0]), *profile.costs[2:]),
        group_widths=(
            np.array([[32]]),
            np.array([[16], [64]]),
            *profile.group_widths[2:4],
            np.array(sorted(uneven))[:, None],
        ),
    )
    sampler = ProfileSampler(profile, LIMIT, DENSE_MAP, 0)
    study = _study(sampler)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trial = study.ask()
        relative = dict(trial.relative_params)
        drawn = _suggested(trial, profile)
    assert set(relative) == set(OPEN[1:])
    assert {name: drawn[name] for name in relative} == relative
    assert trial.distributions == {
        name: distribution_of(offered)
        for name, offered in zip(profile.names, profile.choices, strict=True)
        if len(offered) > 1
    }


def test_the_same_seed_draws_the_same_plans_and_another_seed_others() -> None:
    profile, factors = random_profile(1), np.ones(5)
    runs = [
        np.array(_run(_study(_sampler(profile, seed)), profile, factors, 8)) for seed in (0, 0, 1)
    ]
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_an_interrupted_study_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    profile, factors = random_profile(2), np.array([3.0, 0.3, 1.0, 2.0, 0.5])
    storage = f"sqlite:///{tmp_path}/study.db"
    resumed = _run(_study(_sampler(profile, 4), storage), profile, factors, 3)
    resumed += _run(_study(_sampler(profile, 4), storage), profile, factors, 5)
    whole = _run(_study(_sampler(profile, 4)), profile, factors, 8)
    assert np.array_equal(resumed, whole)


def test_a_wrong_profile_is_corrected_by_the_trials() -> None:
    first, last, at_random = [], [], []
    for seed in range(6):
        profile = random_profile(seed)
        factors = np.random.default_rng(100 + seed).choice([0.2, 1.0, 5.0], 5)
        rows = _run(_study(_sampler(profile, seed)), profile, factors, 12)
        first.append(_regret(profile, factors, rows[:3]))
        last.append(_regret(profile, factors, rows))
        known = Known(profile, LIMIT, DENSE_MAP)
        random = _study(study_sampler("random", known, seed))
        at_random.append(_regret(profile, factors, _run(random, profile, factors, 12)))
    assert np.mean(last) < 0.5 * np.mean(first)
    assert np.mean(last) < 0.5 * np.mean(np.minimum(at_random, 10))


def test_factors_are_drawn_from_the_posterior_not_set_to_its_mean() -> None:
    """Bayesian regression of one parameter, worked out by hand."""
    profile = random_profile(2)
    positions = profile.dense.copy()
    positions[1] = 0  # only the second parameter loses channels
    cost = float(profile.cost_rows(positions[None])[0, 1])
    rows, losses = np.repeat(positions[None], 3, axis=0), np.array([0.9, 1.0, 1.1]) * cost
    draws = np.array(
        [
            ProfileSampler(profile, LIMIT, DENSE_MAP, seed)._factors(rows, losses, widening=1.0)
            for seed in range(600)
        ]
    )
    weights = 1 / (NOISE[0] + NOISE[1] * losses) ** 2
    scale = float(weights @ (losses * cost) / (weights.sum() * cost**2))
    precision = float(weights.sum() * (cost * scale) ** 2 + 1 / PRIOR_SPREAD**2)
    mean = float((weights @ losses) * cost * scale + 1 / PRIOR_SPREAD**2) / precision
    assert draws[:, 1].mean() == pytest.approx(mean, abs=4 * precision**-0.5 / 600**0.5)
    assert draws[:, 1].std() == pytest.approx(precision**-0.5, rel=0.15)
    assert draws[:, 0].std() > 3 * draws[:, 1].std()  # nothing was learned of the others
    without_any = np.array(
        [
            ProfileSampler(profile, LIMIT, DENSE_MAP, seed)._factors(rows[:0], losses[:0], 1.0)
            for seed in range(600)
        ]
    )
    clipped = np.clip(np.random.default_rng(0).normal(1, PRIOR_SPREAD, 100_000), *FACTORS)
    assert without_any.std() == pytest.approx(clipped.std(), rel=0.1)


def test_seven_draws_of_ten_are_close_to_the_limit_and_the_others_fill_the_front() -> None:
    sampler = ProfileSampler(random_profile(3), LIMIT, DENSE_MAP, 0)
    limits = np.array([sampler._limit() for _ in range(2000)]) / LIMIT
    near = limits >= 0.95
    assert near.mean() == pytest.approx(0.7, abs=0.04)
    assert limits.max() <= 1.0
    assert limits[near].mean() == pytest.approx(0.975, abs=0.003)
    assert limits[~near].min() == pytest.approx(0.6, abs=0.01)
    assert limits[~near].mean() == pytest.approx(0.775, abs=0.02)


def test_plans_are_close_to_the_limit_as_often_as_the_limits_drawn() -> None:
    profile = random_profile(3)
    plans = every_plan(profile)
    ratios = profile.latency_ratios(plans)
    reachable = float(ratios[ratios <= LIMIT].max())  # the closest that any plan comes
    drawn = []
    for seed in range(40):
        drawn += _run(_study(_sampler(profile, seed)), profile, np.ones(5), 1)
    close = profile.latency_ratios(np.array(drawn)) >= 0.93 * reachable
    assert 0.5 < close.mean() < 0.95


def test_nearly_all_draws_are_within_the_limit_and_new() -> None:
    profile = random_profile(3)
    rows = np.array(_run(_study(_sampler(profile, 0)), profile, np.ones(5), 12))
    assert (profile.latency_ratios(rows) <= LIMIT).all()
    assert len(np.unique(rows, axis=0)) == 12


def test_an_accuracy_goal_draws_plans_of_all_latencies() -> None:
    profile = random_profile(3)
    study = _study(study_sampler("profile", Known(profile, None, DENSE_MAP), 0))
    ratios = profile.latency_ratios(np.array(_run(study, profile, np.ones(5), 12)))
    assert ratios.min() < 0.55
    assert ratios.max() > 0.8


def _told(study: optuna.Study, kept: dict[str, int], value: float | None) -> None:
    study.enqueue_trial(kept)
    trial = study.ask()
    for name, offered in zip(OPEN, random_profile(3).choices, strict=True):
        trial.suggest_int(name, offered[0], offered[-1], step=16)
    if value is None:
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, [1.0, 1.0, value])


def test_a_score_of_zero_is_learned_from_only_where_the_plan_was_validated() -> None:
    profile = random_profile(3)
    sampler = ProfileSampler(profile, LIMIT, DENSE_MAP, 0)
    study = _study(sampler)
    fast = profile.kept(np.zeros(5, dtype=int))
    _told(study, fast, 0.0)
    _told(study, profile.kept(profile.dense), 0.0)  # too slow to be validated
    rows, losses = sampler._finished(sampler._drawn(study, -1))
    assert rows.tolist() == [profile.positions(fast).tolist()]
    assert losses == pytest.approx([-np.log(LEAST_SCORE)])
    anything = ProfileSampler(profile, None, DENSE_MAP, 0)
    assert len(anything._finished(anything._drawn(study, -1))[0]) == 2


def test_a_score_above_the_dense_ones_is_no_loss() -> None:
    sampler = ProfileSampler(random_profile(3), LIMIT, DENSE_MAP, 0)
    study = _study(sampler)
    _told(study, random_profile(3).kept(np.zeros(5, dtype=int)), DENSE_MAP * 1.1)
    known = sampler._finished(sampler._drawn(study, -1))
    assert known[1].tolist() == [0.0]
    assert np.isfinite(sampler._factors(*known, widening=1.0)).all()


def test_plans_that_failed_or_run_elsewhere_are_not_drawn_again() -> None:
    profile = random_profile(3)
    sampler = _sampler(profile, 0)
    wanted = _run(_study(sampler), profile, np.ones(5), 1)[0]
    study = _study(_sampler(profile, 0), None)
    _told(study, profile.kept(wanted), None)
    drawn = ProfileSampler(profile, LIMIT, DENSE_MAP, 0)._drawn(study, 1)
    assert [row for _, row in drawn] == [tuple(wanted)]
    running = study.ask(fixed_distributions={OPEN[0]: distribution_of(profile.choices[0])})
    alone = ProfileSampler(profile, LIMIT, DENSE_MAP, 0)
    assert len(alone._drawn(study, running.number)) == 1
    assert len(alone._drawn(study, running.number + 1)) == 2


def test_a_trial_of_other_parameters_is_ignored() -> None:
    sampler = ProfileSampler(random_profile(3), LIMIT, DENSE_MAP, 0)
    study = _study(optuna.samplers.RandomSampler(seed=0))
    trial = study.ask()
    trial.suggest_int("keep_0", 1, 5)
    study.tell(trial, [1.0, 1.0, 0.5])
    assert sampler._drawn(study, -1) == []
