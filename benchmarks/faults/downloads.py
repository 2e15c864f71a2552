"""F35: 12 files whose loading would download: each refused, and under a trace nobody is asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchvision
from ultralytics import YOLO
from ultralytics.nn.modules import block
from ultralytics.utils import checks, downloads

from benchmarks.faults.finding import Finding
from benchmarks.faults.network import asked, cannot_trace, traced

_PROGRAM = """
import json, sys
from autoprune.evaluation.quiet import prepare_environment
prepare_environment()
from autoprune.errors import AutopruneError
from autoprune.evaluation.checkpoint import load_yolo
said = {}
for path in sys.argv[1:]:
    try:
        load_yolo(path)
        said[path] = ""
    except AutopruneError as error:
        said[path] = str(error)
print(json.dumps(said))
"""
_CONTROL = "import urllib.request; urllib.request.urlopen('http://192.0.2.1', timeout=1)"


class _Calls:
    """What a pickle calls when it is loaded."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def _pt(function: Any, *arguments: Any, **how: Any) -> Callable[[Path], object]:
    return lambda path: torch.save({"model": _Calls(function, *arguments)}, path, **how)


def _recipe(layer: str, more: str = "") -> Callable[[Path], object]:
    text = f"nc: 2\n{more}backbone: [[-1, 1, {layer}]]\nhead: [[[-1], 1, Detect, [nc]]]\n"
    return lambda path: path.write_text(text)


_WEB = "https://example.com/model.pt"
CASES: dict[str, Callable[[Path], object]] = {
    "layer.pt": _pt(block.TorchVision, 512, "resnet18", "DEFAULT"),
    "old_layer.pt": _pt(
        block.TorchVision, 512, "resnet18", "DEFAULT", _use_new_zipfile_serialization=False
    ),
    "resnet.pt": _pt(torchvision.models.get_model, "resnet18", "DEFAULT"),
    "installed.pt": _pt(checks.check_requirements, "example"),
    "hub.pt": _pt(torch.hub.load_state_dict_from_url, _WEB),
    "hub_load.pt": _pt(torch.hub.load, "example/example", "model"),
    "yolo.pt": _pt(YOLO, "yolov8n.pt"),
    "asset.pt": _pt(downloads.attempt_download_asset, "yolov8n.pt"),
    "web.pt": _pt(urllib.request.urlopen, _WEB),
    "layer.yaml": _recipe("TorchVision, [512, resnet18, DEFAULT]"),
    "activation.yaml": _recipe(
        "Conv, [16, 3, 2]", f"activation: torch.hub.load_state_dict_from_url('{_WEB}')\n"
    ),
    "function.yaml": _recipe(f"torch.hub.load_state_dict_from_url, ['{_WEB}']"),
}


def run() -> Finding:
    """All of them in one process, and one that does ask, to see that the trace would show it."""
    if (why := cannot_trace()) is not None:
        return Finding(0, {"not run": why}, ["not run"])
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in CASES]
        for file, make in zip(files, CASES.values(), strict=True):
            make(file)
        said, seen = _traced(Path(folder), _PROGRAM, *map(str, files))
        _, control = _traced(Path(folder), _CONTROL)
    wrong = [f"asked for {what}, {times} times" for what, times in seen.items()]
    wrong += [] if control else ["the trace shows nothing of a program that does ask"]
    answers = json.loads(said or "{}")
    for file in files:
        answer = answers.get(str(file), "")
        if not answer or "\n" in answer:
            wrong.append(f"{file.name}: not refused in one line: {answer!r}")
    refused = sum(bool(answer) for answer in answers.values())
    return Finding(len(CASES), {"refused": refused, "addresses asked": len(seen)}, wrong)


def _traced(folder: Path, program: str, *arguments: str) -> tuple[str, dict[str, int]]:
    """The last line that a program prints, and the addresses that it asks for."""
    trace = folder / "trace"
    command = [*traced(trace), sys.executable, "-W", "ignore", "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
    return (done.stdout.splitlines() or [""])[-1], asked(trace)
