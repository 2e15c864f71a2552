"""A .pt is called written once it has been loaded and answers as the model in memory."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from ultralytics import YOLO

from autoprune.demo.bundle import demo_checkpoint
from autoprune.errors import AutopruneError
from autoprune.evaluation.inside.pruned_yolo import PrunedYOLO, as_pruned_yolo, load_pruned
from tests.evaluation.test_half_precision import spoiled

HOWS = {
    "": "",
    "variance": "channels beyond half precision rescaled",
    "large weights": "channels beyond half precision rescaled",
    "shift": "float32",
}


def _says(module: Any) -> torch.Tensor:
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return copy.deepcopy(module).float().eval()(picture)[0]


@pytest.mark.parametrize("how", HOWS)
def test_the_file_answers_as_the_model_in_memory(
    dense: YOLO, pruned_module: nn.Module, how: str, tmp_path: Path
) -> None:
    pruned = as_pruned_yolo(spoiled(pruned_module, how), dense)
    before = copy.deepcopy(pruned.model.state_dict())
    pruned.save(tmp_path / "small.pt")
    assert pruned.how_saved.startswith(HOWS[how])
    assert bool(pruned.how_saved) == bool(how)
    for name, tensor in pruned.model.state_dict().items():
        assert torch.equal(tensor, before[name]), "saving changes nothing in memory"
    for opened in (YOLO(tmp_path / "small.pt"), load_pruned(tmp_path / "small.pt")):
        got, expected = _says(opened.model), _says(pruned.model)
        torch.testing.assert_close(got[:, :4], expected[:, :4], rtol=0.02, atol=0.3)
        torch.testing.assert_close(got[:, 4:], expected[:, 4:], rtol=0.05, atol=1e-4)
    stored = torch.load(tmp_path / "small.pt", weights_only=False)["model"]
    assert next(stored.parameters()).dtype == (torch.float32 if how == "shift" else torch.float16)
    assert [file.name for file in tmp_path.iterdir()] == ["small.pt"]


def test_a_file_that_would_not_answer_is_not_written_over_one_that_does(
    pruned: PrunedYOLO, tmp_path: Path
) -> None:
    file = tmp_path / "small.pt"
    pruned.save(file)
    whole = file.read_bytes()
    pruned.model.model[1].conv.weight = nn.Parameter(pruned.model.model[1].conv.weight[:, 1:])
    with pytest.raises(AutopruneError, match=r"small\.pt: not written: the model cannot run"):
        pruned.save(file)
    assert file.read_bytes() == whole
    assert [one.name for one in tmp_path.iterdir()] == ["small.pt"]


def test_a_file_with_other_class_scores_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pruned = load_pruned(demo_checkpoint())

    def write(module: Any, path: Path) -> None:
        spoiled = copy.deepcopy(module).half()
        for tower in spoiled.model[-1].cv3:
            tower[-1].weight.data.zero_()
        torch.save({"model": spoiled}, path)

    monkeypatch.setattr(pruned, "_write", write)
    monkeypatch.setattr("autoprune.evaluation.inside.saving._in_single", lambda *_: None)
    with pytest.raises(AutopruneError, match="would not answer as the model does"):
        pruned.save(tmp_path / "small.pt")
    assert not list(tmp_path.iterdir())


def test_a_model_whose_answer_is_not_finite_is_not_written(
    pruned: PrunedYOLO, tmp_path: Path
) -> None:
    pruned.model.model[0].bn.running_var[0] = torch.nan
    with pytest.raises(AutopruneError, match="not finite"):
        pruned.save(tmp_path / "small.pt")
    assert not list(tmp_path.iterdir())
