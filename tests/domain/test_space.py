"""Search spaces: what they offer, what they refuse, and the plans they write."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoprune.domain.plan import kept_width
from autoprune.domain.space import LayerChoices, SearchSpace
from autoprune.errors import ConfigError

WIDTHS: dict[int, tuple[int, ...]] = {0: (16,), 1: (22,), 2: (64,), 3: (), 4: (64, 80)}
SHIPPED = Path(__file__).resolve().parents[2] / "search_spaces"


def _space(tmp_path: Path, text: str, protect: tuple[int, ...] = ()) -> SearchSpace:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    return SearchSpace.load(path, WIDTHS, protect)


def test_steps_offer_multiples_down_to_the_strongest_ratio() -> None:
    assert LayerChoices(step=16, max_ratio=0.75).widths(64) == (16, 32, 48, 64)
    assert LayerChoices(step=16, max_ratio=0.5).widths(64) == (32, 48, 64)
    assert LayerChoices(step=16, max_ratio=0.75).widths(24) == (16, 24)
    assert LayerChoices(max_ratio=0).widths(64) == (64,)
    assert LayerChoices(kept=(64, 8, 99)).widths(64) == (8, 64)


def test_a_drawn_plan_keeps_exactly_the_widths_drawn(tmp_path: Path) -> None:
    space = _space(tmp_path, "default: {step: 1, max_ratio: 0.9}\nround_to: 1\n")
    for position in (0, 3, -1):
        drawn = {name: widths[position] for name, widths in space.choices.items()}
        plan = space.draw(lambda name, _widths, drawn=drawn: drawn[name])
        for index, (width,) in ((0, WIDTHS[0]), (1, WIDTHS[1]), (2, WIDTHS[2])):
            ratio = plan.prune_ratios[index]
            assert isinstance(ratio, float)
            assert kept_width(width, ratio) == drawn[f"keep_{index}"]
        assert plan.prune_ratios[3] is None
        pair = plan.prune_ratios[4]
        assert isinstance(pair, tuple)
        assert kept_width(64, pair[0]) == drawn["keep_4_box"]
        assert kept_width(80, pair[1]) == drawn["keep_4_cls"]


def test_protected_indices_are_never_asked_for(tmp_path: Path) -> None:
    space = _space(tmp_path, "default: {step: 8}", protect=(0, 4))
    asked: list[str] = []
    plan = space.draw(lambda name, widths: asked.append(name) or widths[0])
    assert asked == ["keep_1", "keep_2"]
    assert plan.prune_ratios[0] == 0.0
    assert plan.prune_ratios[4] == (0.0, 0.0)


@pytest.mark.parametrize(
    ("text", "needle"),
    [
        ("default: {step: 0}", "default.step"),
        ("default: {max_ratio: 1.0}", "default.max_ratio"),
        ("default: {max_ratio: '0.5x'}", "default.max_ratio"),
        ("layer: {}", "layer"),
        ("layers: {9: {step: 8}}", "layers.9"),
        ("layers: {2: [{step: 8}, {step: 8}]}", "layers.2"),
        ("layers: {2: {kept: []}}", "layers.2"),
        ("layers: {two: {step: 8}}", "layers.two"),
        ("default: {max_ratio: 0}", "no index with a choice"),
        ("round_to: 0", "round_to"),
    ],
)
def test_a_wrong_space_is_refused_with_file_and_key(tmp_path: Path, text: str, needle: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _space(tmp_path, text)
    message = str(caught.value)
    assert "space.yaml" in message
    assert needle in message
    assert "\n" not in message


def test_the_shipped_spaces_load_on_every_width() -> None:
    for path in SHIPPED.glob("*.yaml"):
        space = SearchSpace.load(path, {0: (80,), 1: (160,), 2: (), 3: (64, 100)})
        assert all(offered[-1] > 0 for offered in space.choices.values())


def test_widths_that_round_to_would_change_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("layers: {0: {kept: [20, 32]}}\n")
    with pytest.raises(ConfigError, match=r"layers\.0: got .*20.*round_to \(8\)"):
        SearchSpace.load(path, {0: (32,), 1: (64,)})
    path.write_text("round_to: 1\nlayers: {0: {kept: [20, 32]}}\n")
    assert SearchSpace.load(path, {0: (32,), 1: (64,)}).choices["keep_0"] == (20, 32)
