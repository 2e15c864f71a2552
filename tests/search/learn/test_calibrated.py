"""How many images a study looks at: as many as there is time for, and always the same ones."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autoprune.domain.plan import Calibration
from autoprune.errors import ConfigError
from autoprune.search.learn import calibration
from autoprune.search.learn.calibration import LOOKING, calibrated, images_of
from autoprune.storage.study_folder import StudyFolder
from tests.search.fakes import Heard, ending_in, fake_bench, unlimited


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, float | None]]:
    """(images, time limit) of each look; within a limit there is time for 20."""
    calls: list[tuple[int, float | None]] = []

    def look(_module: Any, _data: Any, _size: int, images: int, *_: Any, **how: Any) -> Any:
        calls.append((images, how["limit_s"]))
        return SimpleNamespace(images=images if how["limit_s"] is None else min(images, 20))

    monkeypatch.setattr(calibration, "calibrate", look)
    monkeypatch.setattr(calibration, "trained_image_size", lambda yolo: (64, 64))
    monkeypatch.setattr(calibration, "Pruner", lambda *_: "pruner")
    return calls


def _bench(root: Path, images: int | None = 64) -> Any:
    bench = fake_bench(root)
    bench.yolo = SimpleNamespace(model=None)
    bench.data.train = range(100)
    bench.calibration = None if images is None else Calibration("data.yaml", images, 0)
    return bench


def test_without_a_time_limit_all_images_are_looked_at(tmp_path: Path, asked: list[Any]) -> None:
    found = calibrated(_bench(tmp_path), unlimited(), Heard())
    assert asked == [(64, None)]
    assert found.calibration.images == images_of(StudyFolder(tmp_path)) == 64


def test_with_one_as_many_as_it_allows_and_that_is_written_into_every_plan(
    tmp_path: Path, asked: list[Any]
) -> None:
    heard = Heard()
    found = calibrated(_bench(tmp_path), ending_in(30.0), heard)
    ((images, limit_s),) = asked
    assert images == 64
    assert limit_s == pytest.approx(LOOKING * 30.0, abs=1)
    assert found.calibration == Calibration("data.yaml", 20, 0)
    assert heard.said == ["Time for 20 of 64 training images, to rank channels by."]


def test_a_small_data_set_is_no_want_of_time(tmp_path: Path, asked: list[Any]) -> None:
    bench, heard = _bench(tmp_path), Heard()
    bench.data.train = range(20)
    calibrated(bench, ending_in(30.0), heard)
    assert heard.said == []


def test_a_continued_study_looks_at_the_same_images_whatever_time_it_has(
    tmp_path: Path, asked: list[Any]
) -> None:
    calibrated(_bench(tmp_path), ending_in(30.0), Heard())
    again = calibrated(_bench(tmp_path), ending_in(1000.0), Heard())
    assert asked[1:] == [(20, None)]
    assert again.calibration.images == 20


def test_a_new_goal_ranks_channels_as_the_study_it_takes_over_from(
    tmp_path: Path, asked: list[Any]
) -> None:
    calibrated(_bench(tmp_path / "first"), ending_in(30.0), Heard())
    bench = _bench(tmp_path / "second")
    bench.earlier = (StudyFolder(tmp_path / "first"),)
    calibrated(bench, unlimited(), Heard())
    assert asked[1:] == [(20, None)]
    assert images_of(bench.folder) == 20


def test_where_no_image_is_needed_none_is_looked_at(tmp_path: Path, asked: list[Any]) -> None:
    found = calibrated(_bench(tmp_path, images=None), ending_in(30.0), Heard())
    assert asked == []
    assert found.calibration is None
    assert images_of(StudyFolder(tmp_path)) is None


@pytest.mark.parametrize("content", ['{"images": 0}', '{"images": true}', "{}", "[1]"])
def test_a_broken_note_is_named(tmp_path: Path, asked: list[Any], content: str) -> None:
    bench = _bench(tmp_path)
    bench.folder.calibration.write_text(content)
    with pytest.raises(ConfigError, match=r"calibration\.json"):
        calibrated(bench, unlimited(), Heard())
