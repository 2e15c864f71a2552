"""The stages of a search in order: what each is called and does, and its share of the time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One stage of a search.

    Attributes:
        name: As in stages.json and the report.
        does: What it does, in words, for the screen.
        share: Of `--timeout`, relative to the shares of the stages that are still to come.
        always: Whether it comes however late it is: what it needs is kept free from the beginning.
    """

    name: str
    does: str
    share: float
    always: bool = False


CHECK = Stage("check", "loading and checking everything, greeting the target", 0.0)
DENSE = Stage("dense", "measuring the dense model", 0.06)
CALIBRATION = Stage("calibration", "learning what each channel is worth", 0.12)
PREDICTOR = Stage("latency predictor", "learning what costs time on the target", 0.09)
VERDICT = Stage("verdict", "finding out what pruning can reach", 0.04)
TRIALS = Stage("trials", "scoring plans without training", 0.18)
PROMOTION = Stage("fine-tunes", "measuring and fine-tuning the most promising plans", 0.27)
FINISH = Stage("finish", "confirming the best plan", 0.06, always=True)
LONGER = Stage("longer fine-tune", "training the best plan on", 0.17)
REPORT = Stage("report", "writing the report", 0.01, always=True)

STAGES = (
    CHECK,
    DENSE,
    CALIBRATION,
    PREDICTOR,
    VERDICT,
    TRIALS,
    PROMOTION,
    FINISH,
    LONGER,
    REPORT,
)
