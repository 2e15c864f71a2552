"""In an INT8 study: what the dense model and the best plan take in float, for the report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from autoprune.domain.record import TrialRecord
from autoprune.errors import ConfigError, TrialFailed
from autoprune.evaluation.checkpoint import load_yolo
from autoprune.evaluation.quiet import quiet
from autoprune.latency.measure import RuntimeOptions, TimingSettings, compare
from autoprune.search.context.budget import Allowance
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.workbench import Measured
from autoprune.storage.scratch import scratch_folder

GLANCE = TimingSettings(min_blocks=12, min_s=0.5, dense_s=1.0, cap_s=4.0)


def time_in_float(
    bench: Measured, best: TrialRecord, allowance: Allowance, listener: SearchListener
) -> None:
    """Time the best plan's model beside the dense one in the runtime's float form, once per plan.

    Both records keep it. Nothing where the study is not in INT8, the time is short or the target
    has no such runtime.

    Args:
        bench: The study.
        best: Its best plan, with its weights in place.
        allowance: Of the stage.
        listener: Hears the stages.

    Raises:
        TargetUnreachable: The device is gone.
    """
    folder, runtime = bench.folder.folder_of(best), bench.options.row.in_float
    weights = folder / "model.pt"
    known = best.kind == "dense" or best.float_latency is not None
    if runtime is None or known or not weights.exists():
        return
    if not allowance.allows(bench.dense.seconds):
        return
    listener.candidate("without INT8", None, None)
    listener.stage("latency")
    options = RuntimeOptions(runtime, bench.imgsz, bench.options.threads)
    in_float = replace(bench, options=options)
    try:
        with quiet(folder / "log.txt"), scratch_folder("float") as draft:
            pruned = load_yolo(weights, trust=bench.config.trust_checkpoint).model
            models = [
                in_float.export(module, Path(draft) / name)
                for name, module in (("dense", bench.yolo.model), ("pruned", pruned))
            ]
            timed = compare(bench.target, models, options, GLANCE)
    except (ConfigError, TrialFailed) as reason:
        listener.say(f"Not timed in float: {' '.join(str(reason).split())}")
        return
    for record, latency in zip((bench.folder.dense_record(), best), timed, strict=True):
        if record is not None:
            again = bench.folder.reread(record)
            bench.folder.save_record(again.model_copy(update={"float_latency": latency}))
