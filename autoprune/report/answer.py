"""Answer: what the study found, in sentences; the head of the report and the CLI's last words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from autoprune.domain.goal import Evidence
from autoprune.domain.ranking import best_so_far
from autoprune.domain.record import LONG, SHORT, UNTRAINED, LatencyResult, TrialRecord
from autoprune.report import wording
from autoprune.report.precision import quantizing_alone
from autoprune.report.study import Study, is_repeat, load_study
from autoprune.storage.study_folder import StudyFolder


@dataclass(frozen=True)
class Answer:
    """The study's result in words.

    Attributes:
        verdict: "met" and "not met" are final, "so far" is not, "nothing yet" has no candidate.
        headline: One sentence that stands alone.
        details: Further sentences, each a fact of its own.
        weights: How the weights of the record that the answer is about were trained; "" without.
    """

    verdict: Literal["met", "not met", "so far", "nothing yet"]
    headline: str
    details: tuple[str, ...] = ()
    weights: str = ""

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
    details += [effort] if (effort := _effort(study)) else []
    details += _ending(study)
    if record is None:
        return Answer("nothing yet", _nothing(study), tuple(details))
    runs, weights = _runs(study, record), weights_text(record)
    if study.standing == "chosen":
        return Answer("met", f"{_title(record)} {runs}.", tuple(details), weights)
    if study.standing == "so far":
        return Answer("so far", f"So far: {_name(record)} {runs}.", tuple(details), weights)
    ended = study.outcome is not None and study.outcome.status == "finished"
    start = "Nothing met the goal; nearest is" if ended else "Nothing has met the goal yet; nearest"
    verdict: Literal["not met", "so far"] = "not met" if ended else "so far"
    headline = f"{start} {_name(record)}, which {runs}."
    return Answer(verdict, headline, tuple(details), weights)


def weights_text(record: TrialRecord) -> str:
    """How a record's kept weights were trained: `after the short fine-tune, 3 epochs`."""
    score, short = record.kept_score, record.at_rung(SHORT)
    if score is None:
        return ""
    if score.rung == LONG and short is not None:
        return f"after the longer fine-tune, {short.epochs} + {score.epochs} epochs"
    if score.rung == SHORT:
        return f"after the short fine-tune, {wording.plural(score.epochs, 'epoch')}"
    return "as given" if record.kind == "dense" else "as pruned, which no fine-tune made better"


def _name(record: TrialRecord) -> str:
    return "the dense model itself" if record.kind == "dense" else record.name


def _title(record: TrialRecord) -> str:
    name = _name(record)
    return name[0].upper() + name[1:]


def _runs(study: Study, record: TrialRecord) -> str:
    """`runs in 4.82 ms (...), 1.72x faster than dense, with mAP50-95 0.681 on val and ...`."""
    result = record.confirmed or record.latency
    if result is not None:
        text = f"runs in {wording.latency(result)}"
    elif record.predicted_ms is not None:
        text = f"is predicted to run in {wording.milliseconds(record.predicted_ms)}"
    else:
        text = "has no measured latency"
    if result and record.kind != "dense":
        text += f", {_against_dense(result)}"
    text += f", {_accuracy(study, record)}"
    return text + (f" and {_params(study, record)}" if record.size else "")


def _against_dense(result: LatencyResult) -> str:
    if result.ratio > 1:
        return f"{wording.speed_up(1 / result.ratio)} slower than dense"
    return f"{wording.speed_up(result.ratio)} faster than dense"


def _accuracy(study: Study, record: TrialRecord) -> str:
    score = record.kept_score or record.at_rung(UNTRAINED)
    if score is None:
        return "not trained, with mAP unknown"
    compared, dense = "" if record.kept_score else " without training", study.dense
    if record.kind != "dense" and dense is not None and dense.map50_95 is not None:
        compared += f" ({wording.points(100 * (dense.map50_95 - score.metrics.map50_95))})"
    return f"with {study.metric} {wording.score(score.metrics.map50_95)} on val{compared}"


def _params(study: Study, record: TrialRecord) -> str:
    assert record.size is not None
    count = wording.count(record.size.params)
    if record.kind == "dense" or study.dense is None or study.dense.size is None:
        return f"{count} parameters"
    return f"{count} of {wording.count(study.dense.size.params)} parameters"


def _about(study: Study, record: TrialRecord | None) -> list[str]:
    if record is None:
        return []
    return [
        _confirmation(study, record),
        _training(study, record),
        _final(study, record),
        _against_uniform(study, record),
        quantizing_alone(study, record),
    ]


