"""The latency predictor of a study: taken from an earlier one, read back, or learned now."""

from __future__ import annotations

from autoprune.latency.predictor import LatencyPredictor
from autoprune.pruning.trace_geometry import model_geometry
from autoprune.search.context.budget import Allowance
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.workbench import Calibrated, Informed
from autoprune.search.learn.earlier import take_tables
from autoprune.search.learn.learn_latency import LIMIT_S, learn_latency, shared_folder
from autoprune.search.learn.target_space import with_target_space

DEMO_LIMIT_S = 45.0
LEARNING_PER_MS, LEAST_LEARNING_S = 5.0, 20.0  # seconds per ms of the dense model, and at least


def informed(bench: Calibrated, allowance: Allowance, listener: SearchListener) -> Informed:
    """Learn the target's latency within the stage's time, and which widths are on its steps.

    What was timed for an earlier study of the same architecture and target is used again. A study
    that is continued keeps the predictor it began with.

    Raises:
        StudyMismatch, TrialFailed, TargetUnreachable: As `learn_latency`.
        ConfigError: The study's predictor or space.yaml is broken.
    """
    take_tables(bench)
    if bench.folder.predictor.exists():
        geometry = model_geometry(bench.pruner.model, bench.pruner.groups, bench.imgsz)
        predictor = LatencyPredictor.load(bench.folder.predictor, geometry)
    else:
        listener.candidate("latency predictor", None, None)
        listener.stage("latency")
        limit_s = min(allowance.left_s(), most_s(bench.dense_latency.median_ms, demo=bench.demo))
        predictor = learn_latency(bench, shared_folder(bench), listener, limit_s)
        predictor.save(bench.folder.predictor)
    return with_target_space(bench.grown(Informed, predictor=predictor), listener)


def most_s(dense_ms: float, *, demo: bool) -> float:
    """Seconds worth spending on timing plans of a model that takes `dense_ms`."""
    return DEMO_LIMIT_S if demo else min(LIMIT_S, max(LEAST_LEARNING_S, LEARNING_PER_MS * dense_ms))
