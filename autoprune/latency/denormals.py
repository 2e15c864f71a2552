"""Denormal numbers: where a model computes with them, latency depends on more than its shapes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from autoprune.latency.options import RuntimeOptions

NOTICED = 0.001  # share of what a convolution reads, from which on it is worth a sentence

_TINY = torch.finfo(torch.float32).tiny
_FLUSHED = "the times here are taken with them flushed to zero"
_TIMES = {
    "onnxruntime": f"{_FLUSHED} (x86 only), and ONNX Runtime does so in deployment only with the"
    " session option session.set_denormal_as_zero=1",
    "openvino": f"{_FLUSHED}, and OpenVINO does so in deployment only with the property"
    " CPU_DENORMALS_OPTIMIZATION",
    "torch": f"{_FLUSHED}, and torch does so in deployment only after"
    " torch.set_flush_denormal(True)",
}
_OTHER_TIMES = "so are the times here, unless the runtime flushes them to zero"


@dataclass(frozen=True)
class Denormals:
    """The convolution that reads most of them.

    Attributes:
        layer: Its name.
        share: Of the numbers that it reads, above NOTICED.
    """

    layer: str
    share: float


def output_and_denormals(model: nn.Module, image: torch.Tensor) -> tuple[Any, Denormals | None]:
    """Run a model once, and look at what its convolutions read.

    Args:
        model: In float32; its convolutions are torch's modules.
        image: Its input.

    Returns:
        The output, and where denormals are noticed; None where they are not.
    """
    shares: dict[str, float] = {}
    hooks = [
        module.register_forward_pre_hook(partial(_note_share, shares, name))
        for name, module in model.named_modules()
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))
    ]
    try:
        output = model(image)
    finally:
        for hook in hooks:
            hook.remove()
    most = max(shares, key=lambda name: shares[name], default=None)
    if most is None or shares[most] <= NOTICED:
        return output, None
    return output, Denormals(most, shares[most])


def denormals_note(found: Denormals | None, options: RuntimeOptions) -> str | None:
    """What the user has to know about a model's denormals; None where that is nothing.

    A sentence without its full stop. GPUs compute denormals as fast as other numbers.
    """
    row = options.row
    if found is None or row.on_gpu or options.provider not in (None, row.provider):
        return None
    return (
        f"{found.share:.1%} of the numbers that {found.layer} reads are denormal (below"
        f" {_TINY:.1e}), with which many CPUs compute far slower;"
        f" {_TIMES.get(options.runtime, _OTHER_TIMES)}"
    )


def _note_share(
    shares: dict[str, float], name: str, _: nn.Module, given: tuple[torch.Tensor, ...]
) -> None:
    read = given[0]
    share = int(((read != 0) & (read.abs() < _TINY)).sum()) / read.numel()
    shares[name] = max(share, shares.get(name, 0.0))