def _confirmation(study: Study, record: TrialRecord) -> str:
    confirmed, limit = record.confirmed, study.limit
    if record.latency is None:
        return "Unconfirmed: its latency is a prediction; it was not measured."
    if confirmed is None:
        return "Unconfirmed: its latency has not been measured again in fresh processes."
    again = "Its latency was measured again in fresh processes"
    if limit is None or limit.latency_ms is None:
        return f"Confirmed: {again[0].lower()}{again[1:]}."
    shown = wording.milliseconds(limit.latency_ms)
    if limit.judge(record) >= Evidence.CONFIRMED:
        return (
            f"Confirmed: measured again in fresh processes, all of its interval is within {shown}."
        )
    return f"Unconfirmed: {again[0].lower()}{again[1:]} and its interval goes beyond {shown}."


def _training(study: Study, record: TrialRecord) -> str:
    """What training did to the record's mAP on val, and which weights came of it."""
    untrained, short, longer = (record.at_rung(rung) for rung in (UNTRAINED, SHORT, LONG))
    if record.kind == "dense" or short is None:
        return ""
    steps = f"{wording.score(short.metrics.map50_95)} after the short fine-tune"
    steps += f" ({_of_epochs(study, short.epochs)})"
    if untrained is not None:
        steps = f"{wording.score(untrained.metrics.map50_95)} without training, {steps}"
    if longer is not None:
        epochs = f"{longer.epochs} more epoch{'' if longer.epochs == 1 else 's'}"
        steps += f", {wording.score(longer.metrics.map50_95)} after {epochs}"
    text = f"Its {study.metric} on val: {steps}."
    if longer is not None and longer.final is None:
        text += " The longer fine-tune was no better and is not used."
    if study.standing == "chosen" and study.folder.best_model.exists():
        kept = record.kept_score
        weights = f"the weights of the {wording.RUNGS[kept.rung if kept else SHORT]}"
        if kept is not None and kept.rung == UNTRAINED:
            weights = "the pruned network as it was, which no fine-tune made better"
        text += f" {study.folder.best_model.name} holds {weights}."
    return text


def _of_epochs(study: Study, epochs: int) -> str:
    """`3 epochs`, or `1 of 3 epochs: ...` of a fine-tune that the time limit cut short."""
    whole = study.settings.fine_tune.get("epochs")
    if not isinstance(whole, int) or epochs >= whole:
        return wording.plural(epochs, "epoch")
    return f"{epochs} of {whole} epochs: a longer --timeout leaves time for all"


def _final(study: Study, record: TrialRecord) -> str:
    score = record.kept_score
    final = score.final if score is not None and score.rung == LONG else record.final
    if final is None:
        return ""
    text = (
        f"On {wording.plural(final.images, 'image')} that the search never used "
        f"({final.split}) its {study.metric} is {wording.score(final.map50_95)}"
    )
    dense = study.dense.final if study.dense else None
    if dense is not None and study.dense != record:
        text += f", {wording.points(100 * (dense.map50_95 - final.map50_95))}"
    return f"{text}."


def _against_uniform(study: Study, record: TrialRecord) -> str:
    """Whether the search was worth it: the best uniform plan within the goal beside its answer."""
    if study.limit is None or record.kind == "dense" or study.limit.latency_ms is None:
        return ""
    uniform = best_so_far(study.baselines, study.limit)
    if uniform is None:
        return ""
    if uniform == record:
        return "It is a uniform plan: the search did not beat it."
    score, latency = uniform.kept_score, uniform.confirmed or uniform.latency
    if score is None or latency is None:
        return ""
    own = record.kept_score
    text = (
        f"The best uniform plan within the budget, {uniform.name}, runs in"
        f" {wording.milliseconds(latency.median_ms)} with {study.metric}"
        f" {wording.score(score.metrics.map50_95)} on val"
    )
    if own is None:
        return f"{text}."
    above = 100 * (own.metrics.map50_95 - score.metrics.map50_95)
    return f"{text}, {abs(above):.1f} points {'below' if above >= 0 else 'above'}."


def _effort(study: Study) -> str:
    """How many plans were tried at which effort; nothing for a study without rungs."""
    fresh = [record for record in study.trials if not is_repeat(record)]
    scored = sum(record.at_rung(UNTRAINED) is not None for record in fresh)
    if not scored:
        return ""
    trained = sum(record.at_rung(SHORT) is not None for record in fresh)
    found = f"{trained} of them fine-tuned and measured" if trained else "none fine-tuned yet"
    taken = sum(record.taken_from is not None for record in fresh)
    known = f" Of the plans, {taken} were known from earlier studies." if taken else ""
    return f"{wording.plural(scored, 'plan')} scored without training, {found}.{known}"


def _nothing(study: Study) -> str:
    if study.dense is None:
        return "Nothing has been measured yet."
    return "No pruned model has been measured yet."


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
