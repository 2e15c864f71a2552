"""autoprune: find which channels of a YOLOv8 detector can go, by measuring.

Nouns (plain data)        Verbs (folders)
  config, plan, space       pruning     cut channels out of a model
  record, outcome, front    families    which channels belong together
  verdict, study_folder     latency     time a model on its target
  yaml_io, errors           evaluation  fine-tune and validate (Ultralytics)
                            search      compose all of that under Optuna
                            report      records -> HTML, PNG, CSV
                            demo        the generated data set and its checkpoint
Doors: `api` (Python), `cli` with `screen` (terminal). Names below load on first use, so that
`import autoprune` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoprune.api import load, measure, probe, prune_detection_model, search, write_report

__all__ = ["load", "measure", "probe", "prune_detection_model", "search", "write_report"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in __all__:
        from autoprune import api

        return getattr(api, name)
    raise AttributeError(f"module 'autoprune' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
