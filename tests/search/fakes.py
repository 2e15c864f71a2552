"""A study without models: a fake bench, and evaluations that are functions of the plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna

from autoprune.config import Goal, StudyConfig
from autoprune.plan import PruningPlan, as_pair
from autoprune.record import (
    DetectionMetrics,
    Failure,
    Fingerprint,
    LatencyResult,
    ModelSize,
    RungScore,
    TrialRecord,
)
from autoprune.search.evaluate import Candidate
from autoprune.search.listener import SearchListener
from autoprune.search.objectives import OBJECTIVES
from autoprune.search.samplers import FreshPerTrial
from autoprune.search.trials import TrialLoop
from autoprune.space import SearchSpace
from autoprune.study_folder import StudyFolder

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


def score(map50_95: float) -> RungScore:
    """One short fine-tune."""
    metrics = DetectionMetrics(map50=map50_95, map50_95=map50_95, split="val", images=8)
    return RungScore(rung=1, epochs=1, images_seen=8, seconds=1.0, metrics=metrics)


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
    failure: Failure | None = None,
) -> TrialRecord:
    """A record with the numbers given."""
    plan = plan or PruningPlan({0: 0.0, 1: 0.0, 2: None, 3: (0.0, 0.0)})
    return TrialRecord.model_validate(
        {
            "kind": kind,
            "name": name,
            "number": number,
            "state": state,
            "plan": plan.to_mapping(),
            "kept": {},
            "size": ModelSize(params=params, macs=params),
            "latency": None if ms is None else latency(ms),
            "rungs": () if map50_95 is None else (score(map50_95),),
            "failure": failure,
            "started": "2026-01-01T00:00:00+00:00",
            "seconds": 1.0,
        }
    )


DENSE = record("dense", 10.0, 0.8, kind="dense")


def kept_share(plan: PruningPlan) -> float:
    """A number in (0, 1] that falls with every channel removed."""
    ratios = [ratio for value in plan.prune_ratios.values() for ratio in as_pair(value)]
    return 1 - sum(ratios) / len(ratios) * 0.9


class FakeEvaluation:
    """Stands in for `evaluate`: counts its calls and writes records as the real one does."""

    def __init__(self, answer: Callable[[Candidate], TrialRecord] | None = None) -> None:
        self.plans: list[dict[str, Any]] = []
        self.answer = answer or self.by_kept_share

    @staticmethod
    def by_kept_share(candidate: Candidate) -> TrialRecord:
        """Fewer channels are faster and less accurate; above 5 ms is over budget."""
        share = kept_share(candidate.plan)
        ms, over = 10 * share, 10 * share > 5
        return record(
            candidate.name,
            ms,
            None if over else 0.8 * share,
            number=candidate.number,
            state="over_budget" if over else "complete",
            params=int(1000 * share),
            plan=candidate.plan,
        )

    def __call__(
        self, bench: Any, candidate: Candidate, budget_ms: float | None, listener: SearchListener
    ) -> TrialRecord:
        self.plans.append(candidate.plan.to_mapping())
        made = self.answer(candidate)
        bench.folder.save_record(made)
        return made


def signature(plan: PruningPlan) -> tuple[Any, ...]:
    """Equal for equal plans."""
    return tuple(sorted((index, str(value)) for index, value in plan.prune_ratios.items()))


def fake_bench(root: Path, trials: int | None = 10, sampler: str = "tpe", seed: int = 0) -> Any:
    """What a TrialLoop needs of a Workbench."""
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
    return SimpleNamespace(
        config=config,
        folder=StudyFolder(root),
        space=SearchSpace.load(space_file, WIDTHS),
        pruner=SimpleNamespace(signature=signature, kept_widths=lambda plan: {}),
        annotated=lambda plan: plan,
        trial_limit=trials,
    )


def fake_study(bench: Any) -> optuna.Study:
    """The Optuna study in the bench's folder."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name="fake",
        storage=f"sqlite:///{bench.folder.database}",
        sampler=FreshPerTrial(bench.config.sampler, bench.config.seed),
        directions=[objective.direction for objective in OBJECTIVES],
        load_if_exists=True,
    )


def fake_loop(
    bench: Any, baselines: list[TrialRecord] | None = None, stop_at: float | None = None
) -> TrialLoop:
    """A loop over the fake bench."""
    study = fake_study(bench)
    return TrialLoop(bench, study, DENSE, baselines or [], SearchListener(), stop_at)
