"""The report of one study, from its records alone: HTML, PNG and CSV. No torch, no optuna."""

from __future__ import annotations

from pathlib import Path

from autoprune.storage.study_folder import StudyFolder


def write_report(folder: StudyFolder) -> Path:
    """Write report.html, pareto.png, trials.csv and pareto.csv into the study's report folder.

    Where the search noted how its best so far changed, progress.png too. May be called at any time,
    also on a study that was interrupted or has no finished trial.

    Args:
        folder: The study; of its files only YAML and JSON are read.

    Returns:
        Path of report.html.

    Raises:
        ConfigError: The folder holds no study, or one of those files is broken.
        OSError: The report cannot be written; an older one stays.
    """
    from autoprune.report import html, png, tables
    from autoprune.report.study import load_study
    from autoprune.storage.yaml_io import write_atomic

    study = load_study(folder)
    write_atomic(folder.report / "trials.csv", tables.as_csv(tables.trials_table(study)))
    write_atomic(folder.report / "pareto.csv", tables.as_csv(tables.pareto_table(study)))
    write_atomic(folder.report / "pareto.png", png.draw_front(study))
    if study.moments:
        write_atomic(folder.report / "progress.png", png.draw_progress(study))
    page = folder.report / "report.html"
    write_atomic(page, html.render(study))
    return page
