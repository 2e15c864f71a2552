"""Denormal numbers on the way into a convolution are noticed, and what that means is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from autoprune.latency import denormals
from autoprune.latency.denormals import Denormals, denormals_note, output_and_denormals
from autoprune.latency.export import export_model
from autoprune.latency.options import RuntimeOptions

SIZE = (32, 32)
FOUND = Denormals("model.3.conv", 0.123)


def _net(scale: float) -> nn.Sequential:
    """What its second convolution reads is `scale` times ordinary numbers."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.SiLU(), nn.Conv2d(8, 4, 1, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(torch.rand_like(net[0].weight) + 1.0)
        net[0].weight.mul_(scale)
    return net.eval()


def _image(value: float = 0.01) -> torch.Tensor:
    return torch.full((1, 3, *SIZE), value)


@pytest.mark.parametrize("scale", [1.0, 1e-30])
def test_ordinary_and_small_numbers_are_none(scale: float) -> None:
    assert output_and_denormals(_net(scale), _image())[1] is None


def test_the_convolution_that_reads_most_is_named_with_their_share() -> None:
    net, image = _net(2e-38), _image()
    with torch.no_grad():
        expected = net(image)
        output, found = output_and_denormals(net, image)
    assert found == Denormals("2", 1.0)
    assert torch.equal(output, expected)
    assert not any(module._forward_pre_hooks for module in net)


def test_zeros_are_none_and_so_is_a_share_that_costs_nothing() -> None:
    plain = nn.Sequential(nn.Conv2d(3, 4, 1)).eval()
    image = torch.zeros(1, 3, 100, 100)
    few = image.clone()
    few.view(-1)[:30] = 1e-39  # 0.1 %
    assert output_and_denormals(plain, image)[1] is None
    assert output_and_denormals(plain, few)[1] is None
    few.view(-1)[:31] = -1e-39
    assert output_and_denormals(plain, few)[1] is not None


def test_an_export_notices_them_in_the_picture_that_is_timed(tmp_path: Path) -> None:
    zero = export_model(_net(5e-39), tmp_path / "zero.pt2", SIZE, "torch")
    assert zero.denormals is None  # weights below the smallest normal number become 0
    net = _net(1.2e-38)
    with torch.no_grad():
        net[0].weight[:, 1:] = 0.0
        net[0].weight[..., 1:, :] = 0.0
        net[0].weight[..., 1:] = 0.0  # one pixel times 1.2e-38 to 2.4e-38
    odd = export_model(net, tmp_path / "odd.pt2", SIZE, "torch")
    assert odd.denormals is not None
    assert odd.denormals.layer == "2"
    assert 0.5 < odd.denormals.share <= 1


@pytest.mark.parametrize(
    ("runtime", "said"),
    [
        ("onnxruntime", "only with the session option session.set_denormal_as_zero=1"),
        ("torch", "only after torch.set_flush_denormal(True)"),
    ],
)
def test_layer_share_and_what_to_do_are_one_sentence(runtime: str, said: str) -> None:
    note = denormals_note(FOUND, RuntimeOptions(runtime, SIZE))
    assert note is not None
    assert note.startswith("12.3% of the numbers that model.3.conv reads are denormal (below 1.2e")
    assert "the times here are taken with them flushed to zero" in note
    assert said in note
    assert "\n" not in note


def test_of_a_runtime_of_ones_own_nothing_is_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denormals, "_TIMES", {})
    note = denormals_note(FOUND, RuntimeOptions("torch", SIZE))
    assert note is not None
    assert note.endswith("so are the times here, unless the runtime flushes them to zero")


def test_on_a_gpu_and_without_denormals_there_is_nothing_to_say() -> None:
    cuda = RuntimeOptions("onnxruntime", SIZE, provider="CUDAExecutionProvider")
    cpu = RuntimeOptions("onnxruntime", SIZE, provider="CPUExecutionProvider")
    assert denormals_note(FOUND, cuda) is None
    assert denormals_note(FOUND, RuntimeOptions("tensorrt", SIZE)) is None
    assert denormals_note(None, cpu) is None
    assert denormals_note(FOUND, cpu) is not None
