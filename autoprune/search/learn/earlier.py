"""Earlier studies of the same model, data and target: who they are, and what they have learned."""

from __future__ import annotations

from contextlib import suppress

from autoprune.domain.record import Fingerprint, TrialRecord
from autoprune.domain.space import SearchSpace
from autoprune.errors import AutopruneError
from autoprune.latency.predictor import LatencyPredictor
from autoprune.pruning.trace_geometry import model_geometry
from autoprune.search.context.study_settings import differences
from autoprune.search.context.workbench import Calibrated, Checked
from autoprune.storage.study_folder import StudyFolder
from autoprune.storage.yaml_io import load_yaml, write_atomic


def earlier_studies(bench: Checked, fingerprint: Fingerprint) -> list[StudyFolder]:
    """Studies beside this one that have another goal and are alike in all else.

    The same goal again is a run of its own: somebody wants to see it twice.

    Args:
        bench: The study.
        fingerprint: Of its dense model's latency: studies of another one do not count.

    Returns:
        Their folders, the one with most trials first.
    """
    if not bench.config.reuse:
        return []
    own = load_yaml(bench.folder.settings)
    found: list[tuple[int, StudyFolder]] = []
    for path in sorted(bench.folder.root.parent.glob("*/study.yaml")):
        folder = StudyFolder(path.parent)
        with suppress(AutopruneError):  # one that cannot be read is no help
            other = folder.load_settings()
            alike = not differences(other, own, ignored=("goal",))
            if alike and differences(other, own) and _is_of(folder.dense_record(), fingerprint):
                found.append((-len(folder.trial_records()), folder))
    return [folder for _, folder in sorted(found, key=lambda each: each[0])]


def take_tables(bench: Calibrated) -> None:
    """Copy the latency predictor, and the widths on offer that it led to, into a new study."""
    geometry = model_geometry(bench.pruner.model, bench.pruner.groups, bench.imgsz)
    for folder in bench.earlier:
        if bench.folder.predictor.exists():
            return
        with suppress(AutopruneError):
            LatencyPredictor.load(folder.predictor, geometry)
            if bench.config.space is None:
                SearchSpace.load(folder.space, bench.space.widths, bench.config.protect)
                write_atomic(bench.folder.space, folder.space.read_text("utf-8"))
            write_atomic(bench.folder.predictor, folder.predictor.read_text("utf-8"))


def _is_of(dense: TrialRecord | None, fingerprint: Fingerprint) -> bool:
    latency = dense.latency if dense is not None else None
    return latency is not None and latency.fingerprint == fingerprint
