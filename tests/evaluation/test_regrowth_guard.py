from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import nn
from ultralytics import YOLO

from autoprune.evaluation.inside.pruned_yolo import as_pruned_yolo
from autoprune.evaluation.regrowth_guard import is_sealed, seal, sealed_info
from tests.evaluation.conftest import KEPT
from tests.forks import Forks

_USES = """
import sys, torch, numpy as np
from ultralytics import YOLO
from ultralytics.utils import SAFE_LOAD
assert SAFE_LOAD == (sys.argv[3] == "1")
model = YOLO(sys.argv[1])
assert type(model).__module__.startswith("ultralytics")
assert model.model.model[0].conv.weight.shape[0] == int(sys.argv[4])
model.predict(np.zeros((64, 64, 3), np.uint8), imgsz=64, verbose=False)
model.val(data=sys.argv[2], imgsz=64, batch=4, plots=False, workers=0, project="runs", name="val")
exported = model.export(format="onnx", imgsz=64)
import onnxruntime
session = onnxruntime.InferenceSession(exported)
image = torch.rand(1, 3, 64, 64)
got = session.run(None, {"images": image.numpy()})[0]
want = YOLO(sys.argv[1]).model(image)[0].detach().numpy()
assert np.abs(got - want).max() < 1e-2, np.abs(got - want).max()
model.fuse()
for settings in ({}, {"pretrained": False}, {"resume": True}):
    try:
        settings.update(data=sys.argv[2], epochs=1, imgsz=64, workers=0, project="runs")
        YOLO(sys.argv[1]).train(**settings)
    except KeyError as error:
        assert "autoprune.load" in str(error), error
    else:
        raise SystemExit("plain training did not fail")
assert not [name for name in sys.modules if name.startswith("autoprune")]
"""


@pytest.mark.parametrize("safe", ["0", "1"])
def test_plain_ultralytics_uses_a_sealed_file_but_never_trains_it(
    safe: str,
    forks: Forks,
    dense: YOLO,
    pruned_module: nn.Module,
    data_yaml: Path,
    tmp_path: Path,
) -> None:
    as_pruned_yolo(pruned_module, dense).save(tmp_path / "pruned.pt")
    environment = {**os.environ, "ULTRALYTICS_SAFE_LOAD": safe}
    arguments = [str(tmp_path / "pruned.pt"), str(data_yaml), safe, str(KEPT)]
    done = forks.run(_USES, *arguments, folder=tmp_path, environment=environment)
    assert done.returncode == 0, done.stderr[-2000:]


def test_sealing_keeps_the_recipe_and_the_provenance(dense: YOLO) -> None:
    module = dense.model
    before = module.yaml
    image = torch.rand(1, 3, 64, 64)
    module.eval()
    expected = module(image)[0]
    assert not is_sealed(module)
    assert sealed_info(module) == {}
    seal(module, {"base": "abc"})
    seal(module, {"plan": {"prune_ratios": {0: 0.5}}})
    assert is_sealed(module)
    assert sealed_info(module) == {"base": "abc", "plan": {"prune_ratios": {0: 0.5}}}
    assert before["backbone"][0][2] == "Conv", "the caller's recipe was changed"
    assert torch.equal(module(image)[0], expected)
