"""A sampler made afresh per trial, and one that draws a sequence: both go on after a stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import optuna
import pytest
from optuna.samplers import QMCSampler
from scipy.stats import qmc

from autoprune.domain.table import Table
from autoprune.errors import ConfigError
from autoprune.search.propose import study_sampler as module
from autoprune.search.propose.samplers import Known, SamplerSpec
from autoprune.search.propose.study_sampler import FreshPerTrial, study_sampler

KNOWN = cast(Known, None)
NAMES = ("a", "b", "c", "d")
POINTS, WIDTHS = 64, 1024


def _sobol(_: Known, seed: int) -> QMCSampler:
    return QMCSampler(scramble=True, seed=seed, warn_independent_sampling=False)


@pytest.fixture(autouse=True)
def _table(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        SamplerSpec("sobol", "One sequence.", _sobol, sequence=True),
        SamplerSpec("scattered", "The same, made afresh.", _sobol),
    ]
    monkeypatch.setattr(module, "SAMPLERS", Table("autoprune.no_samplers", SamplerSpec, rows))


def _study(name: str, storage: str | None = None, seed: int = 0) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name="s",
        storage=storage,
        sampler=study_sampler(name, KNOWN, seed),
        load_if_exists=True,
    )


def _drawn(study: optuna.Study, trials: int) -> Any:
    """Points in the unit cube, (trials, 4)."""
    rows = []
    for _ in range(trials):
        trial = study.ask()
        rows.append([(trial.suggest_int(name, 0, WIDTHS - 1) + 0.5) / WIDTHS for name in NAMES])
        study.tell(trial, 0.0)
    return np.array(rows)


def test_a_sequence_stays_one_also_across_an_interruption(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    resumed = np.concatenate(
        [_drawn(_study("sobol", storage), part) for part in (20, 13, POINTS - 33)]
    )
    assert np.array_equal(resumed, _drawn(_study("sobol"), POINTS))
    # The first trial is drawn at random: what there is to draw is not known before.
    one, anew = (qmc.discrepancy(rows[1:]) for rows in (resumed, _drawn(_study("scattered"), 64)))
    assert one < 0.006
    assert anew > 3 * one  # what the sequence becomes when it is begun anew for each trial


def test_two_seeds_are_two_sequences() -> None:
    assert not np.array_equal(
        _drawn(_study("sobol", seed=0), 4)[1:], _drawn(_study("sobol", seed=1), 4)[1:]
    )


def test_only_a_sequence_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(study_sampler("sobol", KNOWN, 0), QMCSampler)
    assert isinstance(study_sampler("scattered", KNOWN, 0), FreshPerTrial)


def test_an_unknown_sampler_is_refused_with_the_choices() -> None:
    with pytest.raises(
        ConfigError, match="--sampler: got 'grid', expected one of sobol, scattered"
    ):
        study_sampler("grid", KNOWN, 0)
