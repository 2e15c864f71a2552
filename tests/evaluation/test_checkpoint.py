from __future__ import annotations

import copy
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from ultralytics import YOLO

from autoprune.errors import AutopruneError, ConfigError, UnsupportedModel
from autoprune.evaluation.checkpoint import load_yolo, model_hash
from tests.evaluation.conftest import stem_width


class _Runs:
    """Runs a function with arguments when unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def _one_line(error: BaseException, *parts: str) -> None:
    text = str(error)
    assert "\n" not in text
    for part in parts:
        assert part in text


def test_a_saved_model_comes_back_in_single_precision_with_its_image_size(
    dense: YOLO, tmp_path: Path
) -> None:
    dense.ckpt = {"train_args": {"imgsz": 160}}
    dense.save(tmp_path / "best.pt")
    again = load_yolo(tmp_path / "best.pt")
    assert type(again) is YOLO
    assert {parameter.dtype for parameter in again.model.parameters()} == {torch.float32}
    assert again.overrides["imgsz"] == 160
    expected = copy.deepcopy(dense.model).half().float()
    assert model_hash(again.model) == model_hash(expected)
    stock = YOLO(tmp_path / "best.pt")
    assert vars(again).keys() == vars(stock).keys()
    assert again.overrides == {**stock.overrides, "model": str(tmp_path / "best.pt")}


@pytest.mark.parametrize("name", ["yolov8n.yaml", "yolov8s-p2.yaml", "yolov8n-p6.yaml"])
def test_a_shipped_recipe_builds_a_model_by_its_name(name: str) -> None:
    model = load_yolo(name).model
    assert stem_width(model) == (32 if "8s" in name else 16)


@pytest.mark.parametrize(
    "name", ["yolov8n.pt", "missing/best.pt", "missing.yaml", "yolov8n", "model.onnx"]
)
def test_a_missing_file_is_an_error_and_never_a_download(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load_yolo(name)
    _one_line(caught.value, name, "expected")
    assert list(tmp_path.iterdir()) == []


def test_a_web_address_is_refused() -> None:
    with pytest.raises(ConfigError, match="web address"):
        load_yolo("https://example.com/yolov8n.pt")


def test_broken_files_are_refused_in_one_line(dense: YOLO, tmp_path: Path) -> None:
    dense.save(tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    torch.save({"model": None, "ema": None}, tmp_path / "no-model.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"model": dense.model.state_dict()}, tmp_path / "weights-only.pt")
    contents = {
        "empty.pt": b"",
        "truncated.pt": whole[: len(whole) // 2],
        "head-missing.pt": whole[1000:],
        "text.pt": b"these are no weights\n" * 100,
        "yolov8n.pt": b"\x00" * 5000,
        "picture.pt": b"\xff\xd8\xff\xe0" + b"\x01" * 100,
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    for name in [*contents, "no-model.pt", "list.pt", "weights-only.pt"]:
        with pytest.raises(ConfigError) as caught:
            load_yolo(tmp_path / name)
        _one_line(caught.value, name, "expected")
        assert (tmp_path / name).exists(), "Ultralytics deletes broken files of known names"


def test_malicious_files_are_refused_and_run_nothing(dense: YOLO, tmp_path: Path) -> None:
    trace = tmp_path / "it-ran"
    command = f"touch {trace}"
    payloads = [
        _Runs(os.system, command),
        _Runs(subprocess.call, ["touch", str(trace)]),
        _Runs(eval, f"open({str(trace)!r}, 'w')"),
        _Runs(os.mkdir, str(trace)),
        _Runs(exec, f"import os; os.system({command!r})"),
    ]
    for number, payload in enumerate(payloads):
        hidden = copy.copy(dense.model)
        hidden.extra = payload
        for where, content in {
            "beside": {"model": dense.model, "x": payload},
            "in": {"model": hidden},
        }.items():
            file = tmp_path / f"{where}{number}.pt"
            torch.save(content, file)
            with pytest.raises(ConfigError) as caught:
                load_yolo(file)
            _one_line(caught.value, file.name, "refused", "--trust-checkpoint")
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(payloads[0]))
    with pytest.raises(ConfigError):
        load_yolo(tmp_path / "raw.pt")
    assert not trace.exists()


def test_trust_loads_what_was_refused(dense: YOLO, tmp_path: Path) -> None:
    trace = tmp_path / "it-ran"
    torch.save({"model": dense.model, "x": _Runs(os.mkdir, str(trace))}, tmp_path / "odd.pt")
    assert stem_width(load_yolo(tmp_path / "odd.pt", trust=True).model) == 16
    assert trace.exists()


def test_a_file_naming_a_missing_module_is_refused_and_nothing_is_installed(
    dense: YOLO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = type(sys)("no_such_module_here")
    module.Thing = type("Thing", (), {"__module__": module.__name__})
    sys.modules[module.__name__] = module
    try:
        torch.save({"model": dense.model, "x": module.Thing()}, tmp_path / "odd.pt")
    finally:
        del sys.modules[module.__name__]

    def forbidden(*args: object, **kwargs: object) -> None:
        raise AssertionError("something was started")

    monkeypatch.setattr(subprocess, "Popen", forbidden)
    for trust in (False, True):
        with pytest.raises(ConfigError) as caught:
            load_yolo(tmp_path / "odd.pt", trust=trust)
        _one_line(caught.value, "refused")


@pytest.mark.parametrize(
    ("recipe", "task"),
    [
        ("yolov8n-cls.yaml", "classify"),
        ("yolo26n-sem.yaml", "semantic"),
    ],
)
def test_another_task_is_named(recipe: str, task: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match=task):
        load_yolo(recipe)
    YOLO(recipe).save(tmp_path / "other.pt")
    with pytest.raises(UnsupportedModel, match=task):
        load_yolo(tmp_path / "other.pt")


@pytest.mark.parametrize("recipe", ["rtdetr-l.yaml", "yolov8-rtdetr.yaml", "yolov8n-worldv2.yaml"])
def test_another_kind_of_detector_is_unsupported(recipe: str) -> None:
    with pytest.raises(UnsupportedModel, match="head"):
        load_yolo(recipe)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("nc: 80", "nc: 80\nactivation: print('it ran')"),
        ("[-1, 1, Conv, [64, 3, 2]]", "[-1, 1, torch_safe_load, ['x.pt']]"),
        ("[-1, 1, Conv, [64, 3, 2]]", "[-1, 1, NoSuchLayer, [64, 3, 2]]"),
        ("[-1, 1, Conv, [64, 3, 2]]", "[-1, 1, Conv, ['sixty-four']]"),
        ("backbone:", "spine:"),
    ],
)
def test_a_recipe_that_runs_code_or_is_wrong_is_refused(
    old: str, new: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import ultralytics

    source = Path(ultralytics.__file__).parent / "cfg" / "models" / "v8" / "yolov8.yaml"
    text = source.read_text()
    assert old in text
    (tmp_path / "mine.yaml").write_text(text.replace(old, new))
    with pytest.raises(AutopruneError) as caught:
        load_yolo(tmp_path / "mine.yaml")
    _one_line(caught.value, "mine.yaml")
    assert "it ran" not in capsys.readouterr().out


def test_the_hash_sees_values_and_shapes_but_not_storage(dense: YOLO, tmp_path: Path) -> None:
    original = model_hash(dense.model)
    assert model_hash(copy.deepcopy(dense.model)) == original
    dense.model.half()
    half = model_hash(dense.model)
    dense.save(tmp_path / "a.pt")
    shutil.copy(tmp_path / "a.pt", tmp_path / "b.pt")
    assert model_hash(load_yolo(tmp_path / "b.pt").model) == half
    with torch.no_grad():
        dense.model.model[0].bn.running_mean[3] += 1
    assert model_hash(dense.model) != half


def test_a_path_with_an_apostrophe_or_spaces_at_its_end_is_loaded(
    dense: YOLO, tmp_path: Path
) -> None:
    folder = tmp_path / "John's models"
    folder.mkdir()
    dense.save(tmp_path / "plain.pt")
    for name in ("best.pt", "it's.pt"):
        shutil.copy(tmp_path / "plain.pt", folder / name)
        found = load_yolo(folder / name)
        assert model_hash(found.model) == model_hash(load_yolo(tmp_path / "plain.pt").model)
        assert Path(str(found.ckpt_path)).name == name
