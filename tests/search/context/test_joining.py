"""A worker that joins is asked what the study was, but for what is its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autoprune.domain.config import StudyConfig
from autoprune.errors import ConfigError
from autoprune.search.context.joining import Own, joined
from autoprune.storage.study_folder import StudyFolder
from autoprune.storage.yaml_io import dump_yaml


def _study(root: Path, demo: bool = False, **asked: Any) -> StudyFolder:
    given = {
        "goal": {"kind": "budget_ms", "value": 5.0},
        "model": "/elsewhere/best.pt",
        "data": "/elsewhere/my.yaml",
        "name": "ours",
        "timeout_s": 60.0,
        "trust_checkpoint": True,
        "workers_local": 4,
    }
    config = StudyConfig.of(given | asked, "test")
    folder = StudyFolder(root)
    content = {"schema": 1, "demo": demo, "asked": config.model_dump(mode="json")}
    folder.settings.write_text(dump_yaml(content))
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Own:
    for name in ("here.pt", "here.yaml"):
        (tmp_path / name).touch()
    return Own(tmp_path / "here.pt", tmp_path / "here.yaml")


def test_settings_are_the_studys_and_files_the_workers(tmp_path: Path, own: Own) -> None:
    config = joined(_study(tmp_path, imgsz=(64, 96), protect=(0, 22), seed=3), own)
    assert (config.name, config.seed, config.imgsz, config.protect) == (
        "ours",
        3,
        (64, 96),
        (0, 22),
    )
    assert (config.model, config.data) == (own.model, own.data)
    assert config.timeout_s == 60.0
    assert config.workers_local is None


def test_no_database_makes_a_worker_trust_a_checkpoint(tmp_path: Path, own: Own) -> None:
    assert joined(_study(tmp_path), own).trust_checkpoint is False


def test_a_space_is_the_copy_that_came_with_the_study(tmp_path: Path, own: Own) -> None:
    config = joined(_study(tmp_path, space="/elsewhere/space.yaml"), own)
    assert config.space == tmp_path / "asked_space.yaml"


def test_the_demo_needs_no_files(tmp_path: Path) -> None:
    folder = _study(tmp_path, demo=True)
    assert joined(folder, Own()).model is None


@pytest.mark.parametrize("content", ["schema: 1\n", "schema: 1\nasked: {goal: 5}\n", "asked: [\n"])
def test_settings_that_are_none_are_refused(tmp_path: Path, own: Own, content: str) -> None:
    folder = StudyFolder(tmp_path)
    with pytest.raises(ConfigError, match="has no settings yet"):
        joined(folder, own)
    folder.settings.write_text(content)
    with pytest.raises(ConfigError):
        joined(folder, own)


def test_a_file_that_is_not_here_is_asked_for(tmp_path: Path, own: Own) -> None:
    expected = r"--model: got '/elsewhere/best.pt', expected the study's, which is not here"
    with pytest.raises(ConfigError, match=expected):
        joined(_study(tmp_path), Own(data=own.data))
    with pytest.raises(ConfigError, match=r"--data: got .*, expected a file"):
        joined(_study(tmp_path), Own(own.model, tmp_path / "no.yaml"))
