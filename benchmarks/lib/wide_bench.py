"""The demo's own search space, with its 23 parameters, around evaluations that are invented.

Model, channel groups, widths, solver and sampler are those of a real search; latencies follow the
convolutions' multiply-accumulates, and nothing is measured, validated or trained.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from autoprune.demo.bundle import demo_checkpoint
from autoprune.domain.plan import PruningPlan
from autoprune.domain.record import TrialRecord
from autoprune.domain.space import SearchSpace
from autoprune.evaluation.checkpoint import load_yolo
from autoprune.families import family_of, space_file
from autoprune.latency.features import Staircase, shared_costs
from autoprune.latency.predictor import LatencyPredictor, PredictorError
from autoprune.pruning.prune import Pruner
from autoprune.pruning.trace_geometry import model_geometry
from autoprune.search.evaluate.candidate import Candidate
from autoprune.search.learn.profile import Profile
from tests.search.fakes import DENSE, fake_bench, record

IMGSZ = (160, 160)
IMPORTANCE = "l1"  # which needs no images
CONSTANT = 0.1  # of the dense latency


@cache
def _model() -> tuple[Pruner, LatencyPredictor]:
    model = load_yolo(demo_checkpoint()).model
    pruner = Pruner(model, IMPORTANCE)
    geometry = model_geometry(model, pruner.groups, IMGSZ)
    predictor = LatencyPredictor(
        geometry,
        Staircase(block=8, pads_inputs=False, align=1),
        shared_costs(geometry)[0],
        0.0,
        PredictorError(mape=0.01, spearman=1.0, plans=32),
    )
    dense = float(predictor.predict(np.array([geometry.widths]))[0])
    priced = predictor.times((1 - CONSTANT) / dense)
    return pruner, LatencyPredictor(
        geometry, priced.staircase, priced.prices, CONSTANT, priced.error
    )


def wide_bench(bench: Any) -> Any:
    """A fake bench whose plans are the demo's."""
    pruner, predictor = _model()
    bench.pruner, bench.predictor = pruner, predictor
    bench.space = SearchSpace.load(space_file(family_of(pruner.model)), pruner.widths)
    assert DENSE.latency is not None
    bench.predicted_ms = lambda plan: _ratio(plan) * DENSE.latency.median_ms
    return bench


def wide_profile(bench: Any) -> Profile:
    """What the sampler knows before any trial."""
    return Profile.of(bench.pruner, bench.space, bench.predictor)


def invented(candidate: Candidate) -> TrialRecord:
    """A record as rung UNTRAINED leaves it: all but the score is as the real one's."""
    pruner, _ = _model()
    ratio = _ratio(candidate.plan)
    over = 10 * ratio > 5
    return record(
        candidate.name,
        None,
        None,
        number=candidate.number,
        state="over_budget" if over else "scored",
        params=int(3e6 * ratio),
        plan=candidate.plan,
        predicted=10 * ratio,
        untrained=None if over else 0.8 * ratio,
        kept=pruner.kept_widths(candidate.plan),
    )


def _ratio(plan: PruningPlan) -> float:
    pruner, predictor = _model()
    return float(predictor.predict(np.array([pruner.signature(plan)]))[0])


__all__ = ["fake_bench", "invented", "wide_bench", "wide_profile"]
