"""autoprune: find which channels of a YOLO can go, by measuring.

Nouns and where they are kept   Verbs (folders)
  domain    config, plan, ...     pruning     cut channels out of a model
  storage   study folder, YAML    families    which channels belong together
  errors    the error tree        latency     time a model on its target
                                  evaluation  fine-tune and validate (Ultralytics)
                                  search      compose all of that under Optuna
                                  shipping    from a plan to the bundle that ships
                                  report      records -> HTML, PNG, CSV
                                  demo        the generated data set and its checkpoint
Doors: `api` (Python) and `cli` (terminal). The public names are listed in `_HOMES` and load on
first use, so that `import autoprune` costs nothing and a noun or an error costs no torch.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers; a test compares it with _HOMES
    from autoprune.api.applying import apply
    from autoprune.api.exporting import export
    from autoprune.api.inspecting import inspect
    from autoprune.api.measuring import measure
    from autoprune.api.pruning import load, prune_detection_model
    from autoprune.api.reporting import write_report
    from autoprune.api.searching import probe, search
    from autoprune.api.sharing import fetch_study, join_study
    from autoprune.domain.config import StudyConfig
    from autoprune.domain.goal import Goal
    from autoprune.domain.outcome import Outcome
    from autoprune.domain.plan import PruningPlan
    from autoprune.domain.record import LatencyResult, TrialRecord
    from autoprune.errors import (
        AutopruneError,
        BrokenContent,
        ConfigError,
        PlanError,
        StorageFailed,
        StudyMismatch,
        TargetUnreachable,
        TooManyFailures,
        TrialFailed,
        UnsupportedModel,
    )
    from autoprune.storage.study_folder import StudyFolder

__all__ = [
    "AutopruneError",
    "BrokenContent",
    "ConfigError",
    "Goal",
    "LatencyResult",
    "Outcome",
    "PlanError",
    "PruningPlan",
    "StorageFailed",
    "StudyConfig",
    "StudyFolder",
    "StudyMismatch",
    "TargetUnreachable",
    "TooManyFailures",
    "TrialFailed",
    "TrialRecord",
    "UnsupportedModel",
    "apply",
    "export",
    "fetch_study",
    "inspect",
    "join_study",
    "load",
    "measure",
    "probe",
    "prune_detection_model",
    "search",
    "write_report",
]
__version__ = "0.1.0"

# public name -> the module it is defined in
_HOMES = {
    "apply": "autoprune.api.applying",
    "export": "autoprune.api.exporting",
    "fetch_study": "autoprune.api.sharing",
    "join_study": "autoprune.api.sharing",
    "inspect": "autoprune.api.inspecting",
    "load": "autoprune.api.pruning",
    "measure": "autoprune.api.measuring",
    "probe": "autoprune.api.searching",
    "prune_detection_model": "autoprune.api.pruning",
    "search": "autoprune.api.searching",
    "write_report": "autoprune.api.reporting",
    "StudyConfig": "autoprune.domain.config",
    "Goal": "autoprune.domain.goal",
    "PruningPlan": "autoprune.domain.plan",
    "TrialRecord": "autoprune.domain.record",
    "LatencyResult": "autoprune.domain.record",
    "Outcome": "autoprune.domain.outcome",
    "StudyFolder": "autoprune.storage.study_folder",
    "AutopruneError": "autoprune.errors",
    "BrokenContent": "autoprune.errors",
    "ConfigError": "autoprune.errors",
    "PlanError": "autoprune.errors",
    "StudyMismatch": "autoprune.errors",
    "UnsupportedModel": "autoprune.errors",
    "TargetUnreachable": "autoprune.errors",
    "TooManyFailures": "autoprune.errors",
    "StorageFailed": "autoprune.errors",
    "TrialFailed": "autoprune.errors",
}


class _Package(ModuleType):
    """This package. Importing its folder `search` does not hide the function of that name.

    Inside, write `from autoprune.search import run`: `import autoprune.search.run as run` finds the
    function first.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'autoprune' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
