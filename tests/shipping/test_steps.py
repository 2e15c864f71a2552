"""The steps of `autoprune apply`, one at a time."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from autoprune.api.pruning import prune_detection_model
from autoprune.demo.bundle import demo_checkpoint
from autoprune.demo.dataset import Split, write_detection_set
from autoprune.domain.card import FineTuneScores
from autoprune.evaluation.checkpoint import load_yolo
from autoprune.evaluation.dataset import inspect_data
from autoprune.pruning.prune import uniform_plan, widths_of
from autoprune.shipping import steps
from autoprune.shipping.request import Limits
from autoprune.shipping.run import widths_checked
from autoprune.shipping.workshop import Workshop
from tests.search.fakes import latency


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """What the steps need of a Ready, and the pruned weights."""
    folder = tmp_path_factory.mktemp("steps")
    data = write_detection_set(folder / "set", {"train": Split(1, 2), "val": Split(2, 6)})
    dense = load_yolo(demo_checkpoint()).model
    plan = uniform_plan(widths_of(dense), 0.04)
    plan.save(folder / "plan.yaml")
    pruned = prune_detection_model(str(demo_checkpoint()), prune_yaml=folder / "plan.yaml")
    pruned.save(folder / "start.pt")
    ready = SimpleNamespace(
        train_args={"epochs": 3},
        dense=dense,
        plan=plan,
        data=inspect_data(data),
        imgsz=(192, 192),
        device="cpu",
        request=SimpleNamespace(config=SimpleNamespace(trust_checkpoint=False)),
    )
    return ready, folder / "start.pt"


@pytest.mark.parametrize("harm", [False, True])
def test_a_fine_tune_that_makes_a_model_worse_does_not_ship(
    harm: bool, begun: tuple[Any, Path], tmp_path: Path
) -> None:
    ready, start = begun
    trained = []

    def tune(model: Any, _: Path) -> Any:
        trained.append(model)
        if harm:
            with torch.no_grad():
                model.model.model[0].conv.weight.mul_(-1)
        return model

    shop = Workshop(tmp_path / "bundle", {"plan": "one"})
    with shop.opened():
        (shop.work / "start.pt").write_bytes(start.read_bytes())
        hands: Any = SimpleNamespace(tune=tune)
        file, found = steps.fine_tune(ready, shop, hands)
        assert steps.fine_tune(ready, shop, hands) == (file, found)
    assert found is not None
    assert found.before > 0.2
    assert (found.after < found.before) == harm
    assert file.name == ("start.pt" if harm else "trained.pt")
    assert len(trained) == 1, "a finished training is not repeated"


def test_without_a_fine_tune_nothing_is_compared(tmp_path: Path) -> None:
    shop = Workshop(tmp_path / "bundle", {})
    ready: Any = SimpleNamespace(train_args={})
    assert steps.fine_tune(ready, shop, SimpleNamespace()) == (shop.work / "start.pt", None)  # type: ignore[arg-type]


def test_equal_scores_keep_what_was_trained() -> None:
    assert FineTuneScores(before=0.5, after=0.5).kept
    assert not FineTuneScores(before=0.5, after=0.499).kept


def test_the_card_speaks_of_training_only_where_what_was_trained_ships() -> None:
    assert "after training" in widths_checked(FineTuneScores(before=0.5, after=0.6))
    for tuned in (None, FineTuneScores(before=0.5, after=0.4)):
        assert "after training" not in widths_checked(tuned)


@pytest.mark.parametrize(
    ("limits", "processes"),
    [
        (Limits(budget_ms=5.0), 6),  # 4.97 ms may be 5.02
        (Limits(budget_ms=5.1), 3),
        (Limits(budget_ms=4.9), 3),
        (Limits(speedup=2.0), 6),
        (Limits(max_drop=1.0), 3),
    ],
)
def test_more_processes_decide_where_three_leave_the_limit_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: Limits, processes: int
) -> None:
    monkeypatch.setattr(steps, "measure_dense", lambda *_: latency(10.0))
    monkeypatch.setattr(steps, "measure_against", lambda *_: latency(4.97))
    ready: Any = SimpleNamespace(target=None, options=None, request=SimpleNamespace(limits=limits))
    shop, file = Workshop(tmp_path / "bundle", {"plan": "one"}), SimpleNamespace()
    with shop.opened():
        found = steps.measure(ready, shop, file, file)  # type: ignore[arg-type]
    assert found[1].processes == processes
