from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionTrainer

from autoprune.demo.shapes import CLASS_NAMES
from autoprune.errors import AutopruneError, ConfigError
from autoprune.evaluation.checkpoint import load_yolo, model_hash
from autoprune.evaluation.inside.pruned_yolo import PrunedYOLO, as_pruned_yolo, load_pruned
from autoprune.evaluation.inside.trainer import conv_shapes, shapes_but_classes
from autoprune.evaluation.regrowth_guard import is_sealed
from autoprune.storage.yaml_io import dump_yaml, load_yaml
from tests.evaluation.conftest import KEPT, narrow, stem_width


@pytest.fixture
def short(data_yaml: Path, tmp_path: Path) -> dict[str, Any]:
    """Training settings of a second or two."""
    return {
        "data": str(data_yaml),
        "epochs": 1,
        "imgsz": 64,
        "batch": 8,
        "workers": 0,
        "device": "cpu",
        "plots": False,
        "mosaic": 0.0,
        "optimizer": "SGD",
        "lr0": 0.001,
        "project": str(tmp_path / "runs"),
    }


def test_stock_training_really_regrows_an_unsealed_model(
    dense: YOLO, short: dict[str, Any], tmp_path: Path
) -> None:
    narrow(dense.model)
    dense.save(tmp_path / "unsealed.pt")
    stock = YOLO(tmp_path / "unsealed.pt")
    stock.train(**short)
    assert stem_width(stock.model) == 16, "if this fails, Ultralytics learned to keep shapes"


def test_training_keeps_the_shape_in_memory_in_files_and_when_trained_again(
    pruned: PrunedYOLO, short: dict[str, Any], tmp_path: Path
) -> None:
    shapes = conv_shapes(pruned.model)
    before = model_hash(pruned.model)
    pruned.train(**short)
    assert conv_shapes(pruned.model) == shapes
    assert model_hash(pruned.model) != before
    files = sorted((tmp_path / "runs").rglob("*.pt"))
    assert [file.name for file in files] == ["best.pt", "last.pt"]
    for file in files:
        assert conv_shapes(YOLO(file).model) == shapes
        assert is_sealed(load_pruned(file).model)
    pruned.train(**short)
    assert conv_shapes(pruned.model) == shapes
    pruned.save(tmp_path / "again.pt")
    assert conv_shapes(load_pruned(tmp_path / "again.pt").model) == shapes


def test_the_module_given_is_not_changed_by_training(
    dense: YOLO, pruned_module: nn.Module, short: dict[str, Any]
) -> None:
    before = model_hash(pruned_module)
    as_pruned_yolo(pruned_module, dense).train(**short)
    assert model_hash(pruned_module) == before


def test_wrapping_leaves_the_original_yolo_alone(dense: YOLO, pruned_module: nn.Module) -> None:
    dense.overrides["imgsz"] = 96
    before = (dense.model, dict(dense.overrides), dense.ckpt)
    pruned = as_pruned_yolo(pruned_module, dense)
    pruned.overrides["imgsz"] = 32
    assert (dense.model, dict(dense.overrides), dense.ckpt) == before
    assert stem_width(dense.model) == 16
    assert pruned.predict(np.zeros((32, 32, 3), np.uint8), verbose=False)[0].names == pruned.names


