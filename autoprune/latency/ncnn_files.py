"""Writes ncnn's files: TorchScript, converted by pnnx in a process and a folder of its own.

Converted and run, outputs compared (pnnx 20261020, ncnn 1.0.20261020): YOLOv3-tiny, v5, v6, v8, v9,
v10, 11, 12 and 26, detection; segmentation (v8, 11, 26), pose and rotated boxes (v8). Not
converted: end-to-end heads without NMS (10 and 26 with `--no-nms`), as ncnn has no top-k.
"""

from __future__ import annotations

import importlib
import re
import subprocess
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autoprune.latency.bundle import model_metadata, write_bundle
from autoprune.storage.scratch import scratch_folder

PARAM, WEIGHTS = "model.ncnn.param", "model.ncnn.bin"
_LIMIT_S = 600.0
_NOT_NCNN = re.compile(r"^((?:torch|aten|prim|pnnx|F|nn|Tensor)[.:]\S+)", re.MULTILINE)


def write_ncnn(model: nn.Module, image: torch.Tensor, path: Path) -> None:
    """A .zip of ncnn's two files, weights stored in 16 bits, as pnnx does unless told otherwise.

    Raises:
        ValueError: pnnx fails, or the model has a layer that ncnn lacks.
    """
    program: Any = importlib.import_module("pnnx").EXEC_PATH
    with scratch_folder("pnnx") as folder:
        jit: Any = torch.jit
        script = jit.trace(model, (image,), check_trace=False)
        script.save(str(Path(folder) / "model.pt"))
        shape = ",".join(map(str, image.shape))
        done = subprocess.run(
            [program, "model.pt", f"inputshape=[{shape}]f32", "device=cpu", "fp16=1"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LIMIT_S,
            check=False,
        )
        written = [Path(folder) / name for name in (PARAM, WEIGHTS)]
        if done.returncode != 0 or not all(each.is_file() for each in written):
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise ValueError(f"pnnx ended with status {done.returncode}: {''.join(last)}")
        files = {each.name: each.read_bytes() for each in written}
    if missing := sorted(set(_NOT_NCNN.findall(files[PARAM].decode()))):
        raise ValueError(f"ncnn has no layer for {', '.join(missing)}")
    write_bundle(path, files, model_metadata(model, image, "half"))
