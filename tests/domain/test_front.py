"""The front against brute force, and what may never be on it."""

import random
from typing import Any

import pytest

from autoprune.domain.front import hypervolume, objectives, pareto_front
from autoprune.domain.record import (
    DetectionMetrics,
    Failure,
    Fingerprint,
    LatencyResult,
    ModelSize,
    RungScore,
    TrialRecord,
)

MARK = Fingerprint(
    runtime="onnxruntime", runtime_version="1", provider="CPU", threads=1, cpu="c", isa="avx2",
    system="s", imgsz=(64, 64), batch=1, runner_version=1,
)  # fmt: skip


def scored(rung: int, map50_95: float) -> RungScore:
    metrics = DetectionMetrics(map50=map50_95, map50_95=map50_95, split="val", images=1)
    return RungScore(rung=rung, epochs=rung, images_seen=1, seconds=1.0, metrics=metrics)


def trial(
    number: int | None, params: int, ms: float, score: float | None, **given: Any
) -> TrialRecord:
    latency = LatencyResult(
        median_ms=ms, p90_ms=ms, low_ms=ms, high_ms=ms, ratio=ms, ratio_low=ms, ratio_high=ms,
        dense_ms=1.0, blocks=1, steady=True, samples_ms=(), dense_samples_ms=(), load_1min=None,
        fingerprint=MARK,
    )  # fmt: skip
    values: dict[str, Any] = {
        "kind": "trial",
        "name": f"trial {number}",
        "number": number,
        "state": "complete",
        "plan": {"prune_ratios": {0: 0.5}},
        "kept": {0: (8,)},
        "size": ModelSize(params=params, macs=1),
        "latency": latency,
        "rungs": () if score is None else (scored(1, score),),
        "started": "2026-01-01T00:00:00+00:00",
        "seconds": 1.0,
    }
    return TrialRecord(**{**values, **given})


def names(records: list[TrialRecord]) -> list[str]:
    return [record.name for record in records]


def test_the_front_equals_brute_force_on_1000_random_sets() -> None:
    draw = random.Random(0)
    failure = Failure(reason="nan", detail="")
    for _ in range(1000):
        grid = draw.choice([3, 6, 1000])  # coarse grids make ties
        records = []
        for number in range(draw.randint(0, 14)):
            one = trial(number, draw.randint(1, grid), draw.randint(1, grid), draw.random())
            if grid < 1000:
                one = trial(number, one.size.params, one.latency.median_ms, draw.randint(0, 4) / 4)
            fate = draw.random()
            if fate < 0.1:
                one = one.model_copy(update={"state": "failed", "failure": failure})
            elif fate < 0.2:
                one = one.model_copy(update={"state": "over_budget"})
            elif fate < 0.25:
                one = one.model_copy(update={"rungs": ()})
            records.append(one)

        usable = [r for r in records if r.state == "complete" and r.rungs]
        expected = set()
        for one in usable:
            a = (one.size.params, one.latency.median_ms, -one.map50_95)
            beaten = False
            for other in usable:
                b = (other.size.params, other.latency.median_ms, -other.map50_95)
                if b[0] <= a[0] and b[1] <= a[1] and b[2] <= a[2] and b != a:
                    beaten = True
            if not beaten:
                expected.add(one.name)

        front = pareto_front(records)
        assert set(names(front)) == expected
        assert len(front) == len(expected)
        times = [record.latency.median_ms for record in front]
        assert times == sorted(times)


def test_equal_objectives_are_all_kept() -> None:
    twins = [trial(0, 5, 1.0, 0.5), trial(1, 5, 1.0, 0.5)]
    assert names(pareto_front(twins)) == ["trial 0", "trial 1"]


def test_a_repeated_plan_is_on_the_front_once_wherever_its_original_stands() -> None:
    original = trial(3, 5, 1.0, 0.5)
    repeat = trial(7, 5, 1.0, 0.5, same_as="trial 3")
    assert names(pareto_front([original, repeat])) == ["trial 3"]
    assert names(pareto_front([repeat, original])) == ["trial 3"]


def test_a_trial_that_repeats_a_record_not_given_stands_for_it() -> None:
    repeats = [
        trial(4, 5, 1.0, 0.5, same_as="uniform-0.25"),
        trial(9, 5, 1.0, 0.5, same_as="uniform-0.25"),
    ]
    assert names(pareto_front(repeats)) == ["trial 4"]


def test_all_are_compared_after_the_short_fine_tune() -> None:
    short = trial(0, 5, 1.0, 0.4)
    long = trial(1, 6, 2.0, 0.5, rungs=(scored(0, 0.1), scored(1, 0.3), scored(2, 0.9)))
    assert names(pareto_front([short, long])) == ["trial 0"]


def test_a_plan_that_was_not_trained_is_not_on_the_front() -> None:
    untrained = trial(0, 1, 0.1, None, state="scored", rungs=(scored(0, 0.9),), latency=None)
    measured = trial(1, 1, 0.1, None, state="over_budget", rungs=(scored(0, 0.9),))
    assert names(pareto_front([untrained, measured, trial(2, 5, 1.0, 0.5)])) == ["trial 2"]


def test_the_fastest_failure_with_map_zero_never_enters() -> None:
    failed = trial(
        0, 1, 0.1, 0.0, state="failed", failure=Failure(reason="nan", detail="loss is nan")
    )
    assert names(pareto_front([failed, trial(1, 5, 1.0, 0.5)])) == ["trial 1"]
    assert objectives(failed) is None


def test_an_empty_set_has_an_empty_front() -> None:
    assert pareto_front([]) == []


def test_hypervolume_equals_brute_force_on_random_sets() -> None:
    draw = random.Random(1)
    for _ in range(50):
        steps = 20  # points on a grid: its cells can be counted
        points = [
            (draw.randint(0, steps) / steps, draw.randint(0, steps) / steps)
            for _ in range(draw.randint(0, 8))
        ]
        cells = 0
        for column in range(steps):
            for row in range(steps):
                x, y = (column + 0.5) / steps, (row + 0.5) / steps
                cells += any(cost < x and value > y for cost, value in points)
        assert hypervolume(points, (1.0, 0.0)) == pytest.approx(cells / steps**2)


def test_points_beyond_the_reference_count_nothing() -> None:
    assert hypervolume([], (1.0, 0.0)) == 0
    assert hypervolume([(1.2, 0.9), (0.5, 0.0), (1.0, 1.0)], (1.0, 0.0)) == 0
    assert hypervolume([(0.5, 0.5), (1.2, 0.9)], (1.0, 0.0)) == 0.25


def test_a_dominated_point_adds_nothing_and_a_better_one_does() -> None:
    alone = hypervolume([(0.5, 0.5)], (1.0, 0.0))
    assert hypervolume([(0.5, 0.5), (0.6, 0.4), (0.5, 0.5)], (1.0, 0.0)) == alone
    assert hypervolume([(0.5, 0.5), (0.6, 0.6)], (1.0, 0.0)) == pytest.approx(alone + 0.04)
