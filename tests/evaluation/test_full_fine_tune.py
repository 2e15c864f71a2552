"""Nothing of a long fine-tune is lost: it goes on where it was stopped, or says why it cannot."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import pytest
import torch
from torch import nn

from autoprune.domain.config import Tolerated
from autoprune.errors import ConfigError
from autoprune.evaluation.checkpoint import read_checkpoint
from autoprune.evaluation.full_fine_tune import fully_fine_tuned
from autoprune.evaluation.inside.pruned_yolo import PrunedYOLO, load_pruned
from autoprune.evaluation.inside.trainer import KeepShapeTrainer, conv_shapes
from autoprune.storage.yaml_io import dump_yaml, load_yaml

SETTINGS = {"epochs": 2, "imgsz": 64, "batch": 4, "workers": 0, "device": "cpu", "lr0": 0.001}


class _Heard(list[str]):
    """What was said."""

    def __call__(self, text: str) -> None:
        self.append(text)

    @property
    def epochs(self) -> list[str]:
        return [text.split(":")[0] for text in self if text.startswith("epoch")]


def _stopped_in_the_second_epoch(pruned: PrunedYOLO, data: Path, folder: Path) -> None:
    def interrupt(trainer: Any) -> None:
        if trainer.epoch == 1:
            raise KeyboardInterrupt

    pruned.add_callback("on_train_epoch_start", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fully_fine_tuned(pruned, data, SETTINGS, folder)
    pruned.reset_callbacks()


def test_an_interrupted_fine_tune_goes_on_after_the_last_epoch(
    pruned: PrunedYOLO, data_yaml: Path, tmp_path: Path
) -> None:
    shapes, folder = conv_shapes(pruned.model), tmp_path / "training"
    _stopped_in_the_second_epoch(pruned, data_yaml, folder)
    moved, heard = folder.rename(tmp_path / "moved"), _Heard()
    again = fully_fine_tuned(pruned, data_yaml, SETTINGS | {"workers": 1}, moved, heard)
    assert heard.epochs == ["epoch 2 of 2"]
    assert conv_shapes(again.model) == shapes
    assert not folder.exists()


def test_a_kill_while_a_finished_training_is_cleaned_up_loses_nothing(
    pruned: PrunedYOLO, data_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes, folder = conv_shapes(pruned.model), tmp_path / "training"

    def killed(file: Path, *_: Any, **__: Any) -> None:
        file.write_bytes(b"half a fi")
        raise KeyboardInterrupt

    monkeypatch.setattr("ultralytics.engine.trainer.strip_optimizer", killed)
    with pytest.raises(KeyboardInterrupt):
        fully_fine_tuned(pruned, data_yaml, SETTINGS, folder)
    monkeypatch.undo()
    heard = _Heard()
    finished = fully_fine_tuned(pruned, data_yaml, SETTINGS, folder, heard)
    assert heard.epochs == []
    assert conv_shapes(finished.model) == shapes
    content = read_checkpoint(folder / "result.pt")
    assert content.get("optimizer") is None


def test_another_fine_tune_in_the_same_place_is_refused(
    pruned: PrunedYOLO, data_yaml: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "training"
    _stopped_in_the_second_epoch(pruned, data_yaml, folder)
    with pytest.raises(ConfigError, match=r"other settings \(epochs: 2 -> 3\)"):
        fully_fine_tuned(pruned, data_yaml, SETTINGS | {"epochs": 3}, folder)
    with filelock.FileLock(folder / ".lock"), pytest.raises(ConfigError, match="another process"):
        fully_fine_tuned(pruned, data_yaml, SETTINGS, folder)
    last = folder / "fine-tune" / "weights" / "last.pt"
    torch.save({"model": nn.Identity()}, last)  # as with a teacher: not a plain detection model
    with pytest.raises(ConfigError, match=r"training: .*distill_model cannot go on; remove it"):
        fully_fine_tuned(pruned, data_yaml, SETTINGS, folder)


def test_settings_may_change_as_long_as_no_epoch_was_trained(
    pruned: PrunedYOLO, data_yaml: Path, tmp_path: Path
) -> None:
    def fails(_: Any) -> None:
        raise MemoryError

    pruned.add_callback("on_train_epoch_start", fails)
    with pytest.raises(MemoryError):
        fully_fine_tuned(pruned, data_yaml, SETTINGS | {"batch": 16}, tmp_path / "training")
    pruned.reset_callbacks()
    heard = _Heard()
    fully_fine_tuned(pruned, data_yaml, SETTINGS | {"epochs": 1}, tmp_path / "training", heard)
    assert heard.epochs == ["epoch 1 of 1"]


def test_a_folder_of_other_things_is_left_alone(
    pruned: PrunedYOLO, data_yaml: Path, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ConfigError, match="other files in it"):
        fully_fine_tuned(pruned, data_yaml, SETTINGS, tmp_path)


@pytest.mark.parametrize("name", ["last", "best"])
def test_a_disk_that_fills_up_while_saving_leaves_the_last_epoch_whole(
    name: str,
    pruned: PrunedYOLO,
    data_yaml: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, write = tmp_path / "training", Path.write_bytes
    written: list[Path] = []

    def fills_up(path: Path, content: bytes) -> int:
        if "weights" in path.parts and path.stem.endswith(name):
            written.append(path)
            if len(written) == 2:
                write(path, content[: len(content) // 2])
                raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    # every epoch is the best so far, and the last one is not once it is trained again
    monkeypatch.setattr(KeepShapeTrainer, "validate", _scores(0.1, 0.2))
    monkeypatch.setattr(Path, "write_bytes", fills_up)
    with pytest.raises(OSError, match="No space left"):
        fully_fine_tuned(pruned, data_yaml, SETTINGS, folder)
    monkeypatch.setattr(Path, "write_bytes", write)
    monkeypatch.setattr(KeepShapeTrainer, "validate", _scores(0.05))
    weights, heard = folder / "fine-tune" / "weights", _Heard()
    for file in ("last.pt", "best.pt"):
        assert conv_shapes(load_pruned(weights / file).model) == conv_shapes(pruned.model)
    again = fully_fine_tuned(pruned, data_yaml, SETTINGS, folder, heard)
    assert heard.epochs == ["epoch 2 of 2"]
    assert conv_shapes(again.model) == conv_shapes(pruned.model)


def _scores(*given: float) -> Callable[[Any], tuple[dict[str, float], float]]:
    """A stand-in for validation: fitness by epoch."""
    left = iter(given)

    def validate(trainer: Any) -> tuple[dict[str, float], float]:
        fitness = next(left)
        trainer.best_fitness = max(trainer.best_fitness or 0.0, fitness)
        return {"metrics/mAP50-95(B)": fitness}, fitness

    return validate


def test_what_16_bits_cannot_hold_is_refused_before_hours_of_training(
    pruned: PrunedYOLO, data_yaml: Path, tmp_path: Path
) -> None:
    pruned.model.model[3].bn.bias.data[0] = 1e5
    with pytest.raises(ConfigError, match=r"train: model\.3\.bn\.bias: got .*16 bits"):
        fully_fine_tuned(pruned, data_yaml, SETTINGS, tmp_path / "training")


def test_with_one_class_for_all_no_class_id_is_wrong(
    pruned: PrunedYOLO, data_yaml: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    shutil.copytree(data_yaml.parent, folder)
    yaml = folder / data_yaml.name
    yaml.write_text(dump_yaml({**load_yaml(yaml), "names": ["thing"]}))
    with pytest.raises(ConfigError, match="images are broken"):
        fully_fine_tuned(pruned, yaml, SETTINGS, tmp_path / "a")
    once = {**SETTINGS, "epochs": 1, "single_cls": True}
    tuned = fully_fine_tuned(pruned, yaml, once, tmp_path / "b")
    assert tuned.model.model[-1].nc == 1


def test_more_images_without_labels_than_are_tolerated_stop_it_before_it_begins(
    pruned: PrunedYOLO, data_yaml: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    shutil.copytree(data_yaml.parent, folder)
    next((folder / "labels" / "train").iterdir()).unlink()
    none = Tolerated(unlabelled=0)
    with pytest.raises(ConfigError, match="--allow-unlabelled"):
        fully_fine_tuned(pruned, folder / data_yaml.name, SETTINGS, tmp_path / "a", tolerated=none)
    assert not (tmp_path / "a").exists()


def test_data_of_another_kind_is_refused_and_no_folder_is_left(
    pruned: PrunedYOLO, data_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grey, folder = tmp_path / "grey.yaml", tmp_path / "training"
    content = {**load_yaml(data_yaml), "path": str(data_yaml.parent), "channels": 1}
    grey.write_text(dump_yaml(content))
    with pytest.raises(ConfigError, match="channels: got 1, expected the model's 3"):
        fully_fine_tuned(pruned, grey, SETTINGS, folder)
    assert not folder.exists()

    def refuse(**_: Any) -> None:
        raise ConfigError("something else")

    monkeypatch.setattr(pruned, "train", refuse)
    with pytest.raises(ConfigError, match="something else"):
        fully_fine_tuned(pruned, data_yaml, SETTINGS, folder)
    assert not folder.exists()
    folder.mkdir()
    with pytest.raises(ConfigError, match="something else"):
        fully_fine_tuned(pruned, data_yaml, SETTINGS, folder)
    assert folder.exists()  # it was not ours