def test_an_interrupted_training_resumes_with_the_same_shape(
    pruned: PrunedYOLO, short: dict[str, Any], tmp_path: Path
) -> None:
    shapes = conv_shapes(pruned.model)

    def interrupt(trainer: Any) -> None:
        if trainer.epoch == 1:
            raise KeyboardInterrupt

    pruned.add_callback("on_train_epoch_start", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pruned.train(**short | {"epochs": 2})
    last = next((tmp_path / "runs").rglob("last.pt"))
    with pytest.raises(KeyError, match=r"autoprune\.load"):
        YOLO(last).train(resume=True)
    seen = []
    resumed = load_pruned(last)
    resumed.add_callback("on_train_epoch_end", lambda trainer: seen.append(trainer.epoch))
    resumed.train(resume=True)
    assert seen == [1]
    assert conv_shapes(resumed.model) == shapes


def test_resuming_from_a_file_of_another_network_is_refused(
    pruned: PrunedYOLO, dense: YOLO, short: dict[str, Any], tmp_path: Path
) -> None:
    dense.save(tmp_path / "dense.pt")
    with pytest.raises(ConfigError, match="resume"):
        pruned.train(**short, resume=str(tmp_path / "dense.pt"))


def test_data_of_other_classes_changes_only_the_class_outputs_and_keeps_known_rows(
    pruned: PrunedYOLO, short: dict[str, Any], data_yaml: Path
) -> None:
    shapes = shapes_but_classes(pruned.model)
    old_head = copy.deepcopy(pruned.model.model[-1])
    names = ["thing", *reversed(CLASS_NAMES), "other"]
    content = load_yaml(data_yaml) | {"path": str(data_yaml.parent), "names": names}
    other = data_yaml.parent / "more-classes.yaml"
    other.write_text(dump_yaml(content))
    started: list[nn.Module] = []
    pruned.add_callback(
        "on_pretrain_routine_end", lambda trainer: started.append(copy.deepcopy(trainer.model))
    )
    pruned.train(**short | {"data": str(other)})
    head = started[0].model[-1]
    for level, tower in enumerate(head.cv3):
        old, new = old_head.cv3[level][-1], tower[-1]
        for row, name in enumerate(CLASS_NAMES):
            moved = names.index(name)
            assert torch.equal(new.weight[moved], old.weight[row])
            assert torch.equal(new.bias[moved], old.bias[row])
        assert new.bias[0] == new.bias[-1] < 0
    model = pruned.model
    assert shapes_but_classes(model) == shapes
    assert model.model[-1].nc == model.yaml["nc"] == len(model.names) == len(names)
    assert model.model[-1].no == len(names) + 64
    image = torch.rand(1, 3, 64, 64)
    assert model(image)[0].shape[1] == 4 + len(names)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pretrained": False}, "pretrained"),
        ({"pretrained": "yolov8n.pt"}, "pretrained"),
        ({"model": "yolov8n.yaml"}, "model"),
        ({"trainer": DetectionTrainer}, "trainer"),
        ({"device": "0,1"}, "several GPUs"),
        ({"device": [0, 1]}, "several GPUs"),
    ],
)
def test_settings_that_would_train_the_dense_network_are_refused(
    settings: dict[str, Any], message: str, pruned: PrunedYOLO, short: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        pruned.train(**short | settings)
    assert "\n" not in str(caught.value)


def test_resetting_the_weights_and_training_is_refused_instead_of_regrowing(
    pruned: PrunedYOLO, short: dict[str, Any]
) -> None:
    pruned.reset_weights()
    with pytest.raises(ConfigError, match="pretrained"):
        pruned.train(**short)


def test_a_fused_model_cannot_be_trained(pruned: PrunedYOLO, short: dict[str, Any]) -> None:
    pruned.fuse()
    with pytest.raises(ConfigError, match="fused"):
        pruned.train(**short)


def test_a_configuration_file_cannot_bring_in_another_network(
    pruned: PrunedYOLO, dense: YOLO, short: dict[str, Any], tmp_path: Path
) -> None:
    dense.save(tmp_path / "dense.pt")
    cfg = tmp_path / "cfg.yaml"
    cfg.write_text(dump_yaml({"pretrained": str(tmp_path / "dense.pt")}))
    with pytest.raises(AutopruneError):
        pruned.train(**short, cfg=str(cfg))
    assert stem_width(pruned.model) == KEPT


def test_tuning_is_refused(pruned: PrunedYOLO) -> None:
    with pytest.raises(ConfigError, match="tune"):
        pruned.tune()


def test_several_gpus_may_train_a_file_that_is_this_very_model(
    pruned: PrunedYOLO, tmp_path: Path
) -> None:
    pruned.save(tmp_path / "pruned.pt")
    load_pruned(tmp_path / "pruned.pt")._refuse_other_networks({"device": "0,1"})


# Ultralytics exports through torch's tracer, which torch deprecates
@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_export_does_not_overwrite_the_dense_models_file(
    dense: YOLO, pruned_module: nn.Module, tmp_path: Path
) -> None:
    dense.save(tmp_path / "best.pt")
    pruned = as_pruned_yolo(pruned_module, load_yolo(tmp_path / "best.pt"))
    exported = Path(pruned.export(format="torchscript", imgsz=64))
    assert exported.parent == tmp_path
    assert exported.stem == "best-pruned"
