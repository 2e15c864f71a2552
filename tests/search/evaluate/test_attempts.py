"""Deaths are counted, ends of any other kind are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoprune.search.evaluate.attempts import MAX_ATTEMPTS, attempt


def _die(folder: Path) -> None:
    """Enter and never leave, as a killed process does."""
    entered = attempt(folder)
    assert entered.__enter__() is True
    _LEFT.append(entered)  # else its generator would be closed, which is a clean end


_LEFT: list[object] = []


def test_a_candidate_that_took_workers_down_is_refused(tmp_path: Path) -> None:
    for _ in range(MAX_ATTEMPTS):
        _die(tmp_path)
    with attempt(tmp_path) as allowed:
        assert not allowed


def test_a_clean_end_an_error_and_an_interruption_count_nothing(tmp_path: Path) -> None:
    _die(tmp_path)
    for error in (None, ValueError, KeyboardInterrupt):
        if error is None:
            with attempt(tmp_path) as allowed:
                assert allowed
            continue
        for _ in range(MAX_ATTEMPTS + 1):
            with pytest.raises(error), attempt(tmp_path):
                raise error
    assert list(tmp_path.iterdir()) == []
