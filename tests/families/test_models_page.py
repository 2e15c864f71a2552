"""docs/models.md tells what the tests prove."""

from __future__ import annotations

import pytest

from tests.families.models_page import HEAD, PAGE, row
from tests.families.test_every_model import MODELS


def test_the_page_lists_exactly_the_proved_models() -> None:
    text = PAGE.read_text()
    assert text.startswith(HEAD)
    rows = text.removeprefix(HEAD).splitlines()
    assert [line.split("|")[1].strip() for line in rows] == MODELS


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n", "yolo12n"])
def test_a_row_is_what_the_engine_finds(name: str) -> None:
    assert row(name) in PAGE.read_text()
