"""A study without models: a fake bench, and evaluations that are functions of the plan."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna

from autoprune.domain.config import StudyConfig
from autoprune.domain.goal import Goal, Limit, Standing
from autoprune.domain.plan import PruningPlan, as_ratios, kept_width
from autoprune.domain.record import (
    SHORT,
    UNTRAINED,
    DetectionMetrics,
    Failure,
    Fingerprint,
    LatencyResult,
    ModelSize,
    RungScore,
    TrialRecord,
)
from autoprune.domain.space import SearchSpace
from autoprune.domain.stages import TRIALS, Stage
from autoprune.domain.verdict import Option, OptionKind
from autoprune.evaluation.fine_tune_settings import FineTuneSettings
from autoprune.latency.options import RuntimeOptions
from autoprune.search.context.budget import Allowance, Budget
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.optuna_inside import folder_storage
from autoprune.search.evaluate.candidate import Candidate
from autoprune.search.evaluate.trials import TrialLoop
from autoprune.search.evaluate.workers import Here
from autoprune.search.learn.profile import Profile
from autoprune.search.propose.objectives import OBJECTIVES
from autoprune.search.propose.samplers import Known
from autoprune.search.propose.study_sampler import study_sampler
from autoprune.storage.study_folder import StudyFolder

WIDTHS: dict[int, tuple[int, ...]] = {0: (32,), 1: (64,), 2: (), 3: (64, 64)}
FINGERPRINT = Fingerprint(
    runtime="onnxruntime",
    runtime_version="1",
    provider="CPUExecutionProvider",
    threads=1,
    cpu="fake",
    isa="avx2",
    system="Linux x86_64",
    imgsz=(64, 64),
    batch=1,
    runner_version=1,
)


def latency(ms: float, dense_ms: float = 10.0) -> LatencyResult:
    """A steady result with an interval of +-1 %."""
    return LatencyResult(
        median_ms=ms,
        p90_ms=ms * 1.1,
        low_ms=ms * 0.99,
        high_ms=ms * 1.01,
        ratio=ms / dense_ms,
        ratio_low=ms / dense_ms * 0.99,
        ratio_high=ms / dense_ms * 1.01,
        dense_ms=dense_ms,
        blocks=8,
        steady=True,
        samples_ms=(ms,),
        dense_samples_ms=(dense_ms,),
        load_1min=None,
        fingerprint=FINGERPRINT,
    )


def limit(ms: float) -> Limit:
    """A latency goal against a dense model of 10 ms."""
    return Goal(kind="budget_ms", value=ms).against(DENSE)


def option(
    kind: OptionKind, name: str, ms: float, params: int = 1, removed: float | None = None
) -> Option:
    """Something that could be run instead of a dense model of 10 ms."""
    return Option(kind=kind, name=name, latency=latency(ms), params=params, removed=removed)


def score(map50_95: float, rung: int = SHORT) -> RungScore:
    """Scored right after pruning, or after one epoch."""
    metrics = DetectionMetrics(map50=map50_95, map50_95=map50_95, split="val", images=8)
    epochs = 0 if rung == UNTRAINED else 1
    return RungScore(rung=rung, epochs=epochs, images_seen=8 * epochs, seconds=1.0, metrics=metrics)


def record(
    name: str,
    ms: float | None,
    map50_95: float | None,
    *,
    kind: str = "trial",
    number: int | None = None,
    state: str = "complete",
    params: int = 1000,
    plan: PruningPlan | None = None,
    predicted: float | None = None,
    untrained: float | None = None,
    **given: Any,
) -> TrialRecord:
    """A record measured at `ms` and fine-tuned to `map50_95`, with the other numbers given.

    Without a plan it has one of its own.
    """
    plan = plan or PruningPlan({0: 0.0, 1: (number or 0) / 1000, 2: None, 3: (0.0, 0.0)})
    compared = UNTRAINED if kind == "dense" else SHORT
    rungs = [] if untrained is None else [score(untrained, UNTRAINED)]
    rungs += [] if map50_95 is None else [score(map50_95, compared)]
    return TrialRecord.model_validate(
        {
            "kind": kind,
            "name": name,
            "number": number,
            "state": state,
            "plan": plan.to_mapping(),
            "kept": {},
            "size": ModelSize(params=params, macs=params),
            "predicted_ms": predicted,
            "latency": None if ms is None else latency(ms),
            "rungs": tuple(rungs),
            "started": "2026-01-01T00:00:00+00:00",
            "seconds": 1.0,
            **given,
        }
    )


def scored(number: int, predicted: float, untrained: float, **given: Any) -> TrialRecord:
    """A trial that waits for promotion."""
    name = f"trial {number}"
    return record(
        name,
        None,
        None,
        number=number,
        state="scored",
        predicted=predicted,
        untrained=untrained,
        **given,
    )


DENSE = record("dense", 10.0, 0.8, kind="dense")


def kept_share(plan: PruningPlan) -> float:
    """A number in (0, 1] that falls with every channel removed."""
    ratios = [ratio for value in plan.prune_ratios.values() for ratio in as_ratios(value)]
    return 1 - sum(ratios) / len(ratios) * 0.9


class FakeEvaluation:
    """Stands in for `evaluate_untrained`: counts its calls, writes records as the real one does."""

    def __init__(self, answer: Callable[[Candidate], TrialRecord] | None = None) -> None:
        self.plans: list[dict[str, Any]] = []
        self.answer = answer or self.by_kept_share

    @staticmethod
    def by_kept_share(candidate: Candidate) -> TrialRecord:
        """Fewer channels are faster and less accurate; above 5 ms is over budget."""
        share = kept_share(candidate.plan)
        over = 10 * share > 5
        return record(
            candidate.name,
            None,
            None,
            number=candidate.number,
            state="over_budget" if over else "scored",
            params=int(1000 * share),
            plan=candidate.plan,
            predicted=10 * share,
            untrained=None if over else 0.8 * share,
        )

    def __call__(self, bench: Any, candidate: Candidate, listener: SearchListener) -> TrialRecord:
        self.plans.append(candidate.plan.to_mapping())
        made = self.answer(candidate)
        bench.folder.save_record(made)
        return made


def failed(candidate: Candidate) -> TrialRecord:
    """What an evaluation that ran out of memory leaves."""
    return record(
        candidate.name,
        None,
        None,
        number=candidate.number,
        state="failed",
        plan=candidate.plan,
        failure=Failure(reason="oom", detail="CUDA out of memory"),
    )


def signature(plan: PruningPlan) -> tuple[Any, ...]:
    """Equal for equal plans."""
    return tuple(sorted((index, str(value)) for index, value in plan.prune_ratios.items()))


def kept_widths(plan: PruningPlan) -> dict[int, tuple[int, ...]]:
    """Layer index -> kept widths, by the rule."""
    return {
        index: tuple(
            kept_width(width, ratio, plan.round_to)
            for width, ratio in zip(WIDTHS[index], as_ratios(ratios), strict=False)
        )
        for index, ratios in plan.prune_ratios.items()
    }


def fake_bench(root: Path, trials: int | None = 10, sampler: str = "profile", seed: int = 0) -> Any:
    """What a TrialLoop needs of an Informed study: a goal of 5 ms against DENSE's 10."""
    space_file = root / "space.yaml"
    root.mkdir(parents=True, exist_ok=True)
    space_file.write_text("default: {step: 8, max_ratio: 0.8}\n")
    config = StudyConfig.of(
        {
            "goal": Goal(kind="budget_ms", value=5.0),
            "trials": trials,
            "name": "fake",
            "sampler": sampler,
            "seed": seed,
        },
        "test",
    )
    folder = StudyFolder(root)
    bench = SimpleNamespace(
        config=config,
        options=RuntimeOptions("onnxruntime", (64, 64)),
        quantizes=False,
        kept_file=lambda folder: folder / "model.onnx",
        folder=folder,
        space=SearchSpace.load(space_file, WIDTHS),
        pruner=SimpleNamespace(signature=signature, kept_widths=kept_widths),
        predictor=SimpleNamespace(error=SimpleNamespace(mape=0.01)),
        device="cpu",
        data=SimpleNamespace(train=(), selection_images=(Path("a.png"),)),
        fine_tune=FineTuneSettings(),
        annotated=lambda plan: plan,
        trial_limit=trials,
        dense=DENSE,
        dense_latency=DENSE.latency,
        limit=config.goal.against(DENSE),
        earlier=(),
        records=lambda: [*folder.baseline_records(), *folder.trial_records()],
    )
    bench.grown = lambda stage, **more: SimpleNamespace(**{**vars(bench), **more})
    return bench


