"""`autoprune probe` at the terminal: what it shows, and its exit codes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from autoprune import api
from autoprune.cli.main import app
from autoprune.domain.space import SearchSpace
from autoprune.latency.predictor import PredictorError
from autoprune.search.feasibility.decide import verdict_of
from autoprune.search.feasibility.other_runtimes import RuntimeTime
from autoprune.search.feasibility.probe import ProbeResult
from autoprune.search.learn.stairs import IndexStairs, wasted_channels
from tests.search.fakes import latency, limit, option

WIDTHS, RATIOS = (32, 48, 56, 64), (0.9, 0.95, 1.0, 1.0)
FLOOR = option("floor", "floor: all at strongest", 4.0, params=1_500_000, removed=0.7)
FOUND = ProbeResult(
    imgsz=(64, 64),
    dense=latency(10.0),
    limit_ms=5.0,
    block=16,
    error=PredictorError(mape=0.02, spearman=0.99, plans=48),
    stairs=IndexStairs(
        "keep_3", WIDTHS, RATIOS, tuple(wasted_channels(np.array(WIDTHS), np.array(RATIOS)))
    ),
    step_space=SearchSpace({0: (32,)}, {"keep_0": (16, 32)}, 8),
    verdict=verdict_of(limit(5.0), latency(10.0), [FLOOR, option("sibling", "yolov8n", 3.0)]),
    seconds=60.0,
)


def _probe(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["probe", *arguments], env={"COLUMNS": "200"})


def test_the_page_holds_times_stairs_and_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "probe", lambda *_, **__: FOUND)
    said = _probe("--budget-ms", "5")
    assert said.exit_code == 0
    lines = said.output.splitlines()
    (floor,) = [line.split() for line in lines if line.lstrip().startswith("floor:")]
    assert floor[-7:] == ["4.00", "3.96", "-", "4.04", "40%", "1.50", "-70%"]
    rows = {line.split()[0]: line.split() for line in lines if line.strip()[:2].isdecimal()}
    assert [rows[str(width)][-1] for width in (32, 48, 64)] == ["step"] * 3
    assert " ".join(rows["56"][3:]) == "wasted: 64 cost the same"
    assert len(rows["64"][2]) > len(rows["48"][2]) > len(rows["32"][2])
    assert "5 ms is reachable by pruning, about 70% of channels" in said.output


def test_a_stock_export_has_its_row_and_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "stock export" not in _page(monkeypatch, FOUND)
    stock = option("stock export", "stock export", 11.5, params=3_200_000)
    verdict = verdict_of(limit(5.0), FOUND.dense, [FLOOR, stock])
    page = _page(monkeypatch, replace(FOUND, verdict=verdict))
    (row,) = [line.split() for line in page.splitlines() if line.strip().startswith("stock export")]
    assert row[2:] == ["11.50", "11.38", "-", "11.62", "115%", "3.20"]
    assert "The stock export is the dense model without autoprune's rewrites" in page


def test_a_runtime_that_needs_no_pruning_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    fast, slow = (RuntimeTime(name, "fp32", latency(ms)) for name, ms in (("a", 4.0), ("b", 9.0)))
    absent = RuntimeTime("c", "fp32", None, "c is not on the target: pip install c")
    page = _page(monkeypatch, replace(FOUND, runtimes=(fast, slow, absent)))
    (row,) = [line.split() for line in page.splitlines() if line.strip().startswith("dense, a")]
    assert row[-5:] == ["4.00", "3.96", "-", "4.04", "40%"]
    assert "--runtime a meets the limit without pruning: 4.00 ms." in page
    assert "--runtime b runs the dense model in 90% of the time." in page
    assert "Not timed: c is not on the target: pip install c" in page
    assert "not interleaved" in page
    assert "--runtime" not in _page(monkeypatch, FOUND)


def _page(monkeypatch: pytest.MonkeyPatch, result: ProbeResult) -> str:
    monkeypatch.setattr(api, "probe", lambda *_, **__: result)
    return _probe("--budget-ms", "5").output


def test_a_limit_out_of_reach_exits_with_3(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = verdict_of(limit(2.0), FOUND.dense, [FLOOR])
    monkeypatch.setattr(api, "probe", lambda *_, **__: replace(FOUND, verdict=verdict))
    said = _probe("--budget-ms", "2")
    assert said.exit_code == 3
    assert "not reachable by pruning" in said.output


@pytest.mark.parametrize(
    ("arguments", "needle"),
    [
        (["--imgsz", "100"], "imgsz"),
        (["--imgsz", "big"], "--imgsz: got 'big'"),
        (["--model", "missing.pt"], "missing.pt"),
        (["--runtime", "tensorrt"], "runtime"),
        (["--target", "adb://phone"], "--target"),
        (["--budget-ms", "5", "--speedup", "2"], "budget_ms and speedup"),
        (["--protect", "x"], "--protect"),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(arguments: list[str], needle: str) -> None:
    said = _probe(*arguments)
    assert said.exit_code == 2
    assert needle in said.output
    assert len(said.output.strip().splitlines()) == 1


def test_a_space_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    taken = tmp_path / "space.yaml"
    taken.write_text("mine")
    said = _probe("--write-space", str(taken))
    assert said.exit_code == 2
    assert taken.read_text() == "mine"


def test_help_names_every_option() -> None:
    said = _probe("--help").output
    for name in ("--model", "--budget-ms", "--speedup", "--imgsz", "--target", "--write-space"):
        assert name in said
