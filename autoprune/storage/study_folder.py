"""StudyFolder: where one study keeps its files, and reading its records back."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoprune.domain.outcome import Outcome
from autoprune.domain.record import TrialRecord
from autoprune.domain.schema import load_json, save_json, unstamped
from autoprune.errors import ConfigError
from autoprune.storage.locks import alone
from autoprune.storage.yaml_io import load_yaml


@dataclass(frozen=True)
class StudyFolder:
    """`studies/<name>/`: study.yaml, study.db, dense/, baselines/, trials/0007/, report/, best.*.

    outcome.yaml beside them says how the last search ended.
    """

    root: Path

    @property
    def settings(self) -> Path:
        """study.yaml: everything asked, with versions and hashes."""
        return self.root / "study.yaml"

    @property
    def outcome(self) -> Path:
        """outcome.yaml: how the search ended; absent before the first one starts."""
        return self.root / "outcome.yaml"

    @property
    def database(self) -> Path:
        """study.db: the Optuna study in SQLite."""
        return self.root / "study.db"

    @property
    def calibration(self) -> Path:
        """calibration.json: how many training images channels are ranked by."""
        return self.root / "calibration.json"

    @property
    def profile(self) -> Path:
        """profile.json: what each kept width costs in accuracy, by the calibration images."""
        return self.root / "profile.json"

    @property
    def predictor(self) -> Path:
        """latency_predictor.json: what predicts the latency of any plan, and its error."""
        return self.root / "latency_predictor.json"

    @property
    def verdict(self) -> Path:
        """verdict.json: floor, smaller siblings and image sizes, timed before the first trial."""
        return self.root / "verdict.json"

    @property
    def space(self) -> Path:
        """space.yaml: the widths on offer, when the user named no space."""
        return self.root / "space.yaml"

    @property
    def stages(self) -> Path:
        """stages.json: seconds spent in each stage, over all runs."""
        return self.root / "stages.json"

    @property
    def progress(self) -> Path:
        """progress.jsonl: the best so far over time, one moment a line."""
        return self.root / "progress.jsonl"

    @property
    def dense(self) -> Path:
        """Folder of the dense model's record."""
        return self.root / "dense"

    @property
    def best_plan(self) -> Path:
        """best.yaml: the plan to use; absent when nothing met the goal."""
        return self.root / "best.yaml"

    @property
    def best_model(self) -> Path:
        """best.pt: its fine-tuned weights."""
        return self.root / "best.pt"

    def best_export(self, suffix: str) -> Path:
        """best.onnx: what was timed, to be deployed; with another runtime's suffix, its file."""
        return self.root / f"best{suffix}"

    @property
    def report(self) -> Path:
        """Folder of report.html, pareto.png, trials.csv, pareto.csv."""
        return self.root / "report"

    def trial(self, number: int) -> Path:
        """Folder of one trial: plan.yaml, record.json, log.txt and, for front members, model.pt."""
        return self.root / "trials" / f"{number:04d}"

    def baseline(self, name: str) -> Path:
        """Folder of one baseline, laid out like a trial's."""
        return self.root / "baselines" / name

    def folder_of(self, record: TrialRecord) -> Path:
        """Where a record's files live."""
        if record.kind == "dense":
            return self.dense
        if record.kind == "baseline":
            return self.baseline(record.name)
        assert record.number is not None
        return self.trial(record.number)

    def save_record(self, record: TrialRecord) -> None:
        """Write a record into its folder, atomically."""
        record.save(self.folder_of(record) / "record.json")

    def reread(self, record: TrialRecord) -> TrialRecord:
        """The record as it is on disk now."""
        return TrialRecord.load(self.folder_of(record) / "record.json")

    def dense_record(self) -> TrialRecord | None:
        """The dense model's record, or None before it was measured."""
        path = self.dense / "record.json"
        return TrialRecord.load(path) if path.exists() else None

    def trial_records(self) -> list[TrialRecord]:
        """All finished trials, by number."""
        return self._load_all("trials")

    def baseline_records(self) -> list[TrialRecord]:
        """All finished baselines, by name."""
        return self._load_all("baselines")

    def load_settings(self) -> dict[str, Any]:
        """The content of study.yaml.

        Raises:
            ConfigError: This folder holds no study, or one that a newer autoprune wrote.
        """
        if not self.settings.exists():
            raise ConfigError.of(str(self.root), "", "no study.yaml", "the folder of a study")
        return unstamped("study.yaml", load_yaml(self.settings), str(self.settings))

    def load_outcome(self) -> Outcome | None:
        """How the search ended, or None when none has said so yet.

        Raises:
            ConfigError: outcome.yaml is not an outcome, or of a newer schema.
        """
        return Outcome.load(self.outcome) if self.outcome.exists() else None

    def stage_seconds(self) -> dict[str, float]:
        """Stage -> seconds spent in it, over all runs; empty where none were noted.

        Raises:
            ConfigError: stages.json is broken, or of a newer schema.
        """
        if not self.stages.exists():
            return {}
        content = load_json("stages.json", self.stages)
        try:
            return {str(name): float(seconds) for name, seconds in content["seconds"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            expected = "seconds by the name of the stage"
            raise ConfigError.of(str(self.stages), "seconds", content, expected) from None

    def add_stage_seconds(self, name: str, seconds: float) -> None:
        """Add to the seconds spent in a stage."""
        with alone(self.root / ".stages.lock"):
            spent = self.stage_seconds()
            spent[name] = round(spent.get(name, 0.0) + seconds, 2)
            save_json("stages.json", self.stages, {"seconds": spent})

    def _load_all(self, part: str) -> list[TrialRecord]:
        records = []
        for path in (self.root / part).glob("*/record.json"):
            with contextlib.suppress(FileNotFoundError):  # removed while we listed
                records.append(TrialRecord.load(path))
        return sorted(records, key=lambda record: (record.number or 0, record.name))
