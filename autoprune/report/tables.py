"""The study's numbers as tables with fixed columns, written as CSV through pandas."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pandas as pd

from autoprune.domain.record import LONG, SHORT, UNTRAINED, TrialRecord
from autoprune.report.study import Study, points_lost

COLUMNS = {
    "kind": "string",  # dense, baseline or trial
    "name": "string",
    "number": "Int64",
    "state": "string",
    "on_front": "boolean",
    "chosen": "boolean",
    "params": "Int64",
    "macs": "Int64",
    "latency_ms": "Float64",
    "latency_low_ms": "Float64",  # 95 % interval
    "latency_high_ms": "Float64",
    "latency_p90_ms": "Float64",
    "latency_ratio": "Float64",  # to the dense model
    "latency_ratio_low": "Float64",
    "latency_ratio_high": "Float64",
    "latency_steady": "boolean",
    "confirmed_ms": "Float64",  # measured again in fresh processes
    "confirmed_low_ms": "Float64",
    "confirmed_high_ms": "Float64",
    "rung": "Int64",  # compared on: 1, after the short fine-tune; dense, or kept as pruned: 0
    "epochs": "Int64",
    "images_seen": "Int64",
    "val_map50": "Float64",
    "val_map50_95": "Float64",
    "points_lost": "Float64",  # mAP50-95 points below dense, on val
    "earlier_rungs": "string",  # JSON: the scores of rungs below that one
    "final_split": "string",  # images the search never used, by the weights of `rung`
    "final_map50": "Float64",
    "final_map50_95": "Float64",
    "failure": "string",
    "failure_detail": "string",
    "same_as": "string",  # name of the record whose plan and result this repeats
    "started": "string",
    "seconds": "Float64",
    "plan_file": "string",  # relative to the study's folder
    "predicted_ms": "Float64",  # by the latency predictor, before anything was exported
    "untrained_map50": "Float64",  # on val, right after pruning
    "untrained_map50_95": "Float64",
    "longer_epochs": "Int64",  # of the longer fine-tune, on top of `epochs`
    "longer_images_seen": "Int64",
    "longer_map50": "Float64",  # on val, after the longer fine-tune
    "longer_map50_95": "Float64",
    "longer_final_map50": "Float64",  # on unused images; empty when its weights were not kept
    "longer_final_map50_95": "Float64",
    "kept_weights_rung": "Int64",  # 1: of the short fine-tune, 2: of the longer one
    "taken_from": "string",  # the earlier study and trial that this result was made in
    "fine_tuned_map50_95": "Float64",  # on val, where the weights as pruned were better and kept
}
"""Column -> pandas type. Readers rely on these names: add at the end, never rename."""

_REASONS = {"nan": "not a number"}  # CSV readers take a cell "nan" for an empty one


def trials_table(study: Study) -> pd.DataFrame:
    """Every record: dense, baselines, then trials by number."""
    return _table(study, study.records)


def pareto_table(study: Study) -> pd.DataFrame:
    """The front, fastest first."""
    return _table(study, study.front)


def as_csv(table: pd.DataFrame) -> str:
    """CSV text with a header, full precision, empty cells for what was not measured."""
    return str(table.to_csv(index=False, lineterminator="\n"))


def _table(study: Study, records: Iterable[TrialRecord]) -> pd.DataFrame:
    rows = [_row(study, record) for record in records]
    return pd.DataFrame(
        {
            column: pd.Series([row.get(column) for row in rows], dtype=dtype)
            for column, dtype in COLUMNS.items()
        }
    )


def _row(study: Study, record: TrialRecord) -> dict[str, Any]:
    row: dict[str, Any] = {
        "kind": record.kind,
        "name": record.name,
        "number": record.number,
        "state": record.state,
        "on_front": record in study.front,
        "chosen": study.standing == "chosen" and record == study.highlight,
        "points_lost": points_lost(record, study.dense),
        "same_as": record.same_as,
        "taken_from": record.taken_from,
        "started": record.started,
        "seconds": record.seconds,
    }
    if record.size is not None:
        row |= {"params": record.size.params, "macs": record.size.macs}
    if record.predicted_ms is not None:
        row["predicted_ms"] = record.predicted_ms
    if record.latency is not None:
        row |= {
            "latency_ms": record.latency.median_ms,
            "latency_low_ms": record.latency.low_ms,
            "latency_high_ms": record.latency.high_ms,
            "latency_p90_ms": record.latency.p90_ms,
            "latency_ratio": record.latency.ratio,
            "latency_ratio_low": record.latency.ratio_low,
            "latency_ratio_high": record.latency.ratio_high,
            "latency_steady": record.latency.steady,
        }
    if record.confirmed is not None:
        row |= {
            "confirmed_ms": record.confirmed.median_ms,
            "confirmed_low_ms": record.confirmed.low_ms,
            "confirmed_high_ms": record.confirmed.high_ms,
        }
    row |= _scores(record)
    if record.failure is not None:
        row |= {
            "failure": _REASONS.get(record.failure.reason, record.failure.reason),
            "failure_detail": record.failure.detail,
        }
    plan = study.folder.folder_of(record) / "plan.yaml"
    if plan.exists():
        row["plan_file"] = plan.relative_to(study.folder.root).as_posix()
    return row


def _scores(record: TrialRecord) -> dict[str, Any]:
    row: dict[str, Any] = {}
    if (compared := record.compared) is not None:
        row |= {
            "rung": compared.rung,
            "epochs": compared.epochs,
            "images_seen": compared.images_seen,
            "val_map50": compared.metrics.map50,
            "val_map50_95": compared.metrics.map50_95,
        }
        earlier = [score.model_dump() for score in record.rungs if score.rung < compared.rung]
        if earlier:
            row["earlier_rungs"] = json.dumps(earlier)
    if record.kind != "dense":
        row |= _other_rungs(record)
    if record.final is not None:
        row |= {
            "final_split": record.final.split,
            "final_map50": record.final.map50,
            "final_map50_95": record.final.map50_95,
        }
    return row


def _other_rungs(record: TrialRecord) -> dict[str, Any]:
    """Scores that are not compared between records, each in columns of its own."""
    row: dict[str, Any] = {}
    if (untrained := record.at_rung(UNTRAINED)) is not None:
        row |= {
            "untrained_map50": untrained.metrics.map50,
            "untrained_map50_95": untrained.metrics.map50_95,
        }
    if record.untrained_kept and record.fine_tuned_map50_95 is not None:
        row["fine_tuned_map50_95"] = record.fine_tuned_map50_95
    if (longer := record.at_rung(LONG)) is not None:
        row |= {
            "longer_epochs": longer.epochs,
            "longer_images_seen": longer.images_seen,
            "longer_map50": longer.metrics.map50,
            "longer_map50_95": longer.metrics.map50_95,
        }
        if longer.final is not None:
            row |= {
                "longer_final_map50": longer.final.map50,
                "longer_final_map50_95": longer.final.map50_95,
            }
    if (kept := record.kept_score) is not None and kept.rung in (SHORT, LONG):
        row["kept_weights_rung"] = kept.rung
    return row
