"""How far to trust measurements here: a model against itself, and made slower by a known share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from autoprune.domain.record import LatencyResult
from autoprune.latency.exported_model import ExportedModel
from autoprune.latency.measure import measure_against, measure_dense
from autoprune.latency.options import RuntimeOptions, TimingSettings
from autoprune.latency.targets import LatencyTarget

BURDENS = (0.0, 0.02, 0.05, 0.1)  # shares of the model's own time added to every run
ROUNDS = 8
_POWER_95 = 1.96 + 1.645  # standard errors between "no difference" and one found 19 times of 20


@dataclass(frozen=True)
class Trustworthiness:
    """Repeated measurements of one known difference.

    Attributes:
        burden: By how much longer the second model really takes: 0.05 for 5 %.
        results: One per measurement.
    """

    burden: float
    results: tuple[LatencyResult, ...]

    @property
    def errors(self) -> tuple[float, ...]:
        """Measured over true ratio, less one."""
        return tuple(result.ratio / (1 + self.burden) - 1 for result in self.results)

    @property
    def found(self) -> int:
        """How many times the 95 % interval lay wholly above (or below) no difference."""
        return sum(result.ratio_low > 1 or result.ratio_high < 1 for result in self.results)

    @property
    def covered(self) -> int:
        """How many times the interval held the true ratio."""
        true = 1 + self.burden
        return sum(result.ratio_low <= true <= result.ratio_high for result in self.results)


def self_test(
    target: LatencyTarget,
    model: ExportedModel,
    options: RuntimeOptions,
    settings: TimingSettings | None = None,
    rounds: int = ROUNDS,
    burdens: tuple[float, ...] = BURDENS,
    heard: Callable[[int, int], None] = lambda done, wanted: None,
) -> tuple[Trustworthiness, ...]:
    """Time a model against itself and against itself plus a known busy time.

    Args:
        target: Where.
        model: What.
        options: The runtime.
        settings: Of every single measurement.
        rounds: Measurements per difference, one of each in turn.
        burdens: The differences, as shares of the model's own time.
        heard: Told after each measurement how many are done, and of how many.

    Returns:
        One entry per difference.

    Raises:
        ConfigError, TrialFailed, TargetUnreachable: As `measure_dense`.
    """
    settings = settings or TimingSettings()
    dense = measure_dense(target, model, options, settings)
    unchecked = replace(model, reference=None)
    results: dict[float, list[LatencyResult]] = {burden: [] for burden in burdens}
    for _ in range(rounds):
        for burden in burdens:
            burdened = replace(settings, burden_s=burden * dense.median_ms / 1e3)
            results[burden].append(
                measure_against(target, unchecked, unchecked, dense, options, burdened)
            )
            heard(sum(map(len, results.values())), rounds * len(burdens))
    return tuple(Trustworthiness(burden, tuple(results[burden])) for burden in burdens)


def smallest_difference(tested: tuple[Trustworthiness, ...]) -> float:
    """The smallest true difference in latency that is found 19 times of 20, as a fraction.

    3.6 standard deviations of the logarithm of all measured over true ratios.
    """
    errors = [math.log1p(error) for each in tested for error in each.errors]
    return math.expm1(_POWER_95 * float(np.std(errors, ddof=1)))
