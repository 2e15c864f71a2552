"""Compensation: what a consumer loses is taken over by what stays, and never makes it worse."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from autoprune.demo.bundle import demo_checkpoint
from autoprune.demo.shapes import draw_scene
from autoprune.domain.plan import PruningPlan
from autoprune.errors import ConfigError
from autoprune.evaluation.checkpoint import load_yolo
from autoprune.families import channels_of
from autoprune.pruning import compensation as compensation_module
from autoprune.pruning import statistics as statistics_module
from autoprune.pruning.compensation import Compensator, compensate
from autoprune.pruning.groups import AxisSlice, ChannelGroup
from autoprune.pruning.prune import Pruner, uniform_plan, widths_of
from autoprune.pruning.statistics import (
    CalibrationStatistics,
    InputMoments,
    collect_statistics,
)
from tests.pruning.architectures import expected_widths, uniform
from tests.pruning.networks import fingerprint, image, scrambled

WIDTH = 8


class Block(nn.Module):
    """A convolution and its batch norm, under Ultralytics' names."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.bn(self.conv(x))
        return result


class TwoReaders(nn.Module):
    """One feature map read by a block and by a plain convolution with a bias."""

    def __init__(self, kernel: int = 1) -> None:
        super().__init__()
        self.block = Block(WIDTH, 5, kernel)
        self.last = nn.Conv2d(WIDTH, 3, 1)
        nn.init.uniform_(self.block.bn.running_mean, -1, 1)
        nn.init.uniform_(self.block.bn.running_var, 0.5, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.block(x), self.last(x)


GROUP = ChannelGroup(
    "g", 0, 0, WIDTH, (), (AxisSlice("block.conv", 0, norm="block.bn"), AxisSlice("last", 0))
)  # fmt: skip


def two_readers(seed: int, kernel: int = 1) -> nn.Module:
    torch.manual_seed(seed)
    return TwoReaders(kernel).double().eval()


def activations(seed: int) -> Tensor:
    """Correlated channels with means of their own, shape (4, WIDTH, 6, 6), float64."""
    dice = torch.Generator().manual_seed(seed)
    pixels = torch.randn(4, 6, 6, WIDTH, generator=dice, dtype=torch.float64)
    mix = torch.randn(WIDTH, WIDTH, generator=dice, dtype=torch.float64)
    shift = torch.randn(WIDTH, generator=dice, dtype=torch.float64)
    return (pixels @ mix + 2 * shift).permute(0, 3, 1, 2).contiguous()


def statistics_of(x: Tensor) -> CalibrationStatistics:
    """Unweighted moments over all pixels."""
    rows = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    mean = rows.mean(dim=0)
    covariance = (rows - mean).T @ (rows - mean) / len(rows)
    moments = InputMoments(mean, covariance, kernel_wide=False)
    return CalibrationStatistics(inputs={"block.conv": moments, "last": moments})


def without(x: Tensor, removed: list[int]) -> Tensor:
    silenced = x.clone()
    silenced[:, removed] = 0
    return silenced


def kept_without(removed: list[int]) -> dict[str, Tensor]:
    return {"g": torch.tensor([c for c in range(WIDTH) if c not in removed])}


@pytest.mark.parametrize("constant", [0.0, 3.0])
def test_a_combination_of_other_channels_is_removed_without_a_trace(constant: float) -> None:
    """Its constant goes into the batch norm's running mean, or into the bias."""
    model, x = two_readers(0), activations(0)
    x[:, 5] = 2 * x[:, 0] - 0.5 * x[:, 3] + x[:, 7] + constant
    before = model(x)
    compensate(model, [GROUP], kept_without([5]), statistics_of(x), ridge=1e-13)
    for old, new in zip(before, model(without(x, [5])), strict=True):
        torch.testing.assert_close(new, old, rtol=0, atol=1e-6)
    assert not model.block.conv.weight[:, 5].any()


def test_a_constant_channel_goes_into_bias_and_running_mean_alone() -> None:
    model, x = two_readers(1), activations(1)
    x[:, 2] = -4.0
    weight = model.last.weight.clone()
    before = model(x)
    compensate(model, [GROUP], kept_without([2]), statistics_of(x))
    for old, new in zip(before, model(without(x, [2])), strict=True):
        torch.testing.assert_close(new, old)
    others = [0, 1, 3, 4, 5, 6, 7]
    torch.testing.assert_close(model.last.weight[:, others], weight[:, others])


def test_a_3x3_kernel_loses_a_constant_channel_at_each_of_its_positions() -> None:
    model, x = two_readers(2, kernel=3), activations(2)
    x[:, 4] = 2.5
    before = model(x)[0]
    compensate(model, [GROUP], kept_without([4]), statistics_of(x))
    inside = (..., slice(1, -1), slice(1, -1))  # at the border, padding is no constant
    torch.testing.assert_close(model(without(x, [4]))[0][inside], before[inside])


@pytest.mark.parametrize("ridge", [1e-6, 1e-2, 1.0, 100.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_compensated_1x1_reader_is_never_further_off_on_the_calibration_set(
    seed: int, ridge: float
) -> None:
    model, x = two_readers(seed), activations(seed)
    dice = torch.Generator().manual_seed(seed)
    removed = torch.randperm(WIDTH, generator=dice)[: 1 + 2 * seed].tolist()
    dense, cut = model(x), model(without(x, removed))
    compensate(model, [GROUP], kept_without(removed), statistics_of(x), ridge)
    for wanted, plain, better in zip(dense, cut, model(without(x, removed)), strict=True):
        gap, corrected = wanted - plain, (wanted - better).square().sum()
        assert corrected < gap.square().sum()
        centred = gap - gap.mean(dim=(0, 2, 3), keepdim=True)  # as recalibration would leave it
        assert corrected <= centred.square().sum() * (1 + 1e-9)


@pytest.mark.parametrize("kernel_wide", [True, False])
def test_without_ridge_the_weights_are_those_of_least_squares(kernel_wide: bool) -> None:
    """A 3x3 kernel: one regression per kernel position, or one over all positions at once."""
    model, x, removed = two_readers(3, kernel=3), activations(3), [1, 6]
    positions = 9 if kernel_wide else 1
    if kernel_wide:
        rows = functional.unfold(x, 3, padding=1).transpose(1, 2).reshape(-1, WIDTH * 9)
    else:
        rows = x.permute(0, 2, 3, 1).reshape(-1, WIDTH)
    mean = rows.mean(dim=0)
    covariance = (rows - mean).T @ (rows - mean) / len(rows)
    moments = InputMoments(mean, covariance, kernel_wide)
    statistics = CalibrationStatistics(
        inputs={"block.conv": moments, "last": statistics_of(x).inputs["last"]}
    )
    gone = [c * positions + p for c in removed for p in range(positions)]
    stay = [column for column in range(rows.shape[1]) if column not in gone]
    centred = rows - mean
    weight = model.block.conv.weight.detach().clone()
    if kernel_wide:
        flat = weight.flatten(1)
        best = torch.linalg.lstsq(centred[:, stay], centred @ flat.T).solution.T
        expected = best.view(5, WIDTH - 2, 3, 3)
    else:
        share = torch.linalg.lstsq(centred[:, stay], centred[:, gone]).solution  # (stay, gone)
        expected = weight[:, stay] + torch.einsum("ogij,sg->osij", weight[:, gone], share)
    compensate(model, [GROUP], kept_without(removed), statistics, ridge=1e-13)
    kept = kept_without(removed)["g"]
    torch.testing.assert_close(model.block.conv.weight[:, kept], expected, rtol=1e-6, atol=1e-7)


def synthetic(model: nn.Module, kernel_wide_upto: int = 40) -> CalibrationStatistics:
    """Random but valid statistics of every reader, without a single image."""
    dice = torch.Generator().manual_seed(4)
    groups = channels_of(model).groups
    inputs, fisher = {}, {}
    for group in groups:
        for part in group.consumers:
            conv = model.get_submodule(part.module)
            wide = conv.in_channels <= kernel_wide_upto
            size = conv.weight[0].numel() if wide else conv.in_channels
            factor = torch.randn(size, 24, generator=dice)
            covariance = factor @ factor.T / 24 + 0.1 * torch.eye(size)
            inputs[part.module] = InputMoments(torch.randn(size, generator=dice), covariance, wide)
            fisher[part.module] = torch.rand(conv.out_channels, generator=dice)
    return CalibrationStatistics(inputs=inputs, output_fisher=fisher)


@pytest.mark.parametrize("name", ["yolov8n", "yolov8n-p2", "yolov8n-p6", "unusual"])
def test_every_architecture_is_pruned_to_the_ruled_widths_with_finite_outputs(name: str) -> None:
    """Residuals, both halves of C2f and C2, SPPF's repeats, concats and Detect's towers."""
    model = scrambled(name)
    before = fingerprint(model)
    pruner = Pruner(model, "obs", synthetic(model), compensated=True)
    plan = PruningPlan(uniform(name, 0.3))
    pruned = pruner.prune(plan)
    widths = {
        key: (part.in_channels, part.out_channels)
        for key, part in pruned.named_modules()
        if isinstance(part, nn.Conv2d) and ".dfl." not in key
    }
    assert widths == expected_widths(name, plan.prune_ratios)
    with torch.no_grad():
        assert pruned(image())[0].isfinite().all()
    assert fingerprint(model) == before
    nothing = pruner.prune(PruningPlan(uniform(name, 0.0)))
    assert fingerprint(nothing) == before


def demo_and_pictures() -> tuple[nn.Module, Tensor]:
    """The bundled checkpoint and pictures of its kind, shape (20, 3, 192, 192), 0 to 1."""
    model = load_yolo(demo_checkpoint()).model.eval()
    scenes = [draw_scene((1, number))[0] for number in range(20)]
    pictures = torch.stack(
        [torch.from_numpy(scene[..., ::-1].copy()).permute(2, 0, 1) / 255 for scene in scenes]
    )
    return model, pictures


@pytest.mark.parametrize("kernel_wide", [True, False])
def test_on_real_3x3_layers_reconstruction_gets_better_with_either_covariance(
    kernel_wide: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics_module, "KERNEL_WIDE_BYTES", 10**9 if kernel_wide else 0)
    model, pictures = demo_and_pictures()
    names = [f"model.{at}.conv" for at in ("1", "2.m.0.cv1", "4.m.0.cv2", "12.m.0.cv1", "16")]
    batches = [{"img": part} for part in pictures[:16].split(8)]

    def loss(running: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        raw = running(batch["img"])[1]
        return raw["boxes"].square().mean() + raw["scores"].square().mean()

    statistics = collect_statistics(model, names, batches, loss)
    read: dict[str, Tensor] = {}
    for name in names:
        model.get_submodule(name).register_forward_pre_hook(
            lambda _, inputs, name=name: read.__setitem__(name, inputs[0])
        )
    with torch.no_grad():
        model(pictures[16:])  # pictures that the statistics have not seen
    for name in names:
        conv = model.get_submodule(name)
        width = conv.in_channels
        removed = list(range(0, width, 3))
        group = ChannelGroup("g", 0, 0, width, (), (AxisSlice("conv", 0),))
        kept = torch.tensor([c for c in range(width) if c not in removed])
        holder = nn.ModuleDict({"conv": copy.deepcopy(conv)})
        moments = {"conv": statistics.inputs[name]}
        assert moments["conv"].kernel_wide == kernel_wide
        compensate(holder, [group], {"g": kept}, CalibrationStatistics(inputs=moments))
        with torch.no_grad():
            wanted, cut = conv(read[name]), conv(without(read[name], removed))
            better = holder["conv"](without(read[name], removed))
        assert _spread(wanted - better) < 0.9 * _spread(wanted - cut), name


def _spread(error: Tensor) -> float:
    """Energy of the error apart from its mean by channel, which a batch norm takes care of."""
    return float((error - error.mean(dim=(0, 2, 3), keepdim=True)).square().sum())


@pytest.mark.parametrize("block", [7, 256])
def test_one_factor_serves_every_plan_as_a_factor_of_its_own_would(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernel positions, channels alone and SPPF's repeats; float64 statistics, so to 1e-6."""
    monkeypatch.setattr(compensation_module, "_BLOCK", block)
    model = scrambled("yolov8n")
    statistics = as_double(synthetic(model, kernel_wide_upto=40))
    groups = channels_of(model).groups
    dice = torch.Generator().manual_seed(0)
    scores = {group.name: torch.rand(group.width, generator=dice) for group in groups}
    remembering = Compensator(groups, statistics, scores)
    for share in (0.7, 0.3, 0.7):
        kept = {
            name: values.argsort(descending=True)[: max(1, int(share * len(values)))].sort().values
            for name, values in scores.items()
        }
        once, again = copy.deepcopy(model), copy.deepcopy(model)
        compensate(once, groups, kept, statistics)
        remembering.compensate(again, kept)
        for (name, one), other in zip(
            once.state_dict().items(), again.state_dict().values(), strict=True
        ):
            torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6, msg=name)
    assert {"model.9.cv2.conv", "model.1.conv"} <= set(remembering._factors)


def as_double(statistics: CalibrationStatistics) -> CalibrationStatistics:
    inputs = {
        name: InputMoments(one.mean.double(), one.covariance.double(), one.kernel_wide)
        for name, one in statistics.inputs.items()
    }
    return CalibrationStatistics(inputs=inputs, output_fisher=statistics.output_fisher)


def test_a_correction_is_worked_out_once_and_forgotten_when_memory_is_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worked_out: list[str] = []
    take_over = Compensator._take_over

    def counted(self: Compensator, name: str, *rest: Any) -> Any:
        worked_out.append(name)
        return take_over(self, name, *rest)

    monkeypatch.setattr(Compensator, "_take_over", counted)
    x = activations(0)
    compensator = Compensator([GROUP], statistics_of(x))
    first, second = two_readers(0), two_readers(0)
    compensator.compensate(first, kept_without([5]))
    compensator.compensate(second, kept_without([5]))
    assert worked_out == ["block.conv", "last"]
    assert fingerprint(first) == fingerprint(second)
    compensator.compensate(two_readers(0), kept_without([4]))
    assert len(worked_out) == 4
    monkeypatch.setattr(compensation_module, "REMEMBERED_BYTES", 1)
    for removed in ([3], [5]):
        compensator.compensate(two_readers(0), kept_without(removed))
    assert len(worked_out) == 8
    third = two_readers(0)
    compensator.compensate(third, kept_without([5]))
    assert fingerprint(third) == fingerprint(first)


def test_compensating_for_nothing_known_is_refused() -> None:
    model = scrambled("yolov8n")
    for statistics in (None, CalibrationStatistics()):
        with pytest.raises(ConfigError, match="compensate needs images"):
            Pruner(model, "l2", statistics, compensated=True)


def test_the_plan_alone_decides_the_widths_not_the_criterion() -> None:
    model = scrambled("yolov8n")
    statistics = synthetic(model)
    plan = uniform_plan(widths_of(model), 0.37, round_to=8)
    shapes = [
        [tuple(value.shape) for value in pruner.prune(plan).state_dict().values()]
        for pruner in (Pruner(model, "l2"), Pruner(model, "obs", statistics, compensated=True))
    ]
    assert shapes[0] == shapes[1]
