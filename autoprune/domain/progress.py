"""Moment: the best so far at one time of a search; progress.jsonl keeps them, one a line."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from autoprune.domain.record import Noun

MARKS_S = (30.0, 60.0, 120.0, 240.0, 480.0)
"""Seconds after which the best so far is told."""

Kind = Literal["predicted", "measured", "fine-tuned", "confirmed"]
"""What is known about the best so far, the least first."""

KINDS: tuple[Kind, ...] = ("predicted", "measured", "fine-tuned", "confirmed")


class Moment(Noun):
    """The best so far at one time. Before the first plan is scored there is none.

    Attributes:
        at_s: Seconds of search time since the study's first start, summed over continued runs.
        name: The best record's.
        evidence: What shows its latency.
        trained: Whether `map50_95` is of the fine-tuned network, not of the one just pruned.
        latency_ms: Of that evidence.
        map50_95: On val, in [0, 1].
        hypervolume: Of the front so far, relative to dense, in 0..1; 0 where it is not known.
        scored: Plans scored without training so far.
        fine_tuned: Plans fine-tuned so far.
    """

    at_s: float = Field(ge=0)
    name: str
    evidence: Literal["predicted", "measured", "confirmed"]
    trained: bool
    latency_ms: float = Field(ge=0)
    map50_95: float = Field(ge=0, le=1)
    hypervolume: float = Field(ge=0)
    scored: int = Field(ge=0)
    fine_tuned: int = Field(ge=0)

    @property
    def kind(self) -> Kind:
        """Its evidence in one word: trained counts more than measured, confirmed more than both."""
        return "fine-tuned" if self.trained and self.evidence != "confirmed" else self.evidence


def append_moment(path: Path, moment: Moment) -> None:
    """Add a line to the file, in one write.

    What a killed process left of a line stays a line of its own, which readers skip. Several
    processes may append at once.

    Raises:
        OSError: The folder is missing, the disk full and the like.
    """
    line = moment.model_dump_json().encode() + b"\n"
    with path.open("a+b", buffering=0) as stream:
        if stream.seek(0, os.SEEK_END):
            stream.seek(-1, os.SEEK_END)
            line = line if stream.read(1) == b"\n" else b"\n" + line
        stream.write(line)


def read_moments(path: Path) -> list[Moment]:
    """The moments of a file, the earliest first; empty where there is no file.

    A line that is torn, or holds anything but a moment as written by this version, is left out.

    Raises:
        OSError: The file is there and cannot be read.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    moments = []
    for line in lines:
        try:
            moments.append(Moment.model_validate_json(line))
        except ValidationError:
            continue
    return sorted(moments, key=lambda moment: moment.at_s)


def moment_at(moments: Iterable[Moment], seconds: float) -> Moment | None:
    """The best so far `seconds` after the start; None where there was none yet.

    Args:
        moments: The earliest first.
        seconds: Of search time.
    """
    best = None
    for moment in moments:
        if moment.at_s <= seconds:
            best = moment
    return best
