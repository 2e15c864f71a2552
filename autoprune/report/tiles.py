"""The three figures at the head of the page: latency, mAP and size beside the dense model's."""

from __future__ import annotations

from dataclasses import dataclass

from autoprune.domain.record import TrialRecord
from autoprune.report import wording
from autoprune.report.answer import weights_text
from autoprune.report.study import Study


@dataclass(frozen=True)
class Tile:
    """One large figure with what it is, and how it compares."""

    label: str
    figure: str
    compared: tuple[str, ...]  # one line each


def tiles(study: Study) -> list[Tile]:
    """Tiles of the highlighted record; empty without one."""
    record, dense = study.highlight, study.dense
    if record is None:
        return []
    found = [_latency(record, dense), _accuracy(record, dense), _size(record, dense)]
    return [tile for tile in found if tile is not None]


def _latency(record: TrialRecord, dense: TrialRecord | None) -> Tile | None:
    result = record.confirmed or record.latency
    if result is None:
        return None
    compared = [wording.named_interval(result)]
    if dense is not None and dense != record:
        faster = wording.speed_up(result.ratio)
        compared.insert(0, f"dense {wording.milliseconds(result.dense_ms)}: {faster} the speed")
    return Tile("latency", wording.milliseconds(result.median_ms), tuple(compared))


def _accuracy(record: TrialRecord, dense: TrialRecord | None) -> Tile | None:
    score = record.kept_score
    if score is None:
        return None
    reached = score.metrics.map50_95
    compared = ["on val" if record.kind == "dense" else f"on val, {weights_text(record)}"]
    if dense is not None and dense.map50_95 is not None and dense != record:
        lost = 100 * (dense.map50_95 - reached)
        compared.insert(0, f"dense {wording.score(dense.map50_95)}: {wording.points(lost)}")
    return Tile(record.metric, wording.score(reached), tuple(compared))


def _size(record: TrialRecord, dense: TrialRecord | None) -> Tile | None:
    if record.size is None:
        return None
    compared = [f"{wording.count(record.size.macs)} MACs"]
    if dense is not None and dense.size is not None and dense != record:
        change = 100 * (1 - record.size.params / dense.size.params)
        compared.insert(0, f"dense {wording.count(dense.size.params)}: {change:.0f} % removed")
    return Tile("parameters", wording.count(record.size.params), tuple(compared))
