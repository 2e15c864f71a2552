"""The dense model of a study: measured and validated first, outside the trials."""

from __future__ import annotations

import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

from autoprune.domain.record import LatencyResult, RungScore, TrialRecord
from autoprune.errors import ConfigError
from autoprune.evaluation.class_head import class_names
from autoprune.evaluation.quiet import quiet
from autoprune.evaluation.validate import validate
from autoprune.latency.denormals import denormals_note
from autoprune.latency.export import ExportedModel
from autoprune.latency.measure import measure_dense
from autoprune.pruning.prune import uniform_plan
from autoprune.pruning.size import model_size
from autoprune.search.context.int8 import score_file
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.workbench import Checked, Measured
from autoprune.search.learn.earlier import earlier_studies
from autoprune.storage.scratch import process_folder

LEAST_MAP = 0.02  # mAP50-95 on val, below which a model detects nothing


def measured(bench: Checked, listener: SearchListener) -> Measured:
    """Accuracy, size and latency of the dense model, today on this target; once per study.

    Raises:
        ConfigError: It detects next to nothing: there is nothing that pruning could keep.
    """
    folder = bench.folder.dense
    folder.mkdir(parents=True, exist_ok=True)
    listener.candidate("dense model", None, None)
    record = bench.folder.dense_record()
    with quiet(folder / "log.txt"):
        listener.stage("latency")
        own = Path(tempfile.mkdtemp(prefix="dense-", dir=process_folder()))  # workers have none
        exported = bench.export(bench.yolo.model, own, calibrated=True)
        if record is None or record.latency is None:
            record, latency = _record(bench, exported, listener)
        else:
            latency = record.latency
    listener.result(record, None)
    _check_detects(bench, record)
    return bench.grown(
        Measured,
        dense_export=exported,
        dense=record,
        dense_latency=latency,
        limit=bench.config.goal.against(record),
        earlier=tuple(earlier_studies(bench, latency.fingerprint)),
    )


def _check_detects(bench: Checked, record: TrialRecord) -> None:
    found = record.map50_95 or 0.0
    if found >= LEAST_MAP:
        return
    names = bench.data.names
    known = [str(name) for name in class_names(bench.yolo.model).values()]
    cause = "is it trained, on such images, and at this size?"
    if known != list(names):
        cause = f"are its classes {known[:3]} ... the data's {list(names[:3])} ..., in this order?"
    raise ConfigError(
        f"{bench.config.model}: got {record.metric} {found:.3f} on val of {bench.data.path},"
        f" expected a model that detects at least {LEAST_MAP:g}; {cause}"
    )


def _record(
    bench: Checked, exported: ExportedModel, listener: SearchListener
) -> tuple[TrialRecord, LatencyResult]:
    began = time.monotonic()
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    latency = measure_dense(bench.target, exported, bench.options, bench.timing)
    note = denormals_note(exported.denormals, bench.options)
    if note is not None:
        listener.say(f"Note: {note}.")
    listener.stage("validate")
    model, data, size = bench.yolo.model, bench.data, bench.train_size
    validating = time.monotonic()
    metrics = validate(model, data, data.selection_images, size, bench.device)
    validated_s = time.monotonic() - validating
    in_float = None
    if bench.quantizes:
        in_float, metrics = metrics, score_file(bench, model, exported.path, data.selection_images)
        final = score_file(bench, model, exported.path, data.final_images)
        listener.say(
            f"Quantized but not pruned: {metrics.metric} {metrics.map50_95:.3f} on val, in float"
            f" {in_float.map50_95:.3f}."
        )
    else:
        final = validate(model, data, data.final_images, size, bench.device)
    widths = dict(bench.space.widths)
    plan = bench.annotated(uniform_plan(widths, 0.0))
    plan.save(bench.folder.dense / "plan.yaml")
    score = RungScore(
        rung=0,
        epochs=0,
        images_seen=0,
        seconds=validated_s,
        metrics=metrics,
        float_metrics=in_float,
    )
    record = TrialRecord(
        kind="dense",
        name="dense",
        number=None,
        state="complete",
        plan=plan.to_mapping(),
        kept=widths,
        size=model_size(model, bench.imgsz),
        latency=latency,
        rungs=(score,),
        final=final,
        started=started,
        seconds=time.monotonic() - began,
        notes=() if note is None else (note,),
    )
    bench.folder.save_record(record)
    return record, latency
