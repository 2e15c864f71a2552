"""A bundle in the making: one request, steps kept whole, one process."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoprune.errors import ConfigError
from autoprune.shipping.workshop import Workshop

REQUEST = {"model": "abc", "imgsz": (64, 96), "fine_tune": {}}


def test_a_step_is_known_to_the_next_run_of_the_same_request(tmp_path: Path) -> None:
    shop = Workshop(tmp_path / "bundle", REQUEST)
    with shop.opened():
        assert shop.done("export") is None
        shop.finish("export", {"exporter": "dynamo"})
    again = Workshop(tmp_path / "bundle", REQUEST)
    with again.opened():
        assert again.done("export") == {"exporter": "dynamo"}
    again.close()
    assert list(again.output.iterdir()) == []


def test_another_request_is_refused_with_what_differs(tmp_path: Path) -> None:
    with Workshop(tmp_path, REQUEST).opened():
        pass
    other = Workshop(tmp_path, {**REQUEST, "model": "abd"})
    expected = r"unfinished bundle of another request \(model: \"abc\" -> \"abd\"\)"
    with pytest.raises(ConfigError, match=expected), other.opened():
        pass


def test_a_step_of_another_request_does_not_count(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, REQUEST)
    with shop.opened():
        shop.finish("export", {})
    text = (shop.work / "export.json").read_text().replace(shop.key, "0" * 16)
    (shop.work / "export.json").write_text(text)
    assert shop.done("export") is None


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    with Workshop(tmp_path, REQUEST).opened():
        expected = "another process is at work there"
        with pytest.raises(ConfigError, match=expected), Workshop(tmp_path, REQUEST).opened():
            pass
