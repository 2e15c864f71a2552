"""The dense model of a study: measured and validated first, outside the trials."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

from autoprune.domain.outcome import Outcome
from autoprune.domain.record import RungScore, TrialRecord
from autoprune.evaluation.quiet import quiet
from autoprune.evaluation.validate import validate
from autoprune.latency.measure import measure_dense
from autoprune.pruning.prune import uniform_plan
from autoprune.pruning.size import model_size
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.workbench import Workbench
from autoprune.search.select.finish import CONFIRMING_PROCESSES, outcome_of, publish_best


def measured_dense(bench: Workbench, listener: SearchListener) -> tuple[Workbench, TrialRecord]:
    """Accuracy, size and latency of the dense model, today on this target; once per study."""
    folder = bench.folder.dense
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    listener.candidate("dense model", None, None)
    known = bench.folder.dense_record()
    with quiet(folder / "log.txt"):
        listener.stage("latency")
        own = Path(tempfile.mkdtemp(prefix="autoprune-dense-"))  # workers do not share it
        atexit.register(shutil.rmtree, own, ignore_errors=True)
        exported = bench.export(bench.yolo.model, own)
        if known is not None and known.latency is not None:
            listener.result(known, None)
            return bench.with_dense(exported, known.latency), known
        latency = measure_dense(bench.target, exported, bench.options, bench.timing)
        listener.stage("validate")
        metrics, final = (
            validate(bench.yolo.model, bench.data, images, bench.train_size, bench.device)
            for images in (bench.data.selection_images, bench.data.final_images)
        )
    plan = bench.annotated(uniform_plan(bench.pruner.widths, 0.0))
    plan.save(folder / "plan.yaml")
    record = TrialRecord(
        kind="dense",
        name="dense",
        number=None,
        state="complete",
        plan=plan.to_mapping(),
        kept=bench.pruner.kept_widths(plan),
        size=model_size(bench.yolo.model, bench.imgsz),
        latency=latency,
        rungs=(RungScore(rung=0, epochs=0, images_seen=0, seconds=0.0, metrics=metrics),),
        final=final,
        started=started,
        seconds=time.monotonic() - began,
    )
    bench.folder.save_record(record)
    listener.result(record, None)
    return bench.with_dense(exported, latency), record


def dense_is_enough(bench: Workbench, dense: TrialRecord, budget_ms: float) -> Outcome | None:
    """Publish the dense model as the answer; None if fresh processes do not confirm it."""
    bench.save_model(bench.yolo.model, bench.folder.dense / "model.pt", dense.pruning_plan())
    confirmed = bench.measure(bench.yolo.model, bench.folder.dense, CONFIRMING_PROCESSES)
    if confirmed.high_ms > budget_ms:
        return None
    dense = dense.model_copy(update={"confirmed": confirmed})
    bench.folder.save_record(dense)
    publish_best(bench, dense)
    outcome = outcome_of(bench, [], dense, dense, "the dense model meets the budget already")
    outcome.save(bench.folder.outcome)
    return outcome
