"""What `apply` is asked is completed by the study, and by nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autoprune.errors import ConfigError
from autoprune.shipping.request import Asked, Limits, completed
from autoprune.storage.yaml_io import dump_yaml

PLAN = "prune_ratios:\n  0: 0.5\n"
STUDY: dict[str, Any] = {
    "asked": {
        "goal": {"kind": "speedup", "value": 2.0},
        "runtime": "torch",
        "threads": 2,
        "channels_last": True,
        "provider": "cuda:0",
        "precision": "fp16",
        "target": "ssh://pi@pi",
        "target_python": "/usr/bin/python3",
        "model": None,
    },
    "imgsz": [64, 96],
    "model": {"file": "best.pt"},
    "data": {"file": "my.yaml"},
}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    trial = tmp_path / "s" / "trials" / "0007"
    trial.mkdir(parents=True)
    for plan in (tmp_path / "s" / "best.yaml", trial / "plan.yaml", tmp_path / "s" / "other.yaml"):
        plan.write_text(PLAN)
    (tmp_path / "s" / "study.yaml").write_text(dump_yaml(STUDY))
    return tmp_path / "s"


def test_the_study_says_what_the_user_does_not(study: Path) -> None:
    found = completed(Asked(study / "best.yaml", Path("out")))
    config = found.config
    assert (config.model, config.data, config.imgsz) == (Path("best.pt"), Path("my.yaml"), (64, 96))
    assert (config.runtime, config.threads, config.provider) == ("torch", 2, "cuda:0")
    assert (config.channels_last, config.target) == (True, "ssh://pi@pi")
    assert config.precision == "fp16"
    assert found.limits == Limits(speedup=2.0)
    assert found.limits.latency_ms(10.0) == 5.0
    assert (found.study, found.weights) == (study, study / "best.pt")


def test_what_is_given_wins_and_takes_what_hangs_on_it_along(study: Path) -> None:
    settings = {"runtime": "onnxruntime", "target": "local", "threads": 1}
    found = completed(Asked(study / "best.yaml", Path("out"), settings, max_drop=1.5))
    config = found.config
    assert (config.runtime, config.threads, config.target) == ("onnxruntime", 1, "local")
    assert (config.provider, config.channels_last) == (None, False), "they are torch's"
    assert config.precision is None, "torch's too"
    assert config.target_python == "python3"
    assert found.limits == Limits(max_drop=1.5), "one limit replaces the study's goal"


def test_a_trials_plan_has_its_own_weights(study: Path) -> None:
    found = completed(Asked(study / "trials" / "0007" / "plan.yaml", Path("out")))
    assert found.study == study
    assert found.weights == study / "trials" / "0007" / "model.pt"


def test_of_a_study_without_a_plan_within_its_goal_that_is_said(study: Path) -> None:
    (study / "best.yaml").unlink()
    with pytest.raises(ConfigError, match=r"expected a plan; the study has none within its goal"):
        completed(Asked(study / "best.yaml", Path("out")))
    with pytest.raises(ConfigError, match=r"expected a per-index YAML, as best.yaml"):
        completed(Asked(study / "trials" / "best.yaml", Path("out")))


def test_any_other_plan_needs_model_and_data(study: Path) -> None:
    with pytest.raises(ConfigError, match="apply: --model: got None, expected a file, as no study"):
        completed(Asked(study / "other.yaml", Path("out"), {"data": "my.yaml"}))
    with pytest.raises(ConfigError, match="apply: --data: got None"):
        completed(Asked(study / "other.yaml", Path("out"), {"model": "m.pt"}))
    found = completed(Asked(study / "other.yaml", Path("out"), {"model": "m.pt", "data": "d.yaml"}))
    assert (found.study, found.weights, found.limits) == (None, None, Limits())


def test_a_study_yaml_that_is_none_is_named(study: Path) -> None:
    (study / "study.yaml").write_text("asked: 3\n")
    with pytest.raises(ConfigError, match=r"study.yaml: got 'no settings of a search'"):
        completed(Asked(study / "best.yaml", Path("out")))
