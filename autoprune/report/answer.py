"""Answer: what the study found, in sentences; the head of the report and the CLI's last words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from autoprune.record import LatencyResult, TrialRecord
from autoprune.report import wording
from autoprune.report.study import Study, load_study, points_lost
from autoprune.study_folder import StudyFolder


@dataclass(frozen=True)
class Answer:
    """The study's result in words.

    Attributes:
        verdict: "met" and "not met" are final, "so far" is not, "nothing yet" has no candidate.
        headline: One sentence that stands alone.
        details: Further sentences, each a fact of its own.
    """

    verdict: Literal["met", "not met", "so far", "nothing yet"]
    headline: str
    details: tuple[str, ...] = ()

    def text(self) -> str:
        """All sentences, one per line."""
        return "\n".join((self.headline, *self.details))


def read_answer(folder: StudyFolder) -> Answer:
    """The answer of a study's folder.

    Raises:
        ConfigError: The folder holds no study, or a file is broken.
    """
    return answer(load_study(folder))


def answer(study: Study) -> Answer:
    """The answer of a study that was read already."""
    record = study.highlight
    details = [sentence for sentence in _about(study, record) if sentence]
    details += _ending(study)
    if record is None:
        return Answer("nothing yet", _nothing(study), tuple(details))
    if study.standing == "chosen":
        return Answer("met", f"{_title(record)} {_runs(study, record)}.", tuple(details))
    if study.standing == "so far":
        return Answer("so far", f"So far: {_name(record)} {_runs(study, record)}.", tuple(details))
    ended = study.outcome is not None and study.outcome.status == "finished"
    start = "Nothing met the goal; nearest is" if ended else "Nothing has met the goal yet; nearest"
    verdict: Literal["not met", "so far"] = "not met" if ended else "so far"
    return Answer(
        verdict, f"{start} {_name(record)}, which {_runs(study, record)}.", tuple(details)
    )


def _name(record: TrialRecord) -> str:
    return "the dense model itself" if record.kind == "dense" else record.name


def _title(record: TrialRecord) -> str:
    name = _name(record)
    return name[0].upper() + name[1:]


def _runs(study: Study, record: TrialRecord) -> str:
    """`runs in 4.82 ms (...), 1.72x faster than dense, with mAP50-95 0.681 on val and ...`."""
    result = record.confirmed or record.latency
    text = f"runs in {wording.latency(result)}" if result else "has no measured latency"
    if result and record.kind != "dense":
        text += f", {_against_dense(result)}"
    text += f", {_accuracy(study, record)}"
    return text + (f" and {_params(study, record)}" if record.size else "")


def _against_dense(result: LatencyResult) -> str:
    if result.ratio > 1:
        return f"{wording.speed_up(1 / result.ratio)} slower than dense"
    return f"{wording.speed_up(result.ratio)} faster than dense"


def _accuracy(study: Study, record: TrialRecord) -> str:
    if record.map50_95 is None:
        return "not trained, with mAP unknown"
    lost = points_lost(record, study.dense) if record.kind != "dense" else None
    compared = f" ({wording.points(lost)})" if lost is not None else ""
    return f"with mAP50-95 {wording.score(record.map50_95)} on val{compared}"


def _params(study: Study, record: TrialRecord) -> str:
    assert record.size is not None
    count = wording.count(record.size.params)
    if record.kind == "dense" or study.dense is None or study.dense.size is None:
        return f"{count} parameters"
    return f"{count} of {wording.count(study.dense.size.params)} parameters"


def _about(study: Study, record: TrialRecord | None) -> list[str]:
    if record is None:
        return []
    return [_confirmation(study, record), _final(study, record)]


def _confirmation(study: Study, record: TrialRecord) -> str:
    confirmed, budget_ms = record.confirmed, study.budget_ms
    if confirmed is None:
        return "Unconfirmed: its latency has not been measured again in a fresh process."
    again = "Its latency was measured again in a fresh process"
    if budget_ms is None:
        return f"Confirmed: {again[0].lower()}{again[1:]}."
    limit = wording.milliseconds(budget_ms)
    if confirmed.high_ms <= budget_ms:
        return (
            f"Confirmed: measured again in a fresh process, all of its interval is within {limit}."
        )
    return f"Unconfirmed: {again[0].lower()}{again[1:]} and its interval goes beyond {limit}."


def _final(study: Study, record: TrialRecord) -> str:
    if record.final is None:
        return ""
    text = (
        f"On {wording.plural(record.final.images, 'image')} that the search never used "
        f"({record.final.split}) its mAP50-95 is {wording.score(record.final.map50_95)}"
    )
    dense = study.dense.final if study.dense else None
    if dense is not None and study.dense != record:
        text += f", {wording.points(100 * (dense.map50_95 - record.final.map50_95))}"
    return f"{text}."


def _nothing(study: Study) -> str:
    if study.dense is None:
        return "Nothing has been measured yet."
    return "No trial has been measured yet."


def _ending(study: Study) -> list[str]:
    outcome = study.outcome
    if outcome is None:
        return ["The search has not said how it ended: it is still running or was stopped hard."]
    said = {
        "running": "The search is still running, or was stopped hard.",
        "interrupted": "The search was interrupted; the same command continues it.",
        "failed": "The search failed.",
        "finished": "",
    }[outcome.status]
    stop = ""
    if outcome.stopped_by and outcome.stopped_by != outcome.status:
        stop = f"The search ended: {outcome.stopped_by}."
    return [sentence for sentence in (said, stop, outcome.message) if sentence]
