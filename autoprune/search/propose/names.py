"""Checks the names a StudyConfig chooses rows by, before anything heavy is imported."""

from __future__ import annotations

from autoprune.domain.config import StudyConfig
from autoprune.errors import ConfigError
from autoprune.latency.runtimes import RUNTIMES, layouts_expected
from autoprune.latency.targets import target_from
from autoprune.pruning.importance import CRITERIA
from autoprune.search.propose.samplers import SAMPLERS


def check_names(config: StudyConfig) -> None:
    """Look up the runtime, sampler, importance criterion and target that are asked for.

    Raises:
        ConfigError: One is not there, or does not fit the other settings; it lists those there are.
    """
    runtime = RUNTIMES.row(config.runtime, "--runtime")
    SAMPLERS.row(config.sampler, "--sampler")
    CRITERIA.row(config.importance, "--importance")
    target_from(config.target, config.target_python)
    if config.channels_last and not runtime.channels_last:
        raise ConfigError.of("--channels-last", "", True, layouts_expected())
