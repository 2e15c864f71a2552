"""The predictor finds the law of an invented target, and keeps it in a file."""

from __future__ import annotations

import numpy as np
import pytest

from autoprune.errors import ConfigError, StudyMismatch
from autoprune.latency.features import Staircase, work
from autoprune.latency.predictor import LatencyPredictor
from autoprune.latency.predictor_fit import FEWEST_PLANS, fit_predictor
from tests.latency.staircases import chain, law_ms, random_kept

GEOMETRY = chain()
DENSE = np.array([GEOMETRY.widths])


def ratios(kept, block, align):
    return law_ms(GEOMETRY, kept, block, align) / law_ms(GEOMETRY, DENSE, block, align)


@pytest.mark.parametrize(("block", "align"), [(16, 4), (8, 4), (8, 1), (1, 1)])
def test_an_invented_staircase_is_recovered(block, align):
    kept, unseen = random_kept(GEOMETRY, 48, 1), random_kept(GEOMETRY, 200, 2)
    predictor = fit_predictor(GEOMETRY, kept, ratios(kept, block, align))
    assert (predictor.staircase.block, predictor.staircase.align) == (block, align)
    off = np.abs(predictor.predict(unseen) / ratios(unseen, block, align) - 1)
    assert off.mean() < 0.01
    assert predictor.error.mape < 0.01
    assert predictor.error.spearman > 0.995
    assert predictor.predict(DENSE) == pytest.approx(1.0, abs=0.01)


def test_the_cross_validated_error_is_that_of_unseen_plans():
    dice = np.random.default_rng(3)
    kept, unseen = random_kept(GEOMETRY, 48, 1), random_kept(GEOMETRY, 400, 2)
    noisy = ratios(kept, 16, 4) * np.exp(dice.normal(0, 0.03, len(kept)))
    noisy_unseen = ratios(unseen, 16, 4) * np.exp(dice.normal(0, 0.03, len(unseen)))
    predictor = fit_predictor(GEOMETRY, kept, noisy)
    true_error = np.abs(predictor.predict(unseen) / noisy_unseen - 1).mean()
    assert predictor.error.mape == pytest.approx(true_error, rel=0.35)


def test_a_vague_timing_is_hardly_believed():
    kept, unseen = random_kept(GEOMETRY, 40, 1), random_kept(GEOMETRY, 200, 2)
    measured, spread = ratios(kept, 16, 4), np.full(40, 0.003)
    measured[[3, 17, 29]] *= 1.3
    spread[[3, 17, 29]] = 0.2
    told, untold = (
        np.abs(fit_predictor(GEOMETRY, kept, measured, known).predict(unseen) - truth).mean()
        for truth in [ratios(unseen, 16, 4)]
        for known in (spread, None)
    )
    assert told < 0.01
    assert told < untold / 2


def test_a_corrected_predictor_gives_every_latency_times_the_factor():
    kept, unseen = random_kept(GEOMETRY, 48, 1), random_kept(GEOMETRY, 20, 2)
    predictor = fit_predictor(GEOMETRY, kept, ratios(kept, 16, 4))
    before = predictor.predict(unseen)
    assert predictor.times(0.95).predict(unseen) == pytest.approx(0.95 * before)
    assert predictor.predict(unseen) == pytest.approx(before)


def test_widths_inside_a_block_cost_the_same_and_a_misaligned_one_more():
    kept = random_kept(GEOMETRY, 60, 1)
    predictor = fit_predictor(GEOMETRY, kept, ratios(kept, 16, 4))
    plans = np.repeat(DENSE, 4, axis=0)
    plans[:, 2] = (64, 60, 52, 63)
    full, slightly, more, odd = predictor.predict(plans)
    assert slightly == pytest.approx(full, rel=0.005)
    assert more == pytest.approx(full, rel=0.005)
    assert odd > 1.005 * full


def test_work_is_counted_by_hand():
    kept = np.array([[20, 63, 64, 100, 64, 96, 64]])
    staircase = Staircase(block=16, pads_inputs=True, align=4)
    stem, second, third = work(GEOMETRY, staircase, kept)[:, 0, :3].T.tolist()
    assert stem == [3 * 32, 32, 3, 0, 0, 0, 0]  # 3 inputs are below a block; 20 outputs cost 32
    assert second == [32 * 64, 64, 20, 0, 0, 0, 0]
    assert third == [0, 0, 0, 63 * 64, 64, 63, 0]  # 63 inputs leave the fast path
    plain = work(GEOMETRY, Staircase(block=1, pads_inputs=False, align=1), kept)[:, 0, :3]
    assert plain[:3].tolist() == [[60, 20 * 63, 63 * 64], [20, 63, 64], [3, 20, 63]]
    assert not plain[3:].any()


def test_storage_is_a_round_trip(tmp_path):
    kept = random_kept(GEOMETRY, 30, 1)
    predictor = fit_predictor(GEOMETRY, kept, ratios(kept, 16, 4))
    predictor.save(tmp_path / "latency_predictor.json")
    again = LatencyPredictor.load(tmp_path / "latency_predictor.json", GEOMETRY)
    assert np.array_equal(again.predict(kept), predictor.predict(kept))
    assert (again.error, again.staircase) == (predictor.error, predictor.staircase)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"7"])
def test_a_file_that_holds_no_predictor_is_named(tmp_path, content):
    path = tmp_path / "latency_predictor.json"
    with pytest.raises(ConfigError, match="cannot be read"):
        LatencyPredictor.load(path, GEOMETRY)
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"latency_predictor\.json: (got|not valid JSON)"):
        LatencyPredictor.load(path, GEOMETRY)


def test_another_models_predictor_is_refused():
    kept = random_kept(GEOMETRY, 30, 1)
    content = fit_predictor(GEOMETRY, kept, ratios(kept, 16, 4)).to_mapping()
    with pytest.raises(StudyMismatch, match="another model or image size"):
        LatencyPredictor.from_mapping({**content, "geometry": "0" * 16}, GEOMETRY)
    for key in content:
        broken = {name: value for name, value in content.items() if name != key}
        with pytest.raises(ConfigError, match=key):
            LatencyPredictor.from_mapping(broken, GEOMETRY, "table.json")
    short = {**content, "prices": {name: row[1:] for name, row in content["prices"].items()}}
    with pytest.raises(ConfigError, match="prices"):
        LatencyPredictor.from_mapping(short, GEOMETRY)


def test_wrong_shapes_are_refused():
    kept = random_kept(GEOMETRY, 30, 1)
    predictor = fit_predictor(GEOMETRY, kept, ratios(kept, 16, 4))
    with pytest.raises(ValueError, match="shape"):
        predictor.predict(kept[:, 1:])
    with pytest.raises(ValueError, match="shape"):
        predictor.predict(kept[0])
    few = kept[: FEWEST_PLANS - 1]
    with pytest.raises(ValueError, match="at least"):
        fit_predictor(GEOMETRY, few, ratios(few, 16, 4))
    assert predictor.predict(kept[:0]).shape == (0,)
