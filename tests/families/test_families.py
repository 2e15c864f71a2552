"""Which family a model belongs to: the first that knows it, or one line that says why none does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from autoprune import families
from autoprune.domain.table import Table
from autoprune.errors import AutopruneError, UnsupportedModel
from autoprune.families import FAMILIES, Family, family_of, space_file

YOLOV8 = FAMILIES.row("yolov8", "test")


class Plain(nn.Module):
    """Not of YOLOv8's kind."""


def _plain_groups(model: nn.Module) -> list[object]:
    if not isinstance(model, Plain):
        raise UnsupportedModel(f"got {type(model).__name__}, expected Plain")
    return []


PLAIN = replace(YOLOV8, name="plain", channel_groups=_plain_groups)


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table("autoprune.no_families", Family, [YOLOV8, PLAIN])
    monkeypatch.setattr(families, "FAMILIES", table)


def test_the_only_familys_refusal_is_passed_on_as_it_is() -> None:
    with pytest.raises(UnsupportedModel, match=r"^got Plain, expected an Ultralytics YOLOv8"):
        family_of(Plain())


def test_the_first_family_that_knows_a_model_is_its_own(two: None) -> None:
    assert family_of(Plain()).name == "plain"
    assert family_of(YOLOV8.example()).name == "yolov8"


def test_where_no_family_knows_it_each_says_why(two: None) -> None:
    said = r"yolov8: got Linear.*; plain: got Linear"
    with pytest.raises(UnsupportedModel, match=said) as caught:
        family_of(nn.Linear(1, 1))
    assert "\n" not in str(caught.value)


def test_a_search_space_is_a_shipped_one_or_a_path(tmp_path: Path) -> None:
    assert space_file(YOLOV8).name == "yolov8.yaml"
    own = tmp_path / "own.yaml"
    with pytest.raises(AutopruneError, match="missing"):
        space_file(replace(YOLOV8, space=own))
    own.write_text("default: {step: 8}")
    assert space_file(replace(YOLOV8, space=own)) == own
