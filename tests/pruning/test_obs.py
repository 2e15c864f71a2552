"""Removal order and costs, held against brute-force least squares on tiny nets in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from autoprune.pruning import obs
from autoprune.pruning.groups import AxisSlice, ChannelGroup
from autoprune.pruning.obs import removal_costs
from autoprune.pruning.statistics import CalibrationStatistics, InputMoments

WIDTH = 6
PIXELS = 200


def dice(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def correlated(channels: int, seed: int) -> Tensor:
    """Rows of pixels, float64, mean zero, every channel correlated with every other."""
    rows = torch.randn(PIXELS, channels, generator=dice(seed), dtype=torch.float64)
    mixed = rows @ torch.randn(channels, channels, generator=dice(seed + 1), dtype=torch.float64)
    return mixed - mixed.mean(dim=0)


def moments(rows: Tensor) -> InputMoments:
    mean = rows.mean(dim=0)
    return InputMoments(mean, (rows - mean).T @ (rows - mean) / len(rows), kernel_wide=False)


def reader(inputs: int, seed: int, kernel: int = 1) -> nn.Conv2d:
    torch.manual_seed(seed)
    return nn.Conv2d(inputs, 4, kernel).double()


def known(inputs: dict[str, Tensor], fisher: float = 1.0) -> CalibrationStatistics:
    return CalibrationStatistics(
        inputs={name: moments(rows) for name, rows in inputs.items()},
        output_fisher={name: torch.full((4,), fisher, dtype=torch.float64) for name in inputs},
    )


def group_of(*consumers: AxisSlice) -> ChannelGroup:
    return ChannelGroup("g", 0, 0, WIDTH, (AxisSlice("p", 0),), consumers)


def lost(rows: Tensor, weight: Tensor, removed: list[int]) -> float:
    """Mean squared error of the outputs when the other columns take over as well as any can."""
    outputs = rows @ weight.T
    others = [column for column in range(rows.shape[1]) if column not in removed]
    best = torch.linalg.lstsq(rows[:, others], outputs).solution if others else None
    missed = outputs if best is None else outputs - rows[:, others] @ best
    return float(missed.square().sum() / len(rows))


def brute_force(readers: list[tuple[Tensor, Tensor, list[list[int]]]]) -> list[tuple[int, float]]:
    """Greedy: at each step the channel whose loss, summed over readers, is then the least.

    A reader is (rows, weight, columns of each channel).
    """
    gone: list[int] = []
    steps = []
    while len(gone) < WIDTH:
        totals = {
            channel: sum(
                lost(rows, weight, [c for one in [*gone, channel] for c in columns[one]])
                for rows, weight, columns in readers
            )
            for channel in range(WIDTH)
            if channel not in gone
        }
        best = min(totals, key=lambda channel: totals[channel])
        gone.append(best)
        steps.append((best, totals[best]))
    return steps


def check(costs: Tensor, steps: list[tuple[int, float]]) -> None:
    assert costs.argsort().tolist() == [channel for channel, _ in steps]
    expected = torch.tensor([total for _, total in steps], dtype=torch.float64)
    torch.testing.assert_close(costs.sort().values, expected, rtol=1e-6, atol=1e-9)


@pytest.fixture(autouse=True)
def _no_ridge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(obs, "RIDGE", 1e-12)


def columns_at(*offsets: int) -> list[list[int]]:
    return [[offset + channel for offset in offsets] for channel in range(WIDTH)]


@pytest.mark.parametrize("seed", range(4))
def test_every_step_costs_what_the_best_least_squares_takeover_loses(seed: int) -> None:
    rows, conv = correlated(WIDTH, seed), reader(WIDTH, seed)
    costs = removal_costs(group_of(AxisSlice("c", 0)), {"c": conv}, known({"c": rows}), {})
    check(costs, brute_force([(rows, conv.weight.detach()[:, :, 0, 0], columns_at(0))]))


def test_channels_of_other_groups_help_to_take_over_and_stay() -> None:
    rows, conv = correlated(WIDTH + 5, 7), reader(WIDTH + 5, 7)
    costs = removal_costs(group_of(AxisSlice("c", 3)), {"c": conv}, known({"c": rows}), {})
    check(costs, brute_force([(rows, conv.weight.detach()[:, :, 0, 0], columns_at(3))]))


def test_a_channel_read_four_times_by_one_convolution_goes_as_a_block() -> None:
    rows, conv = correlated(4 * WIDTH, 3), reader(4 * WIDTH, 3)  # as SPPF's cv2
    offsets = [number * WIDTH for number in range(4)]
    group = group_of(*(AxisSlice("c", offset) for offset in offsets))
    costs = removal_costs(group, {"c": conv}, known({"c": rows}), {})
    check(costs, brute_force([(rows, conv.weight.detach()[:, :, 0, 0], columns_at(*offsets))]))


def test_the_losses_of_several_readers_add_up() -> None:
    first, second = correlated(WIDTH, 11), correlated(WIDTH + 2, 12)
    convs = {"a": reader(WIDTH, 13), "b": reader(WIDTH + 2, 14)}
    group = group_of(AxisSlice("a", 0), AxisSlice("b", 2))
    costs = removal_costs(group, convs, known({"a": first, "b": second}), {})
    weights = [conv.weight.detach()[:, :, 0, 0] for conv in convs.values()]
    check(
        costs,
        brute_force([(first, weights[0], columns_at(0)), (second, weights[1], columns_at(2))]),
    )


def test_an_error_costs_in_proportion_to_the_outputs_fisher_information() -> None:
    rows, conv = correlated(WIDTH, 5), reader(WIDTH, 5)
    group = group_of(AxisSlice("c", 0))
    plain = removal_costs(group, {"c": conv}, known({"c": rows}), {})
    torch.testing.assert_close(
        removal_costs(group, {"c": conv}, known({"c": rows}, fisher=9.0), {}), 9 * plain
    )
    only_first = known({"c": rows})
    only_first.output_fisher["c"][1:] = 0
    weight = conv.weight.detach()[:1, :, 0, 0]
    check(
        removal_costs(group, {"c": conv}, only_first, {}),
        brute_force([(rows, weight, columns_at(0))]),
    )


def test_a_channel_that_is_a_combination_of_others_goes_first_and_costs_nothing() -> None:
    rows, conv = correlated(WIDTH + 2, 21), reader(WIDTH + 2, 21)
    rows[:, 4] = 2 * rows[:, WIDTH] - rows[:, WIDTH + 1]  # of two channels that are not the group's
    conv.weight.data[:, 4] *= 100  # by its weights it would go last
    costs = removal_costs(group_of(AxisSlice("c", 0)), {"c": conv}, known({"c": rows}), {})
    assert int(costs.argmin()) == 4
    assert float(costs[4]) < 1e-6 * float(costs.sort().values[1])


def test_a_kernels_positions_share_the_covariance_averaged_over_them() -> None:
    rows, conv = correlated(9 * WIDTH, 8), reader(WIDTH, 8, kernel=3)
    wide = moments(rows)
    statistics = CalibrationStatistics(
        inputs={"c": InputMoments(wide.mean, wide.covariance, kernel_wide=True)},
        output_fisher={"c": torch.ones(4, dtype=torch.float64)},
    )
    group = group_of(AxisSlice("c", 0))
    got = removal_costs(group, {"c": conv}, statistics, {})
    per_position = rows.view(PIXELS, WIDTH, 9).permute(0, 2, 1).reshape(-1, WIDTH)
    weight = conv.weight.detach().permute(0, 2, 3, 1).reshape(-1, WIDTH)
    check(got, brute_force([(per_position, weight, columns_at(0))]))


def test_an_input_that_never_varies_gives_finite_costs() -> None:
    rows, conv = torch.ones(PIXELS, WIDTH, dtype=torch.float64), reader(WIDTH, 2)
    costs = removal_costs(group_of(AxisSlice("c", 0)), {"c": conv}, known({"c": rows}), {})
    assert costs.isfinite().all()
