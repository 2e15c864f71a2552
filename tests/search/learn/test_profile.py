"""The profile of a real network: costs, widths and predictions of every choice."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from ultralytics import YOLO

from autoprune.domain.space import SearchSpace
from autoprune.latency.predictor import LatencyPredictor
from autoprune.pruning.prune import Pruner
from autoprune.search.learn.profile import Profile, _removal_costs

SPACE = """\
round_to: 4
default: {step: 16, max_ratio: 0.75}
layers:
  0: {kept: [8, 12, 16]}
  1: {max_ratio: 0}
  2: {kept: [16]}
  6: {kept: [32, 128]}
  22: [{kept: [24, 64]}, {kept: [32, 64, 80]}]
"""


class Widths:
    """Remembers the widths it was asked about; their sum stands for the latency."""

    def predict(self, kept: Any) -> Any:
        self.asked = np.asarray(kept)
        return self.asked.sum(axis=1) / 1000


@pytest.fixture(scope="module")
def pruner() -> Pruner:
    torch.manual_seed(0)
    return Pruner(YOLO("yolov8n.yaml").model, "l2_bn")


def _space(pruner: Pruner, folder: Path, protect: tuple[int, ...] = ()) -> SearchSpace:
    (folder / "space.yaml").write_text(SPACE)
    return SearchSpace.load(folder / "space.yaml", pruner.widths, protect)


def _profile(pruner: Pruner, space: SearchSpace) -> Profile:
    return Profile.of(pruner, space, cast(LatencyPredictor, Widths()))


def _random_rows(profile: Profile, count: int = 20) -> Any:
    dice = np.random.default_rng(0)
    return np.array([[dice.integers(len(c)) for c in profile.choices] for _ in range(count)])


@pytest.mark.parametrize("protect", [(), (4, 22)])
def test_latencies_are_predicted_for_the_very_widths_that_pruning_gives(
    pruner: Pruner, tmp_path: Path, protect: tuple[int, ...]
) -> None:
    space = _space(pruner, tmp_path, protect)
    profile = _profile(pruner, space)
    rows = _random_rows(profile)
    ratios = profile.latency_ratios(rows)
    expected = [pruner.signature(space.plan(profile.kept(row))) for row in rows]
    assert profile.predictor.asked.tolist() == [list(row) for row in expected]  # type: ignore[attr-defined]
    assert ratios.tolist() == pytest.approx([sum(row) / 1000 for row in expected])


def test_costs_are_the_sums_of_what_removing_the_weakest_channels_costs(
    pruner: Pruner, tmp_path: Path
) -> None:
    space = _space(pruner, tmp_path)
    profile = _profile(pruner, space)
    for row in _random_rows(profile, 5):
        kept = profile.kept(row)
        signature = pruner.signature(space.plan(kept))
        expected = 0.0
        for group, width in zip(pruner.groups, signature, strict=True):
            if group.index not in (1, 2):  # nothing to choose there: a constant, left out
                scores = pruner.scores[group.name].double()
                expected += float(scores.sort().values[: group.width - width].sum())
        assert profile.cost_rows(row[None]).sum() == pytest.approx(expected, rel=1e-5)
    assert profile.cost_rows(profile.dense[None]).sum() == 0


def test_a_width_list_that_leaves_out_the_dense_width_is_priced_from_the_dense_one(
    pruner: Pruner, tmp_path: Path
) -> None:
    (tmp_path / "space.yaml").write_text("layers: {4: {kept: [16, 32, 48]}}\n")
    space = SearchSpace.load(tmp_path / "space.yaml", pruner.widths)
    profile = _profile(pruner, space)
    costs = profile.costs[profile.names.index("keep_4")]
    groups = [group for group in pruner.groups if group.index == 4]
    for width, cost in zip((16, 32, 48), costs, strict=True):
        expected = 0.0
        for group in groups:
            removed = group.width - group.width * width // 64
            expected += float(pruner.scores[group.name].double().sort().values[:removed].sum())
        assert cost == pytest.approx(expected, rel=1e-5)
    assert costs[0] > costs[1] > costs[2] > 0


def test_obs_scores_are_totals_already() -> None:
    scores = torch.tensor([5.0, 1.0, 2.0])
    assert _removal_costs(scores, cumulative=True).tolist() == [0, 1, 2]
    assert _removal_costs(scores, cumulative=False).tolist() == [0, 1, 3]


def test_whether_scores_are_totals_already_is_what_the_criterions_row_says(
    pruner: Pruner, tmp_path: Path
) -> None:
    totals = copy.copy(pruner)
    totals.importance = "obs"
    first = np.sort(pruner.scores["0"].numpy())  # index 0 keeps 8, 12 or 16 channels
    of_obs, of_norms = (_profile(each, _space(each, tmp_path)) for each in (totals, pruner))
    assert of_obs.costs[0] == pytest.approx([first[7], first[3], 0.0])
    assert of_norms.costs[0] == pytest.approx([first[:8].sum(), first[:4].sum(), 0.0])


def test_positions_and_kept_widths_are_inverse(pruner: Pruner, tmp_path: Path) -> None:
    profile = _profile(pruner, _space(pruner, tmp_path))
    for row in _random_rows(profile):
        assert np.array_equal(profile.positions(profile.kept(row)), row)
    assert np.array_equal(profile.positions({}), profile.dense)
    assert profile.positions({"keep_6": 32}).sum() == profile.dense.sum() - 1


def test_a_protected_index_has_nothing_to_choose_and_costs_nothing(
    pruner: Pruner, tmp_path: Path
) -> None:
    profile = _profile(pruner, _space(pruner, tmp_path, protect=(22,)))
    for name in ("keep_22_box", "keep_22_cls"):
        at = profile.names.index(name)
        assert len(profile.choices[at]) == 1
        assert profile.costs[at].tolist() == [0.0]


def test_costs_fall_with_the_width_kept(pruner: Pruner, tmp_path: Path) -> None:
    for table in _profile(pruner, _space(pruner, tmp_path)).costs:
        assert (np.diff(table) <= 0).all()
