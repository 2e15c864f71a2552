"""The space of a search without --space: on the target's steps, the same for all its runs."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from autoprune.domain.config import StudyConfig
from autoprune.domain.goal import Goal
from autoprune.domain.outcome import Outcome
from autoprune.domain.record import TrialRecord
from autoprune.domain.space import SearchSpace
from autoprune.errors import StudyMismatch
from autoprune.evaluation.checkpoint import load_yolo
from autoprune.evaluation.fine_tune_settings import FineTuneSettings
from autoprune.families import FAMILIES, space_file
from autoprune.latency.features import WORK, Staircase, shared_costs
from autoprune.latency.options import RuntimeOptions
from autoprune.latency.predictor import LatencyPredictor, PredictorError
from autoprune.pruning.prune import Pruner
from autoprune.pruning.trace_geometry import model_geometry
from autoprune.search import run
from autoprune.search.context.budget import Budget
from autoprune.search.context.journal import Journal
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.prepare import completed
from autoprune.search.context.workbench import Calibrated, Informed
from autoprune.search.evaluate import trials
from autoprune.search.evaluate.candidate import Candidate
from autoprune.search.learn import predicting, target_space
from autoprune.search.learn.earlier import earlier_studies
from autoprune.search.learn.stairs import space_text
from autoprune.search.learn.target_space import with_target_space
from autoprune.search.run import Prepared, run_search
from autoprune.storage.study_folder import StudyFolder
from tests.search.fakes import DENSE, FakeEvaluation, Heard, latency, scored

IMGSZ = (64, 64)
SHIPPED = space_file(FAMILIES.row("yolov8", "test"))


@pytest.fixture(scope="module")
def pruner() -> Pruner:
    return Pruner(load_yolo("yolov8n.yaml").model, "l2_bn")


def _predictor(pruner: Pruner, block: int, price: float = 1.0) -> LatencyPredictor:
    """Multiplications cost time, outputs padded to whole blocks; nothing does at a price of 0."""
    geometry = model_geometry(pruner.model, pruner.groups, IMGSZ)
    costs, dense = shared_costs(geometry), np.array([geometry.widths])
    prices = np.zeros((len(WORK), len(geometry.convs)))
    prices[0] = costs[0][0] * price
    error = PredictorError(mape=0.02, spearman=0.99, plans=48)
    free = LatencyPredictor(geometry, Staircase(block, False, 1), prices, 0.0, error)
    total = float(free.predict(dense)[0]) or 1.0
    return replace(free, prices=prices / total * 0.9, constant=0.1)


def _bench(root: Path, pruner: Pruner, **asked: Any) -> Calibrated:
    """A bench whose model is real; what a test does not use is missing."""
    values = {"goal": {"kind": "budget_ms", "value": 5.0}, "trials": 5, "name": "study", **asked}
    config = StudyConfig.of(values, "test")
    missing: Any = None
    data: Any = SimpleNamespace(overlap=0, selection_images=(), train=())
    root.mkdir(parents=True, exist_ok=True)
    return Calibrated(
        config=config,
        demo=False,
        folder=StudyFolder(root),
        yolo=SimpleNamespace(model=pruner.model),
        base_hash="0" * 12,
        pruner=pruner,
        space=SearchSpace.load(
            config.space or SHIPPED,
            pruner.widths,
            config.protect,
        ),
        data=data,
        imgsz=IMGSZ,
        recalibration_images=(),
        full_range=False,
        fine_tune=FineTuneSettings(),
        device="cpu",
        target=missing,
        options=RuntimeOptions("onnxruntime", IMGSZ),
        timing=missing,
        calibration=None,
        kept_classes=None,
        dense_export=missing,
        dense=DENSE,
        dense_latency=latency(10.0),
        limit=config.goal.against(DENSE),
        earlier=(),
    )


def _narrowed(bench: Calibrated, block: int = 16, price: float = 1.0) -> tuple[Informed, list[str]]:
    heard = Heard()
    predictor = _predictor(bench.pruner, block, price)
    return with_target_space(bench.grown(Informed, predictor=predictor), heard), heard.said


def test_without_a_space_the_widths_are_those_on_the_targets_steps(
    pruner: Pruner, tmp_path: Path
) -> None:
    bench, said = _narrowed(_bench(tmp_path, pruner, protect=[4]), block=32)
    assert bench.space.choices["keep_4"] == (64,)
    assert bench.space.choices["keep_7"] == (64, 96, 128, 160, 192, 224, 256)
    count = sum(len(offered) for offered in bench.space.choices.values())
    assert said == [
        f"Widths on offer: those on this target's steps of 32 channels, {count} in all"
        f" ({tmp_path / 'space.yaml'})."
    ]
    assert SearchSpace.load(bench.folder.space, pruner.widths) == bench.space
    other, _ = _narrowed(_bench(tmp_path / "other", pruner), block=8)
    assert 72 in other.space.choices["keep_7"]


def test_a_space_that_was_asked_for_stays_as_it_is(pruner: Pruner, tmp_path: Path) -> None:
    before = _bench(tmp_path, pruner, space=SHIPPED)
    after, said = _narrowed(before)
    assert after.space == before.space
    assert said == []
    assert not before.folder.space.exists()


def test_where_no_width_saves_time_all_widths_stay(pruner: Pruner, tmp_path: Path) -> None:
    before = _bench(tmp_path, pruner)
    after, _ = _narrowed(before, price=0.0)
    assert after.space == before.space


def test_odd_bytes_in_a_devices_name_do_not_spoil_the_file(pruner: Pruner, tmp_path: Path) -> None:
    space = _bench(tmp_path, pruner).space
    path = tmp_path / "space.yaml"
    path.write_text(space_text(space, "a\x00b\x1b[1m\u2028layers: {}\x85x: 1\rround_to: 3"))
    assert SearchSpace.load(path, pruner.widths) == space


def test_the_space_left_open_stays_open_in_what_was_asked() -> None:
    config = completed(StudyConfig(goal=Goal(kind="budget_ms", value=5)), Path("a.pt"), "a")
    assert config.space is None


# -- whole searches, with invented scores ------------------------------------------------------


class Study:
    """Runs searches on one folder; latency is learned and scores are given without a model."""

    def __init__(self, root: Path, pruner: Pruner, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.pruner = root, pruner
        root.mkdir(exist_ok=True)
        (root / "study.yaml").write_text("asked: {}\n")
        self.learned: list[LatencyPredictor] = []
        self.spaces: list[SearchSpace] = []
        self.die_at: int | None = None
        self.answer: Callable[[Candidate], TrialRecord] | None = None
        self.blocks = iter((16, 32, 8))  # what a second learning would find
        made_up = {
            "dense": self._measured,
            "calibration": lambda bench, *_: bench,
            "fine-tunes": lambda bench, *_: bench,
            "finish": lambda bench, *_: bench,
            "longer fine-tune": lambda *_: Outcome(status="finished"),
        }
        steps = [replace(step, run=made_up.get(step.stage.name, step.run)) for step in run.STEPS]
        monkeypatch.setattr(run, "STEPS", steps)
        monkeypatch.setattr(predicting, "learn_latency", self._learn)
        monkeypatch.setattr(run, "say_verdict", self._verdict)
        monkeypatch.setattr(run, "Costs", lambda *_: SimpleNamespace(training_s=0.0))
        monkeypatch.setattr(trials, "evaluate_untrained", self._evaluate)

    def search(self) -> None:
        checked = _bench(self.root, self.pruner)
        journal = Journal(checked.folder, SearchListener(), Budget(None))
        run_search(Prepared(checked, journal), SearchListener())

    def _measured(self, bench: Calibrated, *_: Any) -> Calibrated:
        found = earlier_studies(bench, bench.dense_latency.fingerprint)
        return bench.grown(Calibrated, earlier=tuple(found))

    def plans(self) -> list[dict[str, Any]]:
        return [record.plan for record in StudyFolder(self.root).trial_records()]

    def _learn(self, bench: Calibrated, *_: Any) -> LatencyPredictor:
        time.sleep(0.1)  # long enough for another worker to come
        self.learned.append(_predictor(bench.pruner, next(self.blocks)))
        return self.learned[-1]

    def _verdict(self, bench: Informed, *_: Any) -> Informed:
        self.spaces.append(bench.space)
        return bench

    def _evaluate(self, bench: Any, candidate: Any, *rest: Any) -> Any:
        if candidate.number == self.die_at:
            self.die_at = None
            raise KeyboardInterrupt
        return FakeEvaluation(self.answer)(bench, candidate, *rest)


def test_an_interrupted_study_goes_on_with_the_same_widths_and_the_same_plans(
    pruner: Pruner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Study(tmp_path / "whole", pruner, monkeypatch)
    whole.search()
    parts = Study(tmp_path / "parts", pruner, monkeypatch)
    parts.die_at = 3
    with pytest.raises(KeyboardInterrupt):
        parts.search()

    def afresh(*_: Any) -> None:
        raise AssertionError("the widths were found anew")

    monkeypatch.setattr(target_space, "on_steps", afresh)
    parts.search()
    assert len(parts.learned) == 1
    assert parts.spaces == [*whole.spaces, *whole.spaces]
    assert len(whole.plans()) == 5
    assert parts.plans() == whole.plans()
    offered = whole.spaces[0].choices
    for plan in (record.pruning_plan() for record in StudyFolder(whole.root).trial_records()):
        for index, kept in pruner.kept_widths(plan).items():
            if len(kept) == 1:
                assert kept[0] in offered[f"keep_{index}"]


def test_two_workers_that_start_together_have_the_same_widths(
    pruner: Pruner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Enough(Exception):
        pass

    study = Study(tmp_path, pruner, monkeypatch)

    def stop(*_: Any) -> None:
        raise Enough

    monkeypatch.setattr(run, "open_study", stop)

    def work() -> None:
        with suppress(Enough):
            study.search()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    first, second = study.spaces
    assert first == second
    assert len(study.learned) == 1


def test_a_changed_space_yaml_is_refused_before_any_trial(
    pruner: Pruner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study(tmp_path, pruner, monkeypatch)
    study.search()
    before = study.plans()
    path = tmp_path / "space.yaml"
    path.write_text(path.read_text().replace("  7: {kept: [64, ", "  7: {kept: ["))
    with pytest.raises(StudyMismatch, match=r"space\.yaml: not the widths .*--space and --name"):
        study.search()
    assert study.plans() == before


def test_another_goal_takes_over_widths_predictor_and_plans(
    pruner: Pruner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Study(tmp_path / "first", pruner, monkeypatch)
    first.answer = lambda each: scored(each.number or 0, 5.0, 0.5, plan=each.plan)
    first.search()
    StudyFolder(first.root).save_record(DENSE)
    (first.root / "study.yaml").write_text("asked: {goal: another}\n")
    broken = StudyFolder(tmp_path / "broken")  # the first to be asked; its trials are fine
    shutil.copytree(first.root, broken.root)
    broken.predictor.write_text("{}")
    second = Study(tmp_path / "second", pruner, monkeypatch)
    second.search()
    assert second.learned == []
    assert second.spaces == first.spaces
    known = [r for r in StudyFolder(first.root).trial_records() if r.same_as is None]
    records = StudyFolder(second.root).trial_records()
    assert known
    assert [r.taken_from for r in records[: len(known)]] == [f"broken/{r.name}" for r in known]
    assert [r.plan for r in records[: len(known)]] == [r.plan for r in known]
    assert len(records) == len(known) + 5
