"""Studies made of invented but plausible records, written to disk as a search would.

`busy_study` is one of the first version, all trials measured and trained at once; `rung_study` is
one whose trials are scored without training first.
"""

from __future__ import annotations

import functools
import json
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from autoprune.domain.outcome import Outcome
from autoprune.domain.plan import PruningPlan, ratio_for
from autoprune.domain.progress import Moment, append_moment
from autoprune.domain.record import (
    DetectionMetrics,
    Failure,
    Fingerprint,
    LatencyResult,
    ModelSize,
    RungScore,
    TrialRecord,
)
from autoprune.storage.study_folder import StudyFolder
from autoprune.storage.yaml_io import dump_yaml, write_atomic

DENSE_MS = 8.31
WIDTHS = {
    0: (16,), 1: (32,), 2: (32,), 3: (64,), 4: (64,), 5: (128,), 6: (128,), 7: (256,), 8: (256,),
    9: (256,), 12: (128,), 15: (64,), 16: (64,), 18: (128,), 19: (128,), 21: (256,), 22: (64, 64),
}  # fmt: skip


def fingerprint() -> Fingerprint:
    return Fingerprint(
        runtime="onnxruntime",
        runtime_version="1.32.0",
        provider="CPUExecutionProvider",
        threads=1,
        cpu="An x86-64 processor @ 2.90GHz",
        isa="avx512",
        system="Linux x86_64",
        imgsz=(256, 256),
        batch=1,
        runner_version=1,
    )


def latency(ms: float, *, error: float = 0.012, steady: bool = True) -> LatencyResult:
    ratio = ms / DENSE_MS
    return LatencyResult(
        median_ms=ms,
        p90_ms=ms * 1.05,
        low_ms=ms * (1 - error),
        high_ms=ms * (1 + error),
        ratio=ratio,
        ratio_low=ratio * (1 - error),
        ratio_high=ratio * (1 + error),
        dense_ms=DENSE_MS,
        blocks=12,
        steady=steady,
        samples_ms=(ms, ms * 1.01),
        dense_samples_ms=(DENSE_MS, DENSE_MS * 1.01),
        load_1min=0.4,
        fingerprint=fingerprint(),
    )


def rung(score: float, number: int = 1, epochs: int = 3) -> RungScore:
    return RungScore(
        rung=number,
        epochs=epochs,
        images_seen=epochs * 600,
        seconds=epochs * 7.0,
        metrics=DetectionMetrics(
            map50=min(1.0, score * 1.2), map50_95=score, split="val", images=150
        ),
    )


def record(kind: str, name: str, share: float = 1.0, **given: Any) -> TrialRecord:
    """A complete, untrained record that keeps `share` of each layer's channels."""
    kept = {
        index: tuple(max(8, round(width * share / 8) * 8) for width in widths)
        for index, widths in WIDTHS.items()
    }
    plan = PruningPlan(
        {
            index: ratio_for(widths[0], kept[index][0])
            if len(widths) == 1
            else (ratio_for(widths[0], kept[index][0]), ratio_for(widths[1], kept[index][1]))
            for index, widths in WIDTHS.items()
        }
    )
    values: dict[str, Any] = {
        "kind": kind,
        "name": name,
        "number": None,
        "state": "complete",
        "plan": plan.to_mapping(),
        "kept": kept,
        "size": ModelSize(params=int(3_011_043 * share**1.8), macs=int(1_310_000_000 * share**1.7)),
        "latency": latency(DENSE_MS * (0.12 + 0.88 * share**1.3)),
        "started": "2026-01-05T10:00:00+00:00",
        "seconds": 31.4,
    }
    return TrialRecord(**{**values, **given})


def final(score: float) -> DetectionMetrics:
    return DetectionMetrics(map50=score * 1.2, map50_95=score, split="test", images=200)


def dense() -> TrialRecord:
    return record("dense", "dense", rungs=(rung(0.742, 0, 0),), final=final(0.731))


def trial(number: int, share: float, score: float | None = None, **given: Any) -> TrialRecord:
    """A trained trial, or one over budget when `score` is None."""
    values: dict[str, Any] = {"number": number, "rungs": (rung(score),) if score else ()}
    if score is None:
        values["state"] = "over_budget"
    return record("trial", f"trial {number}", share, **{**values, **given})


def baseline(name: str, share: float, score: float) -> TrialRecord:
    """A trained uniform plan."""
    return record("baseline", name, share, rungs=(rung(score),))


def failed(number: int, reason: str, detail: str) -> TrialRecord:
    return trial(
        number,
        0.5,
        0.1,
        state="failed",
        rungs=(),
        failure=Failure.model_validate({"reason": reason, "detail": detail}),
    )


