"""The public functions; each imports what it needs when it is called, and leaves no traces.

A program that calls one finds its environment, loggers, threads and folders as they were
(`autoprune.evaluation.traces` says exactly what).
"""

from __future__ import annotations

from autoprune.api.applying import apply
from autoprune.api.exporting import export
from autoprune.api.inspecting import inspect
from autoprune.api.measuring import measure, measure_self_test
from autoprune.api.pruning import fine_tune_pruned, load, prune_detection_model
from autoprune.api.reporting import write_report
from autoprune.api.searching import SearchResult, probe, search
from autoprune.api.sharing import fetch_study, join_study

__all__ = [
    "SearchResult",
    "apply",
    "export",
    "fetch_study",
    "fine_tune_pruned",
    "inspect",
    "join_study",
    "load",
    "measure",
    "measure_self_test",
    "probe",
    "prune_detection_model",
    "search",
    "write_report",
]
