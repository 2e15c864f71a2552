"""Small pruned-like models, made by hand, and a small generated data set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from autoprune.evaluation.quiet import prepare_environment

prepare_environment()  # before anything imports ultralytics

import torch  # noqa: E402
from torch import nn  # noqa: E402
from ultralytics import YOLO  # noqa: E402

from autoprune.demo.dataset import Split, write_detection_set  # noqa: E402
from autoprune.demo.shapes import CLASS_NAMES  # noqa: E402
from autoprune.evaluation.dataset import DataSummary, inspect_data  # noqa: E402
from autoprune.evaluation.inside.pruned_yolo import PrunedYOLO, as_pruned_yolo  # noqa: E402
from autoprune.evaluation.regrowth_guard import seal  # noqa: E402

KEPT = 11  # of the 16 channels of yolov8n's first layer


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """These nets are tiny: more threads cost more than they bring, above all on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr("autoprune.evaluation.device.count_idle_cores", lambda: 1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def data_yaml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "set"
    return write_detection_set(folder, {"train": Split(1, 16), "val": Split(2, 8)})


@pytest.fixture(scope="session")
def data(data_yaml: Path) -> DataSummary:
    return inspect_data(data_yaml)


@pytest.fixture(scope="session")
def _dense_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """yolov8n for the generated set's classes, but for its first layer half as wide: as quick."""
    from ultralytics.nn.tasks import yaml_model_load

    narrow = {"nc": len(CLASS_NAMES), "scales": {"n": [0.33, 0.125, 512]}}
    recipe = yaml_model_load("yolov8n.yaml") | narrow
    recipe["backbone"][0][3][0] *= 2
    from autoprune.storage.yaml_io import dump_yaml, write_atomic

    path = tmp_path_factory.mktemp("recipe") / "yolov8n-shapes.yaml"
    write_atomic(path, dump_yaml(recipe))
    return path


@pytest.fixture
def dense(_dense_recipe: Path) -> YOLO:
    torch.manual_seed(0)
    yolo = YOLO(str(_dense_recipe), task="detect")
    yolo.model.names = dict(enumerate(CLASS_NAMES))
    return yolo


@pytest.fixture
def pruned_module(dense: YOLO) -> nn.Module:
    """A sealed model whose first layer lost 5 of its 16 channels; `dense` is untouched."""
    from copy import deepcopy

    module = deepcopy(dense.model)
    narrow(module)
    seal(module, {"base": "0123456789abcdef"})
    return module


@pytest.fixture
def pruned(dense: YOLO, pruned_module: nn.Module) -> PrunedYOLO:
    return as_pruned_yolo(pruned_module, dense)


def narrow(module: nn.Module, kept: int = KEPT) -> None:
    """Cut the first layer to `kept` channels, and what reads them."""
    stem, reader = module.model[0], module.model[1]
    stem.conv.weight = nn.Parameter(stem.conv.weight[:kept].clone())
    stem.conv.out_channels = stem.bn.num_features = kept
    for name in ("weight", "bias"):
        setattr(stem.bn, name, nn.Parameter(getattr(stem.bn, name)[:kept].clone()))
    for name in ("running_mean", "running_var"):
        setattr(stem.bn, name, getattr(stem.bn, name)[:kept].clone())
    reader.conv.weight = nn.Parameter(reader.conv.weight[:, :kept].clone())
    reader.conv.in_channels = kept


def stem_width(model: nn.Module) -> int:
    """Channels of the first layer of a DetectionModel."""
    return model.model[0].conv.weight.shape[0]