def settings(**given: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "asked": {
            "goal": {"kind": "budget_ms", "value": 5.0},
            "model": None,
            "data": None,
            "imgsz": [256, 256],
            "trials": 40,
            "timeout_s": None,
            "sampler": "tpe",
            "seed": 0,
            "runtime": "onnxruntime",
            "threads": 1,
            "importance": "l2_bn",
        },
        "demo": False,
        "model": {
            "file": "weights/best.pt",
            "hash": "9f2c41d0",
            "family": "yolov8",
            "classes": ["circle", "square", "triangle", "star"],
        },
        "data": {
            "file": "shapes/data.yaml",
            "hash": "11aa",
            "train_images": 600,
            "val_images": 150,
            "final_images": 200,
            "final_split": "test",
            "overlap": 0,
        },
        "fine_tune": {"epochs": 3, "optimizer": "SGD", "lr0": 0.002, "batch": 16},
        "space": {"file": "search_spaces/yolov8.yaml", "hash": "77"},
        "budget_ms": 5.0,
        "versions": {"autoprune": "0.1.0", "python": "3.11.4", "torch": "2.15.0"},
        "machine": {"cpu": "An x86-64 processor", "cores": 2, "system": "Linux"},
        "started": "2026-01-05T10:00:00+00:00",
    }
    return {**values, **given}


def write_study(
    root: Path,
    records: list[TrialRecord],
    outcome: Outcome | None = None,
    content: dict[str, Any] | None = None,
) -> StudyFolder:
    """Put a study on disk; records of trials and baselines get a plan.yaml."""
    folder = StudyFolder(root)
    write_atomic(folder.settings, dump_yaml(settings() if content is None else content))
    for one in records:
        folder.save_record(one)
        if one.kind != "dense":
            one.pruning_plan().save(folder.folder_of(one) / "plan.yaml")
    if outcome is not None:
        outcome.save(folder.outcome)
    return folder


def untrained(score: float) -> RungScore:
    """A score right after pruning."""
    return rung(score, 0, 0)


def scored(number: int, share: float, score: float, **given: Any) -> TrialRecord:
    """A trial scored without training, its latency predicted only."""
    sized = record("trial", "", share)
    assert sized.latency is not None
    values = {
        "state": "scored",
        "latency": None,
        "predicted_ms": sized.latency.median_ms * 1.02,
        "rungs": (untrained(score),),
    }
    return trial(number, share, score, **{**values, **given})


def promoted(number: int, share: float, before: float, after: float, **given: Any) -> TrialRecord:
    """A trial scored without training, then measured and fine-tuned."""
    known = scored(number, share, before)
    values = {"predicted_ms": known.predicted_ms, "rungs": (untrained(before), rung(after))}
    return trial(number, share, after, **{**values, **given})


def longer(record: TrialRecord, score: float, *, kept: bool) -> TrialRecord:
    """The record after a longer fine-tune of 9 more epochs."""
    top = rung(score, 2, 9)
    if kept:
        top = top.model_copy(update={"final": final(score - 0.015)})
    return record.model_copy(update={"rungs": (*record.rungs, top)})


