"""What a user may ask for, and how a wrong wish is answered."""

import pytest
from pydantic import ValidationError

from autoprune.domain.config import StudyConfig, Tolerated
from autoprune.domain.goal import Goal
from autoprune.errors import ConfigError

GOAL = {"kind": "budget_ms", "value": 5}


def test_a_budget_alone_is_a_whole_study() -> None:
    config = StudyConfig.of({"goal": GOAL}, "command line")
    assert (config.model, config.data, config.runtime, config.threads) == (
        None,
        None,
        "onnxruntime",
        1,
    )


@pytest.mark.parametrize(
    ("given", "expected"), [(160, (160, 160)), ([160], (160, 160)), ([160, 320], (160, 320))]
)
def test_image_sizes_are_one_side_or_two(given: object, expected: tuple[int, int]) -> None:
    assert StudyConfig.of({"goal": GOAL, "imgsz": given}, "x").imgsz == expected


def test_a_goal_gives_its_limit_in_milliseconds() -> None:
    assert Goal(kind="budget_ms", value=5).budget_ms(dense_ms=9.0) == 5
    assert Goal(kind="speedup", value=1.8).budget_ms(dense_ms=9.0) == 5
    assert Goal(kind="max_drop", value=1).budget_ms(dense_ms=9.0) is None


def test_how_odd_the_images_may_be_is_two_wishes() -> None:
    assert StudyConfig.of({"goal": GOAL}, "x").tolerated == Tolerated(5, 90)
    asked = {"goal": GOAL, "allow_broken": 7, "allow_unlabelled": 95}
    assert StudyConfig.of(asked, "x").tolerated == Tolerated(broken=7, unlabelled=95)


def test_a_config_survives_plain_data() -> None:
    config = StudyConfig.of(
        {"goal": GOAL, "model": "a.pt", "data": "d.yaml", "imgsz": 64, "protect": [0, 22]}, "x"
    )
    assert StudyConfig.of(config.model_dump(mode="json"), "study.yaml") == config


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"goal": {"kind": "budget_ms", "value": 0}}, "goal.value: got 0"),
        ({"goal": {"kind": "budget_ms", "value": -5}}, "goal.value: got -5"),
        ({"goal": {"kind": "budget_ms", "value": float("nan")}}, "goal.value: got nan"),
        ({"goal": {"kind": "budget_ms", "value": float("inf")}}, "goal.value: got inf"),
        ({"goal": {"kind": "fast", "value": 5}}, "goal.kind: got 'fast'"),
        ({"goal": {"kind": "speedup", "value": 1}}, "a speed-up above 1"),
        ({"goal": {**GOAL, "x": 1}}, "goal.x: unknown key, expected one of kind, value"),
        ({"threads": 0}, "threads: got 0"),
        ({"provider": ""}, "provider: got ''"),
        ({"provider": "a\tb"}, "provider: got 'a\\tb'"),
        ({"provider": "x" * 101}, "1 to 100 printable characters"),
        ({"trials": -1}, "trials: got -1"),
        ({"timeout_s": 0}, "timeout_s: got 0"),
        ({"seed": 2**31}, "seed: got 2147483648"),
        ({"allow_broken": 101}, "allow_broken: got 101"),
        ({"allow_unlabelled": -1}, "allow_unlabelled: got -1"),
        ({"imgsz": 100}, "imgsz: got 100, expected each side to be a multiple of 32"),
        ({"imgsz": [64, 65]}, "imgsz: got [64, 65]"),
        ({"imgsz": [64, 64, 64]}, "imgsz"),
        ({"imgsz": True}, "imgsz"),
        ({"name": "a/b"}, "name: got 'a/b', expected a name for a folder"),
        ({"name": ".."}, "name: got '..'"),
        ({"name": ""}, "name: got ''"),
        ({"name": "a\nb"}, "name: got 'a\\nb'"),
        ({"budget": 5}, "budget: unknown key, expected one of goal, model, data"),
        ({"model": "a.pt"}, "missing --data"),
        ({"data": "d.yaml"}, "missing --model"),
    ],
)
def test_a_wrong_wish_is_one_line_with_its_origin_key_and_value(
    change: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        StudyConfig.of({"goal": GOAL, **change}, "recipe.yaml")
    message = str(caught.value)
    assert message.startswith("recipe.yaml: ")
    assert said in message
    assert "\n" not in message


def test_a_config_cannot_be_changed() -> None:
    config = StudyConfig.of({"goal": GOAL}, "x")
    with pytest.raises(ValidationError):
        config.seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("budget_ms", 5, "at most 5 ms"),
        ("speedup", 1.8, "1.8x faster than dense"),
        ("max_drop", 1, "fastest within 1 mAP points of dense"),
    ],
)
def test_a_goal_reads_as_words(kind: str, value: float, text: str) -> None:
    assert Goal.model_validate({"kind": kind, "value": value}).text() == text
