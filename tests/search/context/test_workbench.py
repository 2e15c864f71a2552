"""What a study measures with."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from autoprune.search.context import workbench
from autoprune.search.context.workbench import Measured
from tests.search.fakes import latency


def test_one_export_is_timed_in_as_many_processes_as_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported: list[Path] = []
    times = iter((4.9, 4.7, 4.8, 5.0))
    bench: Any = SimpleNamespace(
        dense_export="dense",
        dense_latency=latency(10.0),
        target=None,
        options=None,
        timing=None,
        export=lambda _, folder: exported.append(folder),
    )
    monkeypatch.setattr(workbench, "measure_against", lambda *_: latency(next(times)))
    found = Measured.measure(bench, nn.Identity(), tmp_path / "trial", 3)
    assert len(exported) == 1
    assert (found.low_ms, found.median_ms, found.high_ms) == (4.7 * 0.99, 4.8, 4.9 * 1.01)
    assert Measured.measure(bench, nn.Identity(), tmp_path / "trial") == latency(5.0)
    assert list((tmp_path / "trial").iterdir()) == []
