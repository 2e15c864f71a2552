"""A study is continued only with the settings it was started with."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from autoprune.errors import StudyMismatch
from autoprune.search.context.study_settings import compare_settings, save_settings
from autoprune.storage.study_folder import StudyFolder

SETTINGS: dict[str, Any] = {
    "asked": {
        "goal": {"kind": "budget_ms", "value": 5.0},
        "trials": 10,
        "timeout_s": None,
        "runtime": "onnxruntime",
        "threads": 1,
        "target": "local",
        "target_python": "python3",
        "sampler": "profile",
        "seed": 0,
        "protect": [],
        "importance": "obs",
        "compensate": True,
        "model": "a.pt",
    },
    "imgsz": [160, 160],
    "device": "cpu",
    "model": {"file": "a.pt", "hash": "aa"},
    "data": {"file": "a.yaml", "hash": "bb"},
    "space": {"file": "s.yaml", "hash": "cc"},
    "fine_tune": {"epochs": 3, "batch": 8},
    "versions": {"torch": "2.15.0", "optuna": "5.0.0"},
}


def _changed(path: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(SETTINGS)
    *parents, last = path.split(".")
    place = changed
    for parent in parents:
        place = place[parent]
    place[last] = value
    return changed


def _resume(folder: Path, settings: dict[str, Any]) -> None:
    study = StudyFolder(folder)
    for each in (SETTINGS, settings):
        compare_settings(study, each)
        save_settings(study, each)


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("asked.goal", {"kind": "speedup", "value": 2.0}, "goal"),
        ("asked.runtime", "torch", "runtime"),
        ("asked.threads", 2, "threads"),
        ("asked.provider", "CUDAExecutionProvider", "provider"),
        ("asked.channels_last", True, "channels_last"),
        ("asked.precision", "bf16", "precision"),
        ("asked.target", "ssh://pi@raspberrypi", "target"),
        ("asked.target_python", "venv/bin/python", "target_python"),
        ("asked.importance", "l1", "importance"),
        ("asked.compensate", False, "compensate"),
        ("asked.sampler", "random", "sampler"),
        ("asked.seed", 1, "seed"),
        ("asked.protect", [0], "protect"),
        ("imgsz", [320, 320], "imgsz"),
        ("device", "cuda:0", "device"),
        ("model.hash", "xx", "model"),
        ("data.hash", "xx", "data"),
        ("space.hash", "xx", "space"),
        ("space.on_steps", True, "steps"),
        ("fine_tune.epochs", 5, "epochs"),
        ("versions.torch", "3.0.0", "torch version"),
    ],
)
def test_a_changed_setting_is_refused_by_name(
    tmp_path: Path, path: str, value: Any, named: str
) -> None:
    with pytest.raises(StudyMismatch) as caught:
        _resume(tmp_path, _changed(path, value))
    assert named in str(caught.value)
    assert "--name" in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("asked.trials", 50),
        ("asked.timeout_s", 60.0),
        ("asked.provider", "CPUExecutionProvider"),
        ("asked.channels_last", False),
        ("asked.precision", "fp32"),  # the runtime's own; a study from before has no such key
        ("asked.allow_broken", 10.0),
        ("asked.allow_unlabelled", 95.0),  # a study from before has no such key
        ("asked.model", "moved/a.pt"),
        ("model.file", "moved/a.pt"),
        ("versions.torch", "2.16.1"),
    ],
)
def test_limits_moved_files_named_defaults_and_minor_versions_may_change(
    tmp_path: Path, path: str, value: Any
) -> None:
    _resume(tmp_path, _changed(path, value))
