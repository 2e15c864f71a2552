"""Before anything in a checkpoint is built: is it whole, and what would loading it call."""

from __future__ import annotations

import pickle
import socket
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.nn.modules import block

from autoprune.errors import ConfigError
from autoprune.evaluation.checkpoint import load_yolo
from autoprune.evaluation.inside.loading import offline
from autoprune.evaluation.unopened import check_unopened


class _Calls:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def _built(monkeypatch: pytest.MonkeyPatch, *classes: type) -> list[str]:
    """Notes whose constructor is called."""
    built: list[str] = []
    for one in classes:
        monkeypatch.setattr(one, "__init__", lambda self, *_: built.append(type(self).__name__))
    return built


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    "call",
    [_Calls(block.TorchVision, "resnet18", "DEFAULT"), _Calls(nn.Conv2d, 4, 4, 1)],
    ids=["TorchVision", "Conv2d"],
)
def test_a_file_that_builds_a_layer_when_loaded_is_refused_before(
    dense: YOLO, call: _Calls, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "odd.pt"
    for content in ({"model": call}, {"model": dense.model, "x": [call]}):
        torch.save(content, file, pickle_protocol=protocol)
        built = _built(monkeypatch, call.call[0])
        with pytest.raises(ConfigError, match=rf"refused.*would build.*{call.call[0].__name__}"):
            load_yolo(file)
        assert not built
        monkeypatch.undo()


@pytest.mark.parametrize("zipped", [True, False])
def test_of_a_sound_file_nothing_is_called_and_nothing_is_foreign(
    dense: YOLO, zipped: bool, tmp_path: Path
) -> None:
    file = tmp_path / "sound.pt"
    torch.save(
        {"model": dense.model, "train_args": {"imgsz": 64}, "path": Path("a")},
        file,
        _use_new_zipfile_serialization=zipped,
    )
    assert check_unopened(file) == set()


def test_a_class_of_somebody_else_is_named(dense: YOLO, tmp_path: Path) -> None:
    torch.save({"model": dense.model, "x": _Calls(pickle.loads, b"")}, tmp_path / "odd.pt")
    with pytest.raises(ConfigError, match=r"refused: it holds pickle\.loads"):
        load_yolo(tmp_path / "odd.pt")


def test_a_flipped_byte_is_found_by_the_archives_checksum(dense: YOLO, tmp_path: Path) -> None:
    file = tmp_path / "flipped.pt"
    dense.save(file)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"flipped\.pt: damaged: the checksum of .*data/\d+ is"):
        load_yolo(file)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_named_by_its_tensor(
    dense: YOLO, value: float, tmp_path: Path
) -> None:
    dense.model.model[3].bn.running_var[1] = value
    dense.save(tmp_path / "odd.pt")
    with pytest.raises(ConfigError, match=r"odd\.pt: model\.3\.bn\.running_var: got '(nan|inf)"):
        load_yolo(tmp_path / "odd.pt")


def test_a_small_file_that_unpacks_to_much_is_refused_before_it_does(tmp_path: Path) -> None:
    file = tmp_path / "bomb.pt"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", pickle.dumps({}))
        with archive.open("model/data/0", "w") as part:
            for _ in range(80):
                part.write(bytes(1_000_000))
    assert file.stat().st_size < 1_000_000
    with pytest.raises(ConfigError, match="unpack to 80 MB"):
        load_yolo(file)


def test_of_two_pickles_in_one_file_none_is_believed(dense: YOLO, tmp_path: Path) -> None:
    file = tmp_path / "two.pt"
    dense.save(file)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("other/data.pkl", pickle.dumps({}))
    with pytest.raises(ConfigError, match="not a loadable checkpoint"):
        load_yolo(file)


def test_a_zip_behind_another_pickle_does_not_speak_for_it(dense: YOLO, tmp_path: Path) -> None:
    file = tmp_path / "two.pt"
    dense.save(tmp_path / "sound.pt")
    torch.save(_Calls(print, "it ran"), file, _use_new_zipfile_serialization=False)
    file.write_bytes(file.read_bytes() + (tmp_path / "sound.pt").read_bytes())
    with pytest.raises(ConfigError, match="not a loadable checkpoint"):
        load_yolo(file)


def test_while_a_model_is_loaded_no_other_machine_is_reached() -> None:
    with socket.socket() as server, socket.socket() as asking:
        server.bind(("127.0.0.1", 0))
        server.listen()
        address = server.getsockname()
        with offline():
            for ask in (
                lambda: socket.create_connection(address, timeout=1),
                lambda: asking.connect(address),
                lambda: socket.getaddrinfo("example.com", 80),
            ):
                with pytest.raises(OSError, match="without the network"):
                    ask()
            with ThreadPoolExecutor(1) as other:
                other.submit(socket.create_connection, address, 1).result().close()
        socket.create_connection(address, timeout=1).close()


@pytest.mark.parametrize("name", ["yolov5n.pt", "my-yolov5s.pt", "yolov3-tiny.pt", "it's mine.pt"])
def test_a_sound_file_is_opened_under_any_name(dense: YOLO, name: str, tmp_path: Path) -> None:
    dense.save(tmp_path / "sound.pt")
    (tmp_path / "sound.pt").rename(tmp_path / name)
    opened = load_yolo(tmp_path / name)
    assert opened.overrides["model"] == str(tmp_path / name)


def test_a_recipe_that_downloads_or_fits_no_machine_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = _built(monkeypatch, block.TorchVision)
    head = "head: [[[-1], 1, Detect, [nc]]]\n"
    recipes = {
        "nc: 2\nbackbone: [[-1, 1, TorchVision, [512, resnet18, DEFAULT]]]\n": "TorchVision",
        "nc: 1000000000\nbackbone: [[-1, 1, Conv, [16, 3, 2]]]\n": "nc: got 1000000000",
        "nc: 2\nbackbone: [[-1, 1, Conv, [1000000000, 3, 2]]]\n": "layer 0: got 1000000000",
        "nc: 2\nbackbone: [[-1, 1000000000, Conv, [16, 3, 2]]]\n": "layer 0: got 1000000000",
    }
    for number, (backbone, message) in enumerate(recipes.items()):
        file = tmp_path / f"{number}.yaml"
        file.write_text(backbone + head)
        with pytest.raises(ConfigError, match=message):
            load_yolo(file)
    assert not built
