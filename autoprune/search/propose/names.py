"""The names that rows are chosen by: checked before anything heavy is imported, and listed."""

from __future__ import annotations

from autoprune.domain.config import StudyConfig
from autoprune.errors import ConfigError
from autoprune.latency.runtimes import RUNTIMES, not_tried, with_layouts
from autoprune.latency.targets import forms, target_from
from autoprune.pruning.importance import CRITERIA
from autoprune.search.propose.samplers import SAMPLERS


def check_names(config: StudyConfig) -> None:
    """Look up the runtime, sampler, importance criterion and target that are asked for.

    Raises:
        ConfigError: One is not there, or does not fit the other settings; it lists those there are.
    """
    runtime = RUNTIMES.row(config.runtime, "--runtime")
    runtime.refuse_precision(config.precision)
    SAMPLERS.row(config.sampler, "--sampler")
    CRITERIA.row(config.importance, "--importance")
    target_from(config.target, config.target_python)
    if config.channels_last and not runtime.channels_last:
        raise ConfigError.of("--channels-last", "", True, f"--runtime {with_layouts()} with it")


def choices() -> dict[str, str]:
    """Setting -> what it may be, in a sentence, for help texts; imports no package's module."""
    return {
        "runtime": RUNTIMES.listed() + not_tried(),
        "channels_last": with_layouts(),
        "sampler": SAMPLERS.listed(),
        "importance": CRITERIA.listed(),
        "target": forms(),
    }
