"""Reading values off the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoprune.cli.arguments import class_list, image_size, layer_indices, split_overrides
from autoprune.cli.recipe import study_config
from autoprune.errors import ConfigError


def test_pairs_are_typed_and_a_bare_number_is_the_width() -> None:
    pairs, width = split_overrides(["320", "epochs=5", "lr0=1e-3", "optimizer=SGD", "device=0"])
    assert pairs == {"epochs": 5, "lr0": 0.001, "optimizer": "SGD", "device": 0}
    assert width == 320


@pytest.mark.parametrize("tokens", [["three"], ["=3"], ["160", "320"], ["-1"]])
def test_anything_else_is_refused(tokens: list[str]) -> None:
    with pytest.raises(ConfigError, match="key=value"):
        split_overrides(tokens)


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("160", None, (160,)),
        ("160", 320, (160, 320)),
        ("160x320", None, (160, 320)),
        ("160 320", None, (160, 320)),
        ("160,320", None, (160, 320)),
        (None, None, None),
    ],
)
def test_image_sizes_are_one_side_or_height_and_width(
    text: str | None, width: int | None, expected: tuple[int, ...] | None
) -> None:
    assert image_size(text, width) == expected


@pytest.mark.parametrize(("text", "width"), [("a", None), ("1,2,3", None), ("", None), (None, 5)])
def test_other_image_sizes_are_refused(text: str | None, width: int | None) -> None:
    with pytest.raises(ConfigError):
        image_size(text, width)


def test_classes_are_ids_or_names() -> None:
    assert class_list("0, 2") == (0, 2)
    assert class_list("person,car,3") == ("person", "car", 3)
    assert class_list(None) is None


def test_indices_are_comma_separated_numbers() -> None:
    assert layer_indices("0, 22,") == (0, 22)
    assert layer_indices(None) is None
    with pytest.raises(ConfigError, match="layer indices"):
        layer_indices("0;22")


@pytest.mark.parametrize("written", ["classes: 0,2", "classes: [0, 2]", "classes: '0, 2'"])
def test_a_recipe_names_classes_as_the_flag_does(written: str, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"speedup: 2\n{written}\n")
    given = {"goals": {}, "flags": {}, "fine_tune": {}}
    assert study_config(recipe, **given).classes == (0, 2)
    recipe.write_text("speedup: 2\nclasses: 3\n")
    assert study_config(recipe, **given).classes == (3,)
