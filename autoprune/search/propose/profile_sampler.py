"""ProfileSampler: draws plans that the profile, corrected by the trials so far, calls cheapest."""

from __future__ import annotations

from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from autoprune.search.learn.profile import Profile
from autoprune.search.propose.distributions import distribution_of
from autoprune.search.propose.plan_rows import PlanRows
from autoprune.search.propose.solver import cheapest_plan

Array = np.ndarray[Any, Any]

PRIOR_SPREAD = 0.7  # of a parameter's true cost around the profile's, as a factor less one
NOISE = (0.004, 0.15)  # of a trial's log loss: a constant, and a share of itself
FACTORS = (0.1, 10.0)  # bounds of a drawn factor
LEAST_SCORE = 0.02  # of the dense mAP: below, a score says no more than "broken"
NEAR_LIMIT = 0.7  # share of draws close to the latency limit; the others fill the front
DRAWS = 12
_Drawn = tuple[FrozenTrial, tuple[int, ...]]  # a trial, and the positions of its plan
_DRAWN = (TrialState.COMPLETE, TrialState.FAIL, TrialState.RUNNING)


class ProfileSampler(BaseSampler):
    """Thompson sampling in an additive model of accuracy, solved for latency.

    The model: `log(dense mAP / untrained mAP) = sum over parameters of factor x profile cost`,
    factors around one. Given the finished trials the factors have a normal posterior (Bayesian
    linear regression); one set is drawn from it, and the cheapest plan within a latency limit for
    these factors is the next trial (Thompson 1933; Russo et al. 2018, arXiv 1707.02038).

    Args:
        profile: Costs and predicted latencies.
        limit_ratio: Latency limit relative to the dense model; None for an accuracy goal.
        dense_map: mAP50-95 of the dense model.
        seed: Of the draws.
        rows: The plans of trials, where another sampler of this profile has looked at them.
    """

    def __init__(
        self,
        profile: Profile,
        limit_ratio: float | None,
        dense_map: float,
        seed: int,
        rows: PlanRows | None = None,
    ) -> None:
        self._rows = rows or PlanRows(profile)
        self._profile, self._limit_ratio, self._dense_map = profile, limit_ratio, dense_map
        self._dice = np.random.default_rng(seed)
        self._independent = RandomSampler(seed=seed)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Every open parameter of the profile."""
        return {
            name: distribution_of(offered)
            for name, offered in zip(self._profile.names, self._profile.choices, strict=True)
            if len(offered) > 1
        }

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw factors and a limit, and solve; a plan drawn before is drawn again."""
        drawn = self._drawn(study, trial.number)
        known, losses = self._finished(drawn)
        seen = {row for _, row in drawn}
        plan = self._profile.dense
        for attempt in range(DRAWS):
            factors = self._factors(known, losses, widening=1 + attempt / 4)
            plan = cheapest_plan(self._profile, factors, self._limit())
            if tuple(plan) not in seen:
                break
        kept = self._profile.kept(plan)
        return {name: kept[name] for name in search_space}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A parameter the profile does not know: at random."""
        return self._independent.sample_independent(study, trial, param_name, param_distribution)

    def _drawn(self, study: Study, number: int) -> list[_Drawn]:
        """All other trials with a plan of ours: scored, failed, or under way in another worker."""
        found = []
        for trial in study.get_trials(deepcopy=False, states=_DRAWN):
            row = self._rows.of(trial)
            if row is not None and trial.number != number:
                found.append((trial, row))
        return found

    def _finished(self, drawn: list[_Drawn]) -> tuple[Array, Array]:
        """Positions and log losses of the trials that have a score, (n, parameters) and (n,)."""
        told = [(trial, row) for trial, row in drawn if trial.state == TrialState.COMPLETE]
        rows = np.array([row for _, row in told], dtype=np.int64)
        rows = rows.reshape(-1, len(self._profile.names))
        scores = np.array([trial.values[-1] / self._dense_map for trial, _ in told])
        # 0 stands for "too slow, not validated" too: believed only where the plan is fast enough
        scored = scores > 0
        if self._limit_ratio is None:
            scored[:] = True
        elif not scored.all():
            rest = ~scored
            scored[rest] = self._profile.latency_ratios(rows[rest]) <= self._limit_ratio
        losses: Array = -np.log(np.clip(scores, LEAST_SCORE, 1.0))
        return rows[scored], losses[scored]

    def _factors(self, known: Array, losses: Array, widening: float) -> Array:
        """One draw from the posterior of the parameters' factors, shape (parameters,)."""
        count = len(self._profile.names)
        spread = PRIOR_SPREAD * widening
        if not len(known):
            return np.clip(self._dice.normal(1.0, spread, count), *FACTORS)
        costs = self._profile.cost_rows(known)
        weights = 1 / (NOISE[0] + NOISE[1] * losses) ** 2
        totals = costs.sum(axis=1)
        explained = float(weights @ totals**2)
        scale = float(weights @ (totals * losses)) / explained if explained > 0 else 1.0
        inputs = costs * max(scale, 1e-12)
        precision = (inputs * weights[:, None]).T @ inputs + np.eye(count) / spread**2
        mean = np.linalg.solve(
            precision, inputs.T @ (weights * losses) + np.ones(count) / spread**2
        )
        root = np.linalg.cholesky(precision)
        drawn: Array = mean + np.linalg.solve(root.T, self._dice.normal(size=count))
        return np.clip(drawn, *FACTORS)

    def _limit(self) -> float:
        if self._limit_ratio is None:
            return float(self._dice.uniform(0.35, 0.95))
        low, high = (0.95, 1.0) if self._dice.random() < NEAR_LIMIT else (0.6, 0.95)
        return self._limit_ratio * float(self._dice.uniform(low, high))
