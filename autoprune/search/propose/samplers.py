"""The table of samplers: what draws the next plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from autoprune.domain.table import Table

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from autoprune.search.learn.profile import Profile
    from autoprune.search.propose.plan_rows import PlanRows

STARTUP_TRIALS = 8  # TPE draws at random until this many trials are finished


@dataclass(frozen=True)
class Known:
    """What a sampler may know besides the trials.

    Attributes:
        profile: Costs and predicted latencies of all choices.
        limit_ratio: Latency limit relative to the dense model; None for an accuracy goal.
        dense_map: mAP50-95 of the dense model.
    """

    profile: Profile
    limit_ratio: float | None
    dense_map: float

    @cached_property
    def rows(self) -> PlanRows:
        """The trials' plans, for all samplers that are made of this."""
        from autoprune.search.propose.plan_rows import PlanRows

        return PlanRows(self.profile)


@dataclass(frozen=True)
class SamplerSpec:
    """One way to draw plans.

    Attributes:
        name: What `--sampler` says.
        summary: What it is, in one line.
        make: (what is known, seed) -> an Optuna sampler.
        sequence: Whether its draws make sense as one sequence alone, as Sobol points do. Such a
            sampler is made once per study, from the study's seed, and must find its place again
            after an interruption. All others are made afresh for each trial, from the study's seed
            and the trial's number, so that a resumed study draws what an uninterrupted one would.
    """

    name: str
    summary: str
    make: Callable[[Known, int], BaseSampler]
    sequence: bool = False


def _profile(known: Known, seed: int) -> BaseSampler:
    from autoprune.search.propose.profile_sampler import ProfileSampler

    return ProfileSampler(known.profile, known.limit_ratio, known.dense_map, seed, known.rows)


def _tpe(known: Known, seed: int) -> BaseSampler:
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, multivariate=True, n_startup_trials=STARTUP_TRIALS)


def _nsga2(known: Known, seed: int) -> BaseSampler:
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(seed=seed, population_size=20)


def _random(known: Known, seed: int) -> BaseSampler:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


SAMPLERS = Table(
    "autoprune.samplers",
    SamplerSpec,
    [
        SamplerSpec(
            "profile",
            "Thompson sampling in an additive model of accuracy, solved for the latency limit.",
            _profile,
        ),
        SamplerSpec(
            "tpe",
            "Multivariate tree-structured Parzen estimator: ranks plans jointly over all indices.",
            _tpe,
        ),
        SamplerSpec("nsga2", "Genetic search over generations of 20.", _nsga2),
        SamplerSpec("random", "Independent uniform draws.", _random),
    ],
)
