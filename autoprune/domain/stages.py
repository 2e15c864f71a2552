"""The stages of a search in order: what each is called, its share of the time, what it leaves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One stage of a search.

    Attributes:
        name: As in stages.json, the screen and the report.
        does: What it does, in words.
        share: Of `--timeout`, relative to the shares of the stages that are still to come.
        makes: What it leaves in the study's folder; a continued study takes up from there.
    """

    name: str
    does: str
    share: float
    makes: str


CHECK = Stage("check", "load and check everything, greet the target", 0.0, "study.yaml")
DENSE = Stage("dense", "validate and time the dense model", 0.06, "dense/record.json")
CALIBRATION = Stage(
    "calibration", "learn what each channel is worth", 0.14, "the user's cache of calibrations"
)
PREDICTOR = Stage(
    "latency predictor", "learn what costs time on the target", 0.12, "latency_predictor.json"
)
VERDICT = Stage("verdict", "find out what pruning can reach", 0.08, "space.yaml, verdict.json")
BASELINES = Stage("baselines", "fine-tune uniform plans", 0.20, "baselines/")
TRIALS = Stage("trials", "score plans without training", 0.12, "trials/, study.db")
PROMOTION = Stage("promotion", "measure and fine-tune the most promising plans", 0.12, "trials/")
FINISH = Stage("finish", "confirm the best plan, score it on new images", 0.03, "best.yaml")
LONGER = Stage("longer fine-tune", "train the best plan on", 0.13, "best.pt")
REPORT = Stage("report", "write the report", 0.01, "report/")

STAGES = (
    CHECK,
    DENSE,
    CALIBRATION,
    PREDICTOR,
    VERDICT,
    BASELINES,
    TRIALS,
    PROMOTION,
    FINISH,
    LONGER,
    REPORT,
)
