"""A .pt counts as written once it has been loaded again and answers as the model in memory."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autoprune.errors import AutopruneError
from autoprune.evaluation.checkpoint import read_checkpoint
from autoprune.evaluation.half_precision import fits_half, rescaled_to_half
from autoprune.evaluation.images import input_channels

_NEAR = 0.05  # mean difference, of the spread; half precision alone makes less than 0.01 of it
_LEAST = 1e-6
_STRIDES = 2  # side of the picture, in the model's largest strides

Write = Callable[[nn.Module, Path], None]


def save_checked(module: nn.Module, path: Path, write: Write) -> str:
    """Write a model; until the file is proved right, `path` stays as it was.

    Args:
        module: What shall be stored; unchanged.
        path: The .pt file.
        write: Writes a module to a file as Ultralytics does, in half precision.

    Returns:
        How it is stored, where that is not plain half precision; else "".

    Raises:
        AutopruneError: The model cannot run, its own answer is not finite, or no file gives it.
    """
    try:
        expected = _answer(module)
    except Exception as error:  # whatever a module raises
        text = " ".join(str(error).split()) or type(error).__name__
        raise AutopruneError(f"{path}: not written: the model cannot run: {text}") from error
    if not all(torch.isfinite(part).all() for part in expected):
        raise AutopruneError(f"{path}: not written: the model's answer to a picture is not finite")
    stored = rescaled_to_half(module)
    rescaled = "channels beyond half precision rescaled, which changes no answer"
    ways = [("float32: half precision cannot hold its numbers", False)]
    if fits_half(stored):
        ways.insert(0, ("" if stored is module else rescaled, True))
    draft = path.with_name(f"{path.stem}.part.pt")
    try:
        for how, half in ways:
            write(stored, draft)
            if not half:
                _in_single(stored, draft)
            if _alike(_answer_of(draft), expected):
                draft.replace(path)
                return how
    finally:
        draft.unlink(missing_ok=True)
    raise AutopruneError(f"{path}: not written: the file would not answer as the model does")


def _answer(module: nn.Module) -> list[Tensor]:
    """What a copy of a model says to a fixed picture of noise, in parts of one unit each.

    As decoded, and before that, of every branch: of noise, hardly a score is above 0. An end-to-end
    head would list its objects by score, whose order hangs on the last digits.
    """
    model: Any = copy.deepcopy(module).cpu().float().eval()
    if getattr(model.model[-1], "cv2", None) is not None:
        model.end2end = False
    side = _STRIDES * math.ceil(float(max(model.stride)))
    noise = torch.rand(
        (1, input_channels(model), side, side), generator=torch.Generator().manual_seed(0)
    )
    with torch.no_grad():
        decoded, raw = model(noise)
    objects = decoded[0] if isinstance(decoded, (tuple, list)) else decoded
    branches = [raw[key] for key in ("one2many", "one2one") if key in raw] or [raw]
    before = [
        part
        for branch in branches
        for key, part in branch.items()
        if key != "feats" and isinstance(part, Tensor)
    ]
    return [objects[0, :4], objects[0, 4:], *before]


def _answer_of(file: Path) -> list[Tensor] | None:
    try:
        module: nn.Module = read_checkpoint(file, trust=True)["model"]  # written a moment ago
    except AutopruneError:  # not finite
        return None
    return _answer(module)


def _alike(got: list[Tensor] | None, expected: list[Tensor]) -> bool:
    return got is not None and all(map(_near, got, expected))


def _near(got: Tensor, expected: Tensor) -> bool:
    if got.shape != expected.shape or not torch.isfinite(got).all():
        return False
    return bool((got - expected).abs().mean() <= _NEAR * expected.std() + _LEAST)


def _in_single(module: nn.Module, file: Path) -> None:
    """Replace the model in a file by one in float32."""
    content = torch.load(file, map_location="cpu", weights_only=False)  # our own as well
    single = copy.deepcopy(module).cpu().float().to(memory_format=torch.contiguous_format)
    torch.save({**content, "model": single}, file)
