"""What could be run instead: the pruned ones always, the others as time goes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from autoprune.search.feasibility import alternatives
from autoprune.search.feasibility.alternatives import timed_options
from tests.search.fakes import latency


def _row(name: str) -> tuple[Any, ...]:
    return "sibling", name, None, None, nn.Identity()


@pytest.mark.parametrize(
    ("most_s", "names"),
    [
        (1e6, ["floor", "plan", "first", "second"]),
        (10.5, ["floor", "plan", "first"]),  # each that is timed beside the others costs 2.5 s
        (0.0, ["floor", "plan"]),
    ],
)
def test_siblings_and_sizes_are_timed_as_far_as_they_are_worth_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_s: float, names: list[str]
) -> None:
    pruned, others = [_row("floor"), _row("plan")], [_row("first"), _row("second")]
    monkeypatch.setattr(alternatives, "_pruned", lambda *_: iter(pruned))
    monkeypatch.setattr(alternatives, "_others", lambda *_: iter(others))
    monkeypatch.setattr(alternatives, "models_at_once", lambda dense: 2)
    monkeypatch.setattr(
        alternatives, "compare", lambda _, part, *rest: [latency(5.0) for _ in part]
    )
    bench: Any = SimpleNamespace(
        dense_export="dense",
        dense_latency=latency(10.0),
        export=lambda module, folder, rewritten: folder.name,
        target=None,
        options=None,
    )
    predictor: Any = None
    _, options = timed_options(
        bench, predictor, 5.0, tmp_path, worth=lambda cost_s: cost_s <= most_s
    )
    assert [option.name for option in options] == names


@pytest.mark.parametrize(("rewrites", "most_s"), [(True, 1e6), (True, 0.0), (False, 1e6)])
def test_the_stock_export_comes_last_without_rewrites_and_only_where_there_are_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rewrites: bool, most_s: float
) -> None:
    asked: list[bool] = []

    def exported(module: nn.Module, folder: Path, rewritten: bool) -> str:
        asked.append(rewritten)
        return folder.name

    model = nn.Conv2d(3, 4, 1)
    model.stride = torch.tensor([32.0])
    monkeypatch.setattr(alternatives, "_pruned", lambda *_: iter([_row("floor")]))
    monkeypatch.setattr(alternatives, "smaller_siblings", lambda *_: [("smaller", nn.Identity())])
    monkeypatch.setattr(alternatives, "models_at_once", lambda dense: 9)
    monkeypatch.setattr(
        alternatives, "compare", lambda _, part, *rest: [latency(5.0) for _ in part]
    )
    bench: Any = SimpleNamespace(
        dense_export="dense",
        dense_latency=latency(10.0),
        pruner=SimpleNamespace(model=model),
        imgsz=(64, 64),
        export=exported,
        target=None,
        options=SimpleNamespace(row=SimpleNamespace(rewritten=rewrites)),
    )
    predictor: Any = None
    _, options = timed_options(
        bench, predictor, 5.0, tmp_path, worth=lambda cost_s: cost_s < most_s
    )
    kinds = [option.kind for option in options]
    others = ["sibling", "image size", *(["stock export"] if rewrites else [])]
    assert kinds[1:] == (others if most_s else [])
    assert asked == [kind != "stock export" for kind in kinds]
    if kinds[-1] == "stock export":
        assert options[-1].params == sum(each.numel() for each in model.parameters())


@pytest.mark.parametrize("apart", [True, False])
def test_the_plan_is_timed_by_itself_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apart: bool
) -> None:
    plan = ("plan", "plan", 0.5, None, nn.Identity())
    together: list[int] = []

    def compare(_: Any, part: list[Any], *rest: Any) -> list[Any]:
        together.append(len(part))
        return [latency(5.0) for _ in part]

    monkeypatch.setattr(alternatives, "_pruned", lambda *_: iter([_row("floor"), plan]))
    monkeypatch.setattr(alternatives, "_others", lambda *_: iter([_row("first")]))
    monkeypatch.setattr(alternatives, "models_at_once", lambda dense: 9)
    monkeypatch.setattr(alternatives, "compare", compare)
    bench: Any = SimpleNamespace(
        dense_export="dense",
        dense_latency=latency(10.0),
        export=lambda module, folder, rewritten: folder.name,
        target=None,
        options=None,
    )
    predictor: Any = None
    alone = (lambda module: latency(4.0)) if apart else None
    _, options = timed_options(bench, predictor, 5.0, tmp_path, alone=alone)
    assert [option.name for option in options] == ["floor", "plan", "first"]
    assert [option.latency.median_ms for option in options] == [5.0, 4.0 if apart else 5.0, 5.0]
    assert together == [3 if apart else 4]
