import math

import numpy as np
import pytest

from autoprune.latency.estimate import (
    Interval,
    lasting_change,
    ratio_to,
    tail_factor,
    typical_ms,
)


def blocks(rng, base_ms, count=40, runs=5, weather=None, interrupted=0.2):
    """Times as a shared machine gives them: small jitter, some runs interrupted for 4 ms."""
    times = base_ms * (1 + np.abs(rng.normal(0, 0.02, (count, runs))))
    times = times + 4.0 * (rng.random((count, runs)) < interrupted)
    return times if weather is None else times * np.asarray(weather)[:, None]


def test_ratio_is_found_in_spite_of_interrupted_runs():
    rng = np.random.default_rng(1)
    found = ratio_to(blocks(rng, 6.0), blocks(rng, 4.5))
    assert found.value == pytest.approx(0.75, rel=0.01)
    assert found.low < 0.75 < found.high


def test_a_slow_down_half_way_leaves_the_ratio_alone():
    rng = np.random.default_rng(2)
    weather = [1.0] * 17 + [1.3] * 23
    found = ratio_to(blocks(rng, 6.0, weather=weather), blocks(rng, 4.5, weather=weather))
    assert found.value == pytest.approx(0.75, rel=0.01)


def test_a_slow_down_half_way_widens_the_interval_of_a_lone_time():
    rng = np.random.default_rng(3)
    calm = typical_ms(blocks(rng, 6.0))
    torn = typical_ms(blocks(rng, 6.0, weather=[1.0] * 20 + [1.3] * 20))
    assert calm.half_width < 0.01
    assert torn.half_width > 0.05


def test_a_steady_drift_does_not_favour_either_model():
    slots = 1 + 0.01 * np.arange(80)  # every block is 1 % of the first slower than the one before
    dense, candidate = np.empty((40, 5)), np.empty((40, 5))
    for pair in range(40):
        first, second = (dense, candidate) if pair % 2 == 0 else (candidate, dense)
        first[pair], second[pair] = slots[2 * pair], slots[2 * pair + 1]
    assert ratio_to(dense, candidate).value == pytest.approx(1.0, abs=0.002)


def test_intervals_hold_the_true_ratio_about_as_often_as_they_say():
    rng = np.random.default_rng(4)
    hits = 0
    for _ in range(200):
        shared = np.exp(rng.normal(0, 0.1, 24))
        found = ratio_to(blocks(rng, 6.0, 24, weather=shared), blocks(rng, 4.8, 24, weather=shared))
        hits += found.low <= 0.8 <= found.high
    assert hits >= 180


def test_a_product_of_intervals_holds_the_error_of_both():
    ratio, dense = Interval(0.5, 0.49, 0.51), Interval(8.0, 7.7, 8.2)
    product = ratio.times(dense)
    assert product.value == pytest.approx(4.0)
    assert math.log(4.0 / product.low) == pytest.approx(
        math.hypot(math.log(0.5 / 0.49), math.log(8.0 / 7.7))
    )
    assert product.half_width > max(ratio.half_width, dense.half_width)


def test_tail_sees_slow_runs_but_not_a_slower_half():
    quick = np.full((20, 10), 5.0)
    halves = quick * np.repeat([1.0, 1.3], 10)[:, None]
    spiky = quick.copy()
    spiky[:, :2] *= 2
    assert tail_factor(halves) == pytest.approx(1.0)
    assert tail_factor(spiky) == pytest.approx(2.0)


@pytest.mark.parametrize("slow_from", [8, 15, 20, 32])
def test_a_neighbour_that_comes_for_good_is_noticed(slow_from):
    rng = np.random.default_rng(5)
    weather = [1.0] * slow_from + [1.3] * (40 - slow_from)
    assert lasting_change(blocks(rng, 6.0, weather=weather)) == pytest.approx(0.3, abs=0.05)
    assert lasting_change(blocks(rng, 6.0, weather=weather[::-1])) == pytest.approx(0.3, abs=0.05)


def test_a_few_slow_blocks_and_noise_are_no_lasting_change():
    rng = np.random.default_rng(6)
    assert lasting_change(blocks(rng, 6.0)) < 0.05
    weather = np.ones(40)
    weather[[4, 19, 20, 33]] = 1.5
    assert lasting_change(blocks(rng, 6.0, weather=weather)) < 0.05
    assert lasting_change(blocks(rng, 6.0, count=9)) == 0


def test_an_interval_of_a_ratio_is_never_narrower_than_the_placement_in_memory_allows():
    steady = np.full((40, 5), 6.0)
    found = ratio_to(steady, steady * 0.5)
    assert found.value == pytest.approx(0.5)
    assert found.half_width == pytest.approx(1.96 * 0.003)


@pytest.mark.parametrize("count", [2, 4, 6, 10, 20])
def test_intervals_of_few_blocks_are_as_wide_as_little_was_seen(count):
    """A slow model runs once per block, and the cap ends it after few."""
    rng = np.random.default_rng(count)
    hits = 0
    for _ in range(300):
        dense, candidate = (base * np.exp(rng.normal(0, 0.03, (count, 1))) for base in (1000, 600))
        found = ratio_to(dense, candidate)
        hits += found.low <= 0.6 <= found.high
    assert hits >= 0.9 * 300


def test_one_pair_says_nothing_about_its_own_error():
    found = ratio_to(np.array([[1000.0], [1001.0]]), np.array([[600.0], [601.0]]))
    assert found.half_width > 0.3
