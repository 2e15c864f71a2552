"""What stays in float, and what images an INT8 file sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from autoprune.errors import ConfigError
from autoprune.latency.quantizing import Quantizing, head_ends, kept_in_float
from autoprune.latency.runtimes import Runtime
from tests.pruning.networks import stock


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n", "yolov8n-seg"])
def test_the_ends_of_a_head_are_its_bare_convolutions(name: str) -> None:
    ends = head_ends(stock(name, 2))
    index = {end.split(".")[1] for end in ends}
    towers = ["cv2", "cv3", *(["cv4"] if name.endswith("seg") else [])]
    wanted = {f"{tower}.{level}.2" for tower in towers for level in range(3)}
    assert len(index) == 1
    assert {end.split(".", 2)[2] for end in ends} == wanted | {"dfl.conv"}


def test_what_follows_them_stays_in_float_and_nothing_else(tmp_path: Path) -> None:
    """Two convolutions in a row; beside the second, a third one whose output joins it."""

    def conv(number: int, given: str) -> onnx.NodeProto:
        names = [given, f"layer.{number}.conv.weight"]
        return helper.make_node("Conv", names, [f"map{number}"], name=f"conv{number}")

    nodes = [
        conv(0, "images"),
        conv(1, "map0"),
        helper.make_node("Sigmoid", ["map1"], ["scores"], name="sigmoid"),
        conv(2, "map0"),
        helper.make_node("Add", ["scores", "map2"], ["out"], name="add"),
    ]
    weights = [
        helper.make_tensor(f"layer.{n}.conv.weight", TensorProto.FLOAT, [1, 1, 1, 1], [1.0])
        for n in range(3)
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 4, 4])
        for name in ("images", "out")
    ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    assert kept_in_float(tmp_path / "m.onnx", ["layer.1.conv"]) == ("conv1", "sigmoid", "add")
    assert kept_in_float(tmp_path / "m.onnx", []) == ()


def test_without_images_there_is_noise_the_same_each_time() -> None:
    first, again = (list(Quantizing().pictures((1, 3, 8, 8))) for _ in range(2))
    assert all(each.shape == (1, 3, 8, 8) and each.dtype == np.float32 for each in first)
    assert np.array_equal(first, again)
    (own,) = Quantizing(images=[first[1]]).pictures((1, 3, 8, 8))
    assert own is first[1]


def test_what_writes_a_runtimes_files_and_is_not_here_is_named() -> None:
    row = Runtime("fast", "Fast.", (), ".fast", (), "cpu", makers=("no_such_maker",), extra="fast")
    said = r"--runtime fast: no_such_maker is not .* pip install \"autoprune\[fast\]\""
    with pytest.raises(ConfigError, match=said) as caught:
        row.refuse_without_makers()
    assert "\n" not in str(caught.value)
