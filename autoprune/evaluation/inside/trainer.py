"""KeepShapeTrainer: Ultralytics' trainer of a task, except that the network keeps its widths."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.models.yolo.obb import OBBTrainer
from ultralytics.models.yolo.pose import PoseTrainer
from ultralytics.models.yolo.segment import SegmentationTrainer
from ultralytics.nn.tasks import load_checkpoint
from ultralytics.utils import RANK
from ultralytics.utils.torch_utils import unwrap_model

from autoprune.errors import AutopruneError, ConfigError
from autoprune.evaluation.class_head import class_layers, fit_classes
from autoprune.evaluation.half_precision import rescaled_to_half, too_large
from autoprune.evaluation.inside.own_labels import own_labels
from autoprune.evaluation.model_task import check_keypoints

Shapes = dict[str, tuple[int, ...]]


def conv_shapes(module: nn.Module) -> Shapes:
    """Weight shape of every convolution, by module name."""
    return {
        name: tuple(part.weight.shape)
        for name, part in module.named_modules()
        if isinstance(part, nn.Conv2d)
    }


def shapes_but_classes(module: nn.Module) -> Shapes:
    """`conv_shapes` without the convolutions that have one output per class."""
    layers: Any = module.model
    last = {layer[-1] for layer in class_layers(layers[-1])}
    of_classes = {name for name, part in module.named_modules() if part in last}
    return {name: shape for name, shape in conv_shapes(module).items() if name not in of_classes}


class KeepShapeTrainer(DetectionTrainer):
    """Trains the module it is given; the stock trainer rebuilds it from its YAML, unpruned.

    Of detection; the other tasks' are below, in `KEEP_SHAPE`.
    """

    last: Path
    best: Path
    writes_files = True  # last.pt and best.pt
    evaluating = False  # training is over, its best model is being validated

    def get_model(
        self, cfg: Any = None, weights: nn.Module | None = None, verbose: bool = True
    ) -> nn.Module:
        """Return a copy of `weights` with every width kept, fitted to the data's classes.

        Raises:
            ConfigError: There are no weights to keep the shape of, or they cannot be trained.
        """
        del cfg, verbose  # the recipe describes the dense network
        if weights is None:
            raise ConfigError.of(
                "train", "pretrained", False, "True: only its weights know a pruned model's shape"
            )
        model: Any = rescaled_to_half(copy.deepcopy(weights).float())  # files are in half precision
        if self.writes_files and (name := too_large(model)) is not None:
            raise ConfigError.of("train", name, "numbers above 65504", "what 16 bits can hold")
        if model.is_fused():
            raise ConfigError("train: got a fused model, expected one with its BatchNorm layers")
        channels = model.yaml.get("channels", 3)
        if self.data["channels"] != channels:
            raise ConfigError.of(
                str(self.args.data), "channels", self.data["channels"], f"the model's {channels}"
            )
        keypoints = self.data.get("kpt_shape")
        check_keypoints(model, keypoints and tuple(keypoints), str(self.args.data))
        model.criterion = None  # built for the settings and classes of an earlier training
        if hasattr(model, "class_weights"):
            del model.class_weights
        fit_classes(model, self.data["names"], by_name=bool(self.args.cls_remap))
        self.expected_shapes: Shapes = conv_shapes(model)
        return model  # type: ignore[no-any-return]

    def build_dataset(self, *args: Any, **kwargs: Any) -> Any:
        """As Ultralytics does, with our reader of labels."""
        with own_labels():
            return super().build_dataset(*args, **kwargs)

    def save_model(self) -> bool:
        """Save as usual, but a kill leaves the old files or the new ones, none half written."""
        with self._drafts():
            return bool(super().save_model())

    def final_eval(self) -> None:
        """Evaluate as usual, then prove that memory and files hold the shapes training began with.

        Raises:
            AutopruneError: A shape changed.
        """
        self.evaluating = True
        if RANK == -1:  # the files lose their optimizer: in copies, in case of a kill meanwhile
            with self._drafts(copied=True):
                super().final_eval()
        else:
            super().final_eval()
        if RANK in {-1, 0}:
            self.check_shapes(unwrap_model(self.ema.ema), "the trained model")
            for file in (self.last, self.best):
                if Path(file).exists():
                    self.check_shapes(load_checkpoint(file)[0], str(file))

    @contextmanager
    def _drafts(self, *, copied: bool = False) -> Iterator[None]:
        """Let Ultralytics write drafts; they replace last.pt and best.pt once all are whole."""
        files = last, best = self.last, self.best
        drafts = last.with_name("draft-last.pt"), best.with_name("draft-best.pt")
        for file, draft in zip(files, drafts, strict=True):
            draft.unlink(missing_ok=True)
            if copied and file.exists():
                shutil.copyfile(file, draft)
        self.last, self.best = drafts
        try:
            yield
        finally:
            self.last, self.best = files
        for file, draft in zip(files, drafts, strict=True):
            if draft.exists():
                draft.replace(file)

    def check_shapes(self, module: nn.Module, what: str) -> None:
        """Compare with the shapes training began with.

        Raises:
            AutopruneError: They differ.
        """
        student = getattr(module, "student_model", module)
        # a DDP worker receives the module ready made and never asks get_model
        expected = getattr(self, "expected_shapes", None)
        if expected is not None and conv_shapes(student) != expected:
            raise AutopruneError(f"training changed the pruned shape of {what}")


class KeepShapeSegmentationTrainer(KeepShapeTrainer, SegmentationTrainer):
    """Of instance segmentation."""


class KeepShapePoseTrainer(KeepShapeTrainer, PoseTrainer):
    """Of keypoints."""


class KeepShapeOBBTrainer(KeepShapeTrainer, OBBTrainer):
    """Of rotated boxes."""


KEEP_SHAPE: dict[str, type[KeepShapeTrainer]] = {
    "detect": KeepShapeTrainer,
    "segment": KeepShapeSegmentationTrainer,
    "pose": KeepShapePoseTrainer,
    "obb": KeepShapeOBBTrainer,
}