def with_goal(bench: Any, goal: Goal, dense: TrialRecord = DENSE) -> Any:
    """The bench with another goal."""
    bench.config = bench.config.model_copy(update={"goal": goal})
    bench.limit = goal.against(dense)
    return bench


class Heard(SearchListener):
    """Keeps what a search says."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.deadlines: list[float | None] = []
        self.bests: list[str | None] = []
        self.begun: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def deadline(self, seconds: float | None) -> None:
        self.deadlines.append(seconds)

    def result(self, record: TrialRecord, best: Standing | None) -> None:
        self.bests.append(best.name if best else None)

    def begins(self, stage: Stage) -> None:
        self.begun.append(stage.name)


def unlimited() -> Allowance:
    """All the time in the world."""
    return Budget(None).open(TRIALS)


def ending_in(seconds: float) -> Allowance:
    """A stage that has so long, of a search that has more; less than 0 is too late already."""
    budget = Budget(1e6)
    return Allowance(budget, budget.now() + seconds, budget.ends)


def too_late() -> Allowance:
    """A stage of a search whose time is over."""
    return Budget(1.0, began=time.monotonic() - 2).open(TRIALS)


class KeptShares:
    """Stands in for a LatencyPredictor: knows the law by which FakeEvaluation answers."""

    def predict(self, kept: Any) -> Any:
        """Kept widths (plans, 4) -> latency ratios (plans,)."""
        ratios = 1 - np.asarray(kept) / np.array([32, 64, 64, 64])
        return 1 - ratios.mean(axis=1) * 0.9


def fake_profile(bench: Any) -> Profile:
    """Costs as FakeEvaluation's scores fall, wrong by a factor for every other parameter."""
    choices = bench.space.choices
    predictor: Any = KeptShares()
    return Profile(
        names=tuple(choices),
        choices=tuple(choices.values()),
        costs=tuple(
            0.3 * (number % 2 + 1) * (1 - np.array(offered) / offered[-1])
            for number, offered in enumerate(choices.values())
        ),
        predictor=predictor,
        group_widths=tuple(np.array(offered)[:, None] for offered in choices.values()),
        group_columns=tuple(np.array([number]) for number in range(len(choices))),
        least_pruned=np.array([32, 64, 64, 64]),
    )


def fake_study(bench: Any) -> optuna.Study:
    """The Optuna study in the bench's folder, or in its database."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    shared: Any = bench.folder.shared
    return optuna.create_study(
        study_name="fake",
        storage=folder_storage(bench.folder.database) if shared is None else shared.storage,
        sampler=study_sampler(
            bench.config.sampler, Known(fake_profile(bench), 0.5, 0.8), bench.config.seed
        ),
        directions=[objective.direction for objective in OBJECTIVES],
        load_if_exists=True,
    )


def fake_loop(bench: Any, allowance: Allowance | None = None) -> TrialLoop:
    """A loop over the fake bench."""
    listener = SearchListener()
    workers = Here(bench, listener)
    return TrialLoop(bench, fake_study(bench), allowance or unlimited(), listener, workers)