def learned(root: Path, **given: Any) -> None:
    """Leave what a search learns before its trials."""
    predictor: dict[str, Any] = {
        "error": {"mape": 0.0173, "spearman": 0.9954, "plans": 48},
        "staircase": {"block": 16, "pads_inputs": True, "align": 4},
        "prices": {},
    }
    names = [f"keep_{i}" for i, w in WIDTHS.items() if len(w) == 1] + ["keep_22_box", "keep_22_cls"]
    dense = [w[0] for w in WIDTHS.values() if len(w) == 1] + [64, 64]
    choices = [list(range(max(8, width // 4), width + 1, max(8, width // 8))) for width in dense]
    profile = {
        "names": names,
        "choices": choices,
        "costs": [
            [0.02 / (i + 1) * (1 - kept / row[-1]) ** 2 for kept in row]
            for i, row in enumerate(choices)
        ],
    }
    write_atomic(root / "latency_predictor.json", json.dumps({**predictor, **given}))
    write_atomic(root / "profile.json", json.dumps(profile))


def moment(at_s: float, name: str = "trial 3", **given: Any) -> Moment:
    """The best so far, by default a plan that was only scored."""
    values: dict[str, Any] = {
        "at_s": at_s,
        "name": name,
        "evidence": "predicted",
        "trained": False,
        "latency_ms": 4.71,
        "map50_95": 0.41,
        "hypervolume": 0.0,
        "scored": 1,
        "fine_tuned": 0,
    }
    return Moment(**{**values, **given})


def progress() -> list[Moment]:
    """What a search of seven and a half minutes notes: every kind of evidence, and stages' ends."""
    measured: dict[str, Any] = {"evidence": "measured", "latency_ms": 4.83}
    tuned: dict[str, Any] = {**measured, "trained": True, "fine_tuned": 1}
    confirmed: dict[str, Any] = {**tuned, "evidence": "confirmed", "latency_ms": 4.86}
    return [
        moment(48, "trial 0", map50_95=0.52),
        moment(55, "trial 1", map50_95=0.57, scored=2),
        moment(83, "trial 4", map50_95=0.60, scored=5),
        moment(150, "trial 4", map50_95=0.60, scored=30),
        moment(160, "trial 4", map50_95=0.60, scored=30, **measured),
        moment(200, "trial 4", map50_95=0.67, scored=30, hypervolume=0.31, **tuned),
        moment(251, "trial 7", map50_95=0.69, scored=30, hypervolume=0.34, **tuned),
        moment(300, "trial 7", map50_95=0.69, scored=30, hypervolume=0.36, **tuned),
        moment(330, "trial 7", map50_95=0.69, scored=30, hypervolume=0.36, **confirmed),
        moment(446, "trial 7", map50_95=0.71, scored=30, hypervolume=0.37, **confirmed),
        moment(449, "trial 7", map50_95=0.71, scored=30, hypervolume=0.37, **confirmed),
    ]


def note(folder: StudyFolder, moments: list[Moment]) -> StudyFolder:
    """Leave a progress.jsonl in the study."""
    for one in moments:
        append_moment(folder.progress, one)
    return folder


def _made_once(make: Callable[..., StudyFolder]) -> Callable[..., StudyFolder]:
    """The same study again is a copy of the files it had the first time."""

    @functools.cache
    def files(**given: Any) -> dict[Path, bytes]:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "study"
            make(root, **given)
            return {
                file.relative_to(root): file.read_bytes()
                for file in root.rglob("*")
                if file.is_file()
            }

    @functools.wraps(make)
    def copy(root: Path, **given: Any) -> StudyFolder:
        for file, content in files(**given).items():
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_bytes(content)
        return StudyFolder(root)

    return copy


@_made_once
def rung_study(root: Path, *, kept: bool = True, seed: int = 0) -> StudyFolder:
    """30 trials scored without training, 6 promoted (one over budget), the best trained longer."""
    draw = random.Random(seed)
    records = [dense()]
    for share in (0.75, 0.5):
        before, after = 0.70 * share, 0.742 - 0.3 * (1 - share)
        records.append(
            record(
                "baseline",
                f"uniform-{1 - share:.2f}-r16",
                share,
                predicted_ms=DENSE_MS * (0.1 + 0.9 * share**1.3),
                rungs=(untrained(before), rung(after)),
                final=final(after - 0.01),
            )
        )
    for number in range(30):
        share = draw.uniform(0.35, 0.56)
        before = 0.74 - 0.9 * (1 - share) ** 2 + draw.gauss(0, 0.02)
        records.append(scored(number, share, before))
    for number in range(5):
        share = 0.54 - 0.04 * number
        before, after = 0.6 - 0.05 * number, 0.70 - 0.03 * number - 0.01 * (number == 2)
        records[3 + number] = promoted(number, share, before, after, final=final(after - 0.012))
    over = promoted(5, 0.57, 0.6, 0.7, latency=latency(5.2))
    records[8] = over.model_copy(update={"state": "over_budget", "rungs": over.rungs[:1]})
    best = next(r for r in records if r.name == "trial 0")
    assert best.latency is not None
    best = best.model_copy(
        update={"confirmed": latency(best.latency.median_ms * 1.004, error=0.008)}
    )
    records[3] = longer(best, 0.716 if kept else 0.688, kept=kept)
    folder = write_study(root, records, finished(best.name))
    learned(root)
    write_atomic(folder.best_model, "weights")
    return folder


def finished(best: str | None, *, met: bool = True) -> Outcome:
    return Outcome(
        status="finished",
        stopped_by="--trials 40 reached",
        best=best,
        goal_met=met,
        budget_ms=5.0,
        finished="2026-01-05T10:21:00+00:00",
    )


@_made_once
def busy_study(root: Path, trials: int = 40, seed: int = 0) -> StudyFolder:
    """A finished search with front, baselines, trials over budget, a repeat and failures."""
    draw = random.Random(seed)
    records = [dense()]
    for share in (0.75, 0.5):
        score = 0.742 - 0.55 * (1 - share) ** 1.7
        records.append(
            record(
                "baseline",
                f"uniform-{1 - share:.2f}",
                share,
                rungs=(rung(score),),
                final=final(score - 0.01),
            )
        )
    for number in range(trials):
        share = draw.uniform(0.35, 0.85)
        one = trial(number, share)
        assert one.latency is not None
        if one.latency.low_ms <= 5.0:
            score = max(0.05, 0.742 - 0.42 * (1 - share) ** 1.7 - abs(draw.gauss(0, 0.02)))
            one = trial(number, share, score, final=final(score - 0.012))
        records.append(one)
    records[5] = failed(2, "export", "torch and ONNX Runtime differ by 0.02, limit 0.001")
    records[6] = failed(3, "nan", "loss became nan in epoch 2")
    records[7] = failed(4, "nan", "loss became nan in epoch 1")
    within = [
        one for one in records if one.kind == "trial" and one.rungs and one.latency is not None
        and one.latency.high_ms <= 5.0
    ]  # fmt: skip
    best = max(within, key=lambda one: one.map50_95 or 0)
    assert best.latency is not None
    place = records.index(best)
    confirmed = latency(best.latency.median_ms * 1.004, error=0.008)
    records[place] = best.model_copy(update={"confirmed": confirmed})
    first = within[0] if within[0] is not best else within[1]
    assert first.number is not None
    records.append(
        first.model_copy(
            update={"number": trials, "name": f"trial {trials}", "same_as": first.name}
        )
    )
    return write_study(root, records, finished(best.name))
