"""PrunedYOLO: a YOLO whose `.train()` keeps the pruned shape."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path
from typing import Any

from torch import nn
from ultralytics import YOLO
from ultralytics.utils.torch_utils import parse_device

from autoprune.errors import AutopruneError, ConfigError
from autoprune.evaluation.branches import is_end_to_end
from autoprune.evaluation.checkpoint import load_yolo, read_checkpoint
from autoprune.evaluation.data_yaml import read_data_yaml, resolved_data_yaml
from autoprune.evaluation.fewer_classes import KeptClasses, classes_of
from autoprune.evaluation.inside.saving import save_checked
from autoprune.evaluation.inside.trainer import KEEP_SHAPE, KeepShapeTrainer, shapes_but_classes
from autoprune.evaluation.inside.validator import VALIDATORS
from autoprune.evaluation.model_task import model_task
from autoprune.evaluation.traces import no_traces
from autoprune.storage.cache import cache_folder

_REMEMBERED = ("imgsz", "data", "single_cls")


class PrunedYOLO(YOLO):
    """Used like any YOLO (`.val()`, `.predict()`, `.export()` ...); `.train()` keeps the shape."""

    model: Any  # ultralytics.nn.tasks.DetectionModel, or a subclass of it for its task
    how_pruned: str = ""  # the criterion and images that chose the channels, where known
    how_saved: str = ""  # by the last `save`, where that is not plain half precision
    notes: tuple[str, ...] = ()  # what the user has to know about the images looked at

    @property
    def kept_classes(self) -> KeptClasses | None:
        """Of the model it was made of; None: all."""
        return classes_of(self.model)

    @property
    def task_map(self) -> dict[str, dict[str, Any]]:
        """Ultralytics' table of classes per task, with the trainer that keeps the shape."""
        stock: dict[str, dict[str, Any]] = super().task_map
        own = {task: {**stock[task], "trainer": trainer} for task, trainer in KEEP_SHAPE.items()}
        return {**stock, **own}

    @no_traces(silent=False)
    def train(self, trainer: type | None = None, **kwargs: Any) -> Any:
        """Train as `YOLO.train` does, never changing a width.

        A data set with other classes replaces the last layer of the classification towers; one
        with all classes of which the model kept some counts as if it had those alone.
        The process is left as `no_traces` says.

        Args:
            trainer: A subclass of the task's trainer in KEEP_SHAPE, if yours does more.
            **kwargs: Ultralytics' training settings: `data`, `epochs`, `imgsz`, `resume` ...

        Returns:
            Ultralytics' training metrics.

        Raises:
            ConfigError: A setting that would train another network than this one.
        """
        stock = KEEP_SHAPE[model_task(self.model).name]
        trainer = trainer or stock
        if not issubclass(trainer, stock):
            raise ConfigError.of("train", "trainer", trainer.__name__, f"a {stock.__name__}")
        self._refuse_other_networks(kwargs)
        if is_end_to_end(self.model):
            kwargs.setdefault("nms", False)  # else Ultralytics scores the other branch
        kwargs |= self._of_kept_classes(kwargs)
        own: nn.Module = self.model
        expected = shapes_but_classes(own)

        def same_network(running: KeepShapeTrainer) -> None:
            model: Any = running.model
            student: nn.Module = getattr(model, "student_model", model)
            if running.world_size <= 1 and shapes_but_classes(student) != expected:
                raise AutopruneError("train: another network than this pruned model was loaded")

        event = "on_pretrain_routine_end"
        self.callbacks[event] = [*self.callbacks[event], same_network]
        try:
            return super().train(trainer=trainer, **kwargs)
        except AutopruneError:
            self.model = own  # Ultralytics already put the other network there
            raise
        finally:
            self.callbacks[event] = [
                one for one in self.callbacks[event] if one is not same_network
            ]

    @no_traces(silent=False)
    def val(self, validator: type | None = None, **kwargs: Any) -> Any:
        """Validate as `YOLO.val` does; data with all classes as `train` takes them.

        Returns:
            Ultralytics' metrics.
        """
        narrowed = self._of_kept_classes(kwargs)
        if narrowed and validator is None:  # the stock one reads all labels
            validator = VALIDATORS[model_task(self.model).name][0]
        return super().val(validator=validator, **{**kwargs, **narrowed})

    def _of_kept_classes(self, settings: dict[str, Any]) -> dict[str, str]:
        """The setting `data`, where those are the whole model's: a YAML of the kept classes."""
        kept, data = self.kept_classes, settings.get("data")
        if kept is None or not isinstance(data, (str, Path)) or not Path(data).is_file():
            return {}
        names = read_data_yaml(data).names
        if not kept.are_among(names):
            return {}
        ids = kept.in_data(names, str(data))
        name = hashlib.sha256(f"{Path(data).resolve()} {ids}".encode()).hexdigest()[:16]
        return {"data": str(resolved_data_yaml(data, cache_folder() / "classes" / name, ids))}

    @no_traces(silent=False)
    def save(self, filename: str | Path = "saved_model.pt") -> None:
        """Write the model; the file is loaded and run before it is called written.

        Half precision is what Ultralytics stores. Channels that it cannot hold are rescaled, or
        the file is in float32: then `how_saved` says so.

        Raises:
            AutopruneError: No file answers as the model does; an earlier file stays as it was.
        """
        self.how_saved = save_checked(self.model, Path(filename), self._write)

    def _write(self, module: nn.Module, path: Path) -> None:
        own = self.model
        try:
            self.model = module
            super().save(path)
        finally:
            self.model = own

    def tune(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse: Ultralytics tunes in child processes that rebuild the network from its recipe.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError("tune: not available for a pruned model: it would train the dense one")

    def _refuse_other_networks(self, settings: dict[str, Any]) -> None:
        pretrained = settings.get("pretrained", self.overrides.get("pretrained", True))
        if pretrained is not True:
            raise ConfigError.of("train", "pretrained", pretrained, "True: the pruned weights")
        if "model" in settings:
            raise ConfigError.of("train", "model", settings["model"], "no model: it is this one")
        if isinstance(settings.get("data"), (list, tuple)):
            raise ConfigError.of("train", "data", settings["data"], "one data YAML")
        resume = settings.get("resume")
        if isinstance(resume, (str, Path)):
            content = read_checkpoint(resume)
            module: nn.Module = content.get("ema") or content["model"]
            if shapes_but_classes(module) != shapes_but_classes(self.model):
                raise ConfigError.of("train", "resume", str(resume), "a training of this model")
        device = settings.get("device", self.overrides.get("device"))
        if "," in str(parse_device(device) if device is not None else ""):
            self._require_own_file()

    def _require_own_file(self) -> None:
        """Several GPUs train in child processes, which may open the model by its file name."""
        file = str(self.overrides.get("model"))
        same = Path(file).is_file() and file.endswith(".pt")
        if same:
            same = shapes_but_classes(load_yolo(file).model) == shapes_but_classes(self.model)
        if not same:
            raise ConfigError(
                "train: device: got several GPUs for a pruned model that is not in a file, "
                "expected one GPU, or model.save('FILE.pt') and autoprune.load('FILE.pt') first"
            )


def as_pruned_yolo(module: nn.Module, like: YOLO) -> PrunedYOLO:
    """Wrap a pruned DetectionModel as a YOLO.

    Args:
        module: The pruned model; it becomes the result's `.model`, not a copy.
        like: The YOLO it came from; image size and the like are taken over, its weights,
            results and training state are not.

    Returns:
        A YOLO of its own; export writes next to the original as `<name>-pruned.*`.
    """
    pruned = PrunedYOLO(like)  # shares every attribute with `like` ...
    pruned.__dict__ = dict(like.__dict__)  # ... until it gets its own
    source = Path(str(like.ckpt_path or like.cfg or like.overrides.get("model") or "model"))
    stem = source.stem if source.stem.endswith("-pruned") else f"{source.stem}-pruned"
    folder = source.parent if like.ckpt_path else Path()
    remembered = {key: like.overrides[key] for key in _REMEMBERED if key in like.overrides}
    pruned._modules = {"model": module}
    pruned.callbacks = defaultdict(
        list, {event: [*calls] for event, calls in like.callbacks.items()}
    )
    task = model_task(module).name
    pruned.overrides = {**remembered, "task": task, "model": str(folder / f"{stem}.pt")}
    # a checkpoint that is not empty tells Ultralytics to train `model` itself, not its recipe
    pruned.ckpt = {"model": module, "train_args": {**remembered, "task": task}}
    pruned.ckpt_path = pruned.cfg = pruned.predictor = pruned.trainer = pruned.metrics = None
    pruned.model_name = pruned.overrides["model"]
    described: Any = module
    old_args = getattr(module, "args", None)
    described.args = {**(old_args if isinstance(old_args, dict) else {}), **pruned.overrides}
    described.task = task
    described.pt_path = pruned.overrides["model"]
    return pruned


def load_pruned(path: Path | str, *, trust: bool = False) -> PrunedYOLO:
    """Open a saved pruned model, or a checkpoint of its training, so that training keeps its shape.

    Raises:
        ConfigError: As `load_yolo`.
        UnsupportedModel: As `load_yolo`.
    """
    return PrunedYOLO(load_yolo(path, trust=trust))
