"""The demo's own search space around evaluations that are invented.

Model, channel groups, widths, solver and sampler are those of a real search; latencies follow the
convolutions' multiply-accumulates, and nothing is measured, validated or trained.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import optuna

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
from autoprune.search.propose.objectives import OBJECTIVES
from autoprune.search.propose.samplers import Known
from autoprune.search.propose.study_sampler import study_sampler
from tests.search.fakes import DENSE, record

IMGSZ = (160, 160)
IMPORTANCE = "l1"  # which needs no images
CONSTANT = 0.1  # of the dense latency


@cache
def model() -> tuple[Pruner, LatencyPredictor]:
    """The demo's pruner, and a predictor that prices its operations."""
    network = load_yolo(demo_checkpoint()).model
    pruner = Pruner(network, IMPORTANCE)
    geometry = model_geometry(network, pruner.groups, IMGSZ)
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
    pruner, predictor = model()
    bench.pruner, bench.predictor = pruner, predictor
    bench.space = SearchSpace.load(space_file(family_of(pruner.model)), pruner.widths)
    assert DENSE.latency is not None
    bench.predicted_ms = lambda plan: _ratio(plan) * DENSE.latency.median_ms
    return bench


def wide_study(bench: Any, storage: Any) -> optuna.Study:
    """The Optuna study of such a bench, with the search's own sampler."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    known = Known(Profile.of(bench.pruner, bench.space, bench.predictor), 0.5, 0.8)
    return optuna.create_study(
        study_name="fake",
        storage=storage,
        sampler=study_sampler(bench.config.sampler, known, bench.config.seed),
        directions=[objective.direction for objective in OBJECTIVES],
        load_if_exists=True,
    )


def invented(candidate: Candidate) -> TrialRecord:
    """A record as rung UNTRAINED leaves it: all but the score is as the real one's."""
    pruner, _ = model()
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
    pruner, predictor = model()
    return float(predictor.predict(np.array([pruner.signature(plan)]))[0])
