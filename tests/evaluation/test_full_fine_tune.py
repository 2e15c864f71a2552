"""Nothing of a long fine-tune is lost: it goes on where it was stopped, or says why it cannot."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import filelock
import pytest

from autoprune.errors import ConfigError
from autoprune.evaluation import full_fine_tune
from autoprune.evaluation.full_fine_tune import fully_fine_tuned
from autoprune.evaluation.pruned_yolo import PrunedYOLO, load_pruned
from autoprune.evaluation.trainer import conv_shapes

SETTINGS = {"epochs": 2, "imgsz": 64, "batch": 4, "workers": 0, "device": "cpu", "lr0": 0.001}


def _stopped_in_the_second_epoch(pruned: PrunedYOLO, data: Path, folder: Path) -> None:
    def interrupt(trainer: Any) -> None:
        if trainer.epoch == 1:
            raise KeyboardInterrupt

    pruned.add_callback("on_train_epoch_start", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fully_fine_tuned(pruned, data, SETTINGS, folder)
    pruned.reset_callbacks()


def test_an_interrupted_fine_tune_goes_on_after_the_last_epoch(
    pruned: PrunedYOLO, data_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes, folder, trained = conv_shapes(pruned.model), tmp_path / "training", []
    _stopped_in_the_second_epoch(pruned, data_yaml, folder)

    def opened(path: Path) -> PrunedYOLO:
        yolo = load_pruned(path)
        yolo.add_callback("on_train_epoch_end", lambda trainer: trained.append(trainer.epoch))
        return yolo

    monkeypatch.setattr(full_fine_tune, "load_pruned", opened)
    again = fully_fine_tuned(pruned, data_yaml, SETTINGS | {"workers": 1}, folder)
    assert trained == [1]
    assert conv_shapes(again.model) == shapes
    trained.clear()
    finished = fully_fine_tuned(pruned, data_yaml, SETTINGS, folder)  # killed before it was saved
    assert trained == []
    assert conv_shapes(finished.model) == shapes


def test_another_fine_tune_in_the_same_place_is_refused(
    pruned: PrunedYOLO, data_yaml: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "training"
    _stopped_in_the_second_epoch(pruned, data_yaml, folder)
    with pytest.raises(ConfigError, match=r"other settings \(epochs: 2 -> 3\)"):
        fully_fine_tuned(pruned, data_yaml, SETTINGS | {"epochs": 3}, folder)
    with filelock.FileLock(folder / ".lock"), pytest.raises(ConfigError, match="another process"):
        fully_fine_tuned(pruned, data_yaml, SETTINGS, folder)


def test_a_disk_that_fills_up_while_saving_leaves_the_last_epoch_whole(
    pruned: PrunedYOLO, data_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, write = tmp_path / "training", Path.write_bytes
    written = []

    def fills_up(path: Path, content: bytes) -> int:
        if "weights" in path.parts and path.stem == "last":
            written.append(path)
            if len(written) == 2:
                write(path, content[: len(content) // 2])
                raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", fills_up)
    with pytest.raises(OSError, match="No space left"):
        fully_fine_tuned(pruned, data_yaml, SETTINGS, folder)
    monkeypatch.undo()
    last = folder / "fine-tune" / "weights" / "last.pt"
    assert conv_shapes(load_pruned(last).model) == conv_shapes(pruned.model)
    assert fully_fine_tuned(pruned, data_yaml, SETTINGS, folder).model is not None
