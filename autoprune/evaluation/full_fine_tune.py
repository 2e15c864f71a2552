"""A fine-tune at full length; interrupted, it goes on after the last finished epoch."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from autoprune.domain.config import BY_DEFAULT, Tolerated
from autoprune.domain.schema import load_json, save_json
from autoprune.domain.task import TASKS
from autoprune.errors import ConfigError, UnsupportedModel
from autoprune.evaluation.checkpoint import model_hash, read_checkpoint
from autoprune.evaluation.data_yaml import read_data_yaml, resolved_data_yaml
from autoprune.evaluation.fine_tune_settings import check_freeze, full_train_args
from autoprune.evaluation.images import check_channels
from autoprune.evaluation.inside.loading import is_finished_training, without_optimizer
from autoprune.evaluation.inside.pruned_yolo import PrunedYOLO, load_pruned
from autoprune.evaluation.look_through import look_through
from autoprune.evaluation.model_task import check_keypoints, model_task
from autoprune.evaluation.regrowth_guard import sealed_info
from autoprune.storage.locks import Held, alone

Say = Callable[[str], None]

_RUN = "fine-tune"
_OF_THE_MACHINE = ("device", "workers")  # may differ when a training goes on


def fully_fine_tuned(
    model: PrunedYOLO,
    data: Path | str,
    settings: Mapping[str, Any],
    folder: Path,
    say: Say = lambda _: None,
    tolerated: Tolerated = BY_DEFAULT,
) -> PrunedYOLO:
    """Train at full length, or go on with the same training begun in `folder`.

    Args:
        model: The pruned model, untrained.
        data: Data YAML.
        settings: Ultralytics' training settings.
        folder: Receives Ultralytics' run; the caller removes it once the result is safe.
        say: Told whether it goes on, and after each epoch how far it is and its main metric on val.
        tolerated: How many images may be broken, and left out, or without labels.

    Returns:
        The trained model, Ultralytics' best by fitness on val.

    Raises:
        ConfigError: A wrong setting, or data of another model; `folder` holds another training, or
            one that is running. A folder that was not there before is removed again.
    """
    arguments = full_train_args(settings)
    check_freeze(arguments.get("freeze"), len(model.model.model))
    any_class = bool(arguments.get("single_cls"))
    described, new = read_data_yaml(data), not folder.exists()
    check_channels(model.model, described.channels, str(described.path))
    check_keypoints(model.model, described.kpt_shape, str(described.path))
    known = model.kept_classes
    kept = known.in_data(described.names, str(described.path)) if known else None
    layout = described.layout(model_task(model.model).name, kept)
    looked = look_through(described, tolerated, layout, any_class=any_class)
    for note in looked.notes():
        say(f"Note: {note}.")
    try:
        with alone(folder / ".lock", timeout_s=0):
            return _trained(model, data, kept, arguments, folder, say)
    except ConfigError:
        if new:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    except Held:
        raise ConfigError(f"{folder}: another process is training there") from None


def _trained(
    model: PrunedYOLO,
    data: Path | str,
    kept: tuple[int, ...] | None,
    arguments: dict[str, Any],
    folder: Path,
    say: Say,
) -> PrunedYOLO:
    last = folder / _RUN / "weights" / "last.pt"
    request = _request(model, data, arguments)
    _keep_or_compare(folder, request, begun=last.exists())
    if last.exists():
        say(f"Going on with the fine-tune that was interrupted: {folder}")
        if _is_finished(last, folder):
            return _result(last, folder)
        machine = {key: arguments[key] for key in _OF_THE_MACHINE if key in arguments}
        model, more = load_pruned(last), {"resume": True, **machine}
    else:
        more = arguments
    model.add_callback("on_fit_epoch_end", _AfterEpoch(say))
    resolved = str(resolved_data_yaml(data, folder, kept))
    model.train(**{**more, "data": resolved, "save_dir": str((folder / _RUN).resolve())})
    return model


class _AfterEpoch:
    """Says after each epoch how far a training is."""

    def __init__(self, say: Say) -> None:
        self.say, self.began, self.seen = say, time.monotonic(), 0

    def __call__(self, trainer: Any) -> None:
        if trainer.evaluating or not trainer.metrics:  # other GPUs' processes have no metrics
            return
        self.seen += 1
        task = TASKS[trainer.args.task]
        score = trainer.metrics.get(task.column, 0.0)
        shown = f": {task.metric} {score:.3f} on val" if trainer.fitness is not None else ""
        left_s = (time.monotonic() - self.began) / self.seen * (trainer.epochs - trainer.epoch - 1)
        left = f", about {left_s / 60:.0f} min left" if left_s >= 60 else ""
        self.say(f"epoch {trainer.epoch + 1} of {trainer.epochs}{shown}{left}")


def _request(model: PrunedYOLO, data: Path | str, arguments: dict[str, Any]) -> dict[str, Any]:
    """What must be the same for a training to go on."""
    known = sealed_info(model.model) or {"weights": model_hash(model.model)}
    kept = {key: value for key, value in arguments.items() if key not in _OF_THE_MACHINE}
    read = read_data_yaml(data)
    images = {split: len(files) for split, files in read.splits.items()}
    about = {"data": str(read.path), "classes": read.names, "images": images}
    plain: dict[str, Any] = json.loads(json.dumps({"model": known, **about, **kept}, default=str))
    return plain


def _keep_or_compare(folder: Path, request: dict[str, Any], *, begun: bool) -> None:
    path = folder / "request.json"
    if not path.exists() and any(file.name != ".lock" for file in folder.iterdir()):
        raise ConfigError(
            f"{folder}: got a folder with other files in it, expected a new or empty one"
        )
    if not begun:
        save_json("request.json", path, request)
        return
    before = load_json("request.json", path)
    if before != request:
        changed = [key for key in {**before, **request} if before.get(key) != request.get(key)]
        shown = "; ".join(
            key if key == "model" else f"{key}: {before.get(key)} -> {request.get(key)}"
            for key in changed
        )
        raise ConfigError(
            f"{folder}: holds an interrupted fine-tune with other settings ({shown}),"
            " expected the same ones; remove it to begin anew"
        )


def _is_finished(last: Path, folder: Path) -> bool:
    """Whether its last epoch was trained; the optimizer is dropped after that.

    Raises:
        ConfigError: It holds a teacher too, as it does until the end.
    """
    try:
        content = read_checkpoint(last)
    except UnsupportedModel as reason:
        raise ConfigError(
            f"{folder}: a fine-tune with distill_model cannot go on; remove it"
        ) from reason
    return is_finished_training(content)


def _result(last: Path, folder: Path) -> PrunedYOLO:
    best = last.with_name("best.pt")
    result = folder / "result.pt"
    without_optimizer(best if best.exists() else last, result)
    return load_pruned(result)
