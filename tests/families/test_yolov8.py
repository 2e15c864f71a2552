"""The family reads indices and widths off any YOLOv8 graph, and refuses what it does not know."""

from __future__ import annotations

import copy

import pytest
from torch import nn
from ultralytics.nn.tasks import DetectionModel, OBBModel, PoseModel, SegmentationModel, WorldModel

from autoprune.errors import UnsupportedModel
from autoprune.families import family_of
from tests.pruning.architectures import TABLES, TOWERS
from tests.pruning.networks import stock


@pytest.mark.parametrize("name", sorted(TABLES))
def test_indices_and_widths_are_those_of_the_stock_model(name: str) -> None:
    model = stock(name)
    family = family_of(model)
    expected: dict[int, tuple[int, ...]] = {}
    for index, row in enumerate(TABLES[name]):
        if row[0] == "Detect":
            expected[index] = TOWERS[name]
        else:
            expected[index] = () if row[0] in ("Upsample", "Concat") else (row[2],)
    assert family.widths(model) == expected


@pytest.mark.parametrize(
    ("build", "yaml", "named"),
    [
        (DetectionModel, "yolo11n.yaml", "C3k2"),
        (DetectionModel, "yolov8n-ghost.yaml", "Ghost"),
        (DetectionModel, "yolov10n.yaml", "SCDown|PSA|v10Detect|CIB"),
        (SegmentationModel, "yolov8n-seg.yaml", "Segment"),
        (PoseModel, "yolov8n-pose.yaml", "Pose"),
        (OBBModel, "yolov8n-obb.yaml", "OBB"),
        (WorldModel, "yolov8s-world.yaml", "C2fAttn|WorldDetect"),
    ],
)
def test_a_model_with_a_layer_no_family_knows_is_refused_by_the_layers_name(
    build: type[nn.Module], yaml: str, named: str
) -> None:
    model = build(yaml, verbose=False)
    with pytest.raises(UnsupportedModel, match=named):
        family_of(model).channel_groups(model)


def test_a_grouped_conv_is_refused() -> None:
    model = copy.deepcopy(stock("yolov8n"))
    conv = model.model[3].conv
    model.model[3].conv = nn.Conv2d(conv.in_channels, conv.out_channels, 3, 2, 1, groups=2)
    with pytest.raises(UnsupportedModel, match="3"):
        family_of(model).channel_groups(model)


def test_a_branch_that_nothing_reads_is_refused() -> None:
    recipe = DetectionModel("yolov8n.yaml", verbose=False).yaml
    recipe["head"][-1][0] = [15, 18]  # the large objects' branch stays without a reader
    loose = DetectionModel(recipe, verbose=False)
    with pytest.raises(UnsupportedModel, match=r"model\.21: no layer reads its output"):
        family_of(loose).channel_groups(loose)
