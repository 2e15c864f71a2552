"""local_answers: a file's outputs from a process of its own; what goes wrong there is one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest

from autoprune.errors import ConfigError, TrialFailed
from autoprune.latency import answers as module
from autoprune.latency.answers import local_answers
from autoprune.latency.exported_model import ExportedModel
from autoprune.latency.options import RuntimeOptions
from tests.latency.processes import is_gone

SIZE = (4, 6)
OPTIONS = RuntimeOptions(runtime="onnxruntime", imgsz=SIZE)


@pytest.fixture
def doubled(tmp_path: Path) -> ExportedModel:
    """Two outputs: the image twice over, and minus the image."""
    shape = [1, 3, *SIZE]
    image, twice, minus = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name in ("images", "twice", "minus")
    )
    nodes = [
        onnx.helper.make_node("Add", ["images", "images"], ["twice"]),
        onnx.helper.make_node("Neg", ["images"], ["minus"]),
    ]
    graph = onnx.helper.make_graph(nodes, "doubled", [image], [twice, minus])
    opset = [onnx.helper.make_opsetid("", 18)]
    path = tmp_path / "doubled.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return ExportedModel.of_file(path)


def test_it_gives_as_many_outputs_as_asked_for_image_by_image(doubled: ExportedModel) -> None:
    images = np.random.default_rng(0).random((3, 1, 3, *SIZE), dtype=np.float32)
    with local_answers(doubled, OPTIONS, outputs=2) as answers:
        for image in images:
            twice, minus = answers(image)
            np.testing.assert_array_equal(twice, image * 2)
            np.testing.assert_array_equal(minus, -image)
    with local_answers(doubled, OPTIONS) as answers:
        assert len(answers(images[0])) == 1


def test_the_process_goes_with_the_block_however_it_ends(doubled: ExportedModel) -> None:
    before = set(psutil.Process().children())
    children: list[psutil.Process] = []

    def interrupted() -> None:
        with local_answers(doubled, OPTIONS):
            children.extend(set(psutil.Process().children()) - before)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    (child,) = children
    assert is_gone(child.pid)


def test_what_goes_wrong_is_one_line(
    doubled: ExportedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def once(model: ExportedModel, options: RuntimeOptions = OPTIONS) -> None:
        with local_answers(model, options) as answers:
            answers(np.zeros((1, 3, *SIZE), dtype=np.float32))

    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(TrialFailed, match=r"latency: .*broken.onnx: ONNX Runtime cannot load"):
        once(replace(doubled, path=broken))
    with pytest.raises(ConfigError, match="--provider: asked for Nowhere"):
        once(doubled, replace(OPTIONS, provider="Nowhere"))
    with local_answers(doubled, OPTIONS) as answers:
        with pytest.raises(TrialFailed, match=r"latency: .*INVALID_ARGUMENT"):
            answers(np.zeros((1, 3, 8, 8), dtype=np.float32))
        with pytest.raises(TrialFailed, match=r"doubled.onnx: the runtime ended .exit status 1"):
            answers(np.zeros((1, 3, *SIZE), dtype=np.float32))
    monkeypatch.setattr(module, "LOAD_S", 0.001)
    with pytest.raises(TrialFailed, match=r"timeout: doubled.onnx: no answer within 0.001 s"):
        once(doubled)
