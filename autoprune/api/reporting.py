"""write_report: the report of a study, from its records."""

from __future__ import annotations

from pathlib import Path

from autoprune.evaluation.traces import no_traces
from autoprune.storage.study_folder import StudyFolder


@no_traces()
def write_report(folder: Path | str) -> Path:
    """Write the report of a study, finished or not; returns the path of report.html.

    Raises:
        ConfigError: The folder holds no study.
    """
    from autoprune import report

    return report.write_report(StudyFolder(Path(folder)))
