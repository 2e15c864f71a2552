"""StudyFolder: where one study keeps its files, and reading its records back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoprune.domain.outcome import Outcome
from autoprune.domain.record import TrialRecord
from autoprune.domain.schema import load_json, save_json, unstamped
from autoprune.errors import BrokenContent, ConfigError
from autoprune.storage.locks import alone
from autoprune.storage.records import folder_name, load_record, record_files
from autoprune.storage.shared import SharedStudy
from autoprune.storage.yaml_io import load_yaml

_PART = ".part"  # being written
_SET_ASIDE = "record.broken.json"


def weights_in(folder: Path) -> list[Path]:
    """A candidate's model.pt and its exported file, such as model.onnx; those that are there."""
    found = (path for path in folder.glob("model.*") if path.suffix != _PART)
    return sorted(found, key=lambda path: path.name != "model.pt")


@dataclass(frozen=True)
class StudyFolder:
    """`studies/<name>/`: study.yaml, study.db, dense/, baselines/, trials/0007/, report/, best.*.

    outcome.yaml beside them says how the last search ended.

    Attributes:
        root: The folder itself.
        shared: What workers in other folders share of the study; None where this folder is all
            there is.
    """

    root: Path
    shared: SharedStudy | None = field(default=None, compare=False)

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
    def asked_space(self) -> Path:
        """asked_space.yaml: a copy of --space, for workers on other machines."""
        return self.root / "asked_space.yaml"

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

    def best_exports(self) -> list[Path]:
        """The exported files beside best.yaml and best.pt; one at most, but for foreign ones."""
        others = {".yaml", ".pt", _PART}
        return sorted(path for path in self.root.glob("best.*") if path.suffix not in others)

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

    def alone(
        self,
        name: str,
        when_held: Callable[[], None] | None = None,
        timeout_s: float | None = None,
    ) -> AbstractContextManager[None]:
        """Hold a lock of the study, by its name; see `locks.alone`.

        Where the study is shared, no worker on any machine holds it at the same time.
        """
        if self.shared is None:
            return alone(self.root / name, when_held, timeout_s)
        return self.shared.alone(name, when_held, timeout_s)

    def hold(self, folder: Path) -> AbstractContextManager[None]:
        """Hold a candidate, by its folder, or not at all: whoever does may work on it.

        Raises:
            Held: Another worker does.
        """
        name = (folder.relative_to(self.root) / ".lock").as_posix()
        return self.alone(name, timeout_s=0)

    def close(self) -> None:
        """Let go of locks and connections, where the study is shared."""
        if self.shared is not None:
            self.shared.close()

    def fetch(self) -> None:
        """Take over what other workers have found, where the study is shared."""
        if self.shared is not None:
            self.shared.fetch(self.root)

    def fetch_records(self) -> None:
        """Take over the trials that other workers have finished, where the study is shared."""
        if self.shared is not None:
            self.shared.fetch_records(self.root)

    def send(self, *files: Path) -> None:
        """Let other workers have files, where the study is shared; if none are named, the study's.

        What has not changed since is not sent again.
        """
        if self.shared is not None:
            self.shared.send(self.root, *files)

    def send_result(self, record: TrialRecord) -> None:
        """Let other workers have a record that is on disk, and the weights beside it."""
        if self.shared is not None:
            folder = self.folder_of(record)
            if record.state == "complete":
                self.shared.send_weights(self.root, folder)  # first: a record says they are there
            self.shared.send(self.root, folder / "record.json")

    def show(self) -> None:
        """Let those who look at a shared study find its plan and its report."""
        if self.shared is not None:
            self.shared.show(self.best_plan, self.report / "report.html")

    def fetch_weights(self, record: TrialRecord) -> None:
        """Bring the weights that another worker trained, where the study is shared."""
        if self.shared is not None and record.state == "complete":
            self.shared.fetch_weights(self.root, self.folder_of(record))

    def drop_weights(self, record: TrialRecord) -> None:
        """Delete a record's weights and exported file, for all workers."""
        folder = self.folder_of(record)
        for file in weights_in(folder):
            file.unlink(missing_ok=True)
        if self.shared is not None:
            self.shared.drop_weights(self.root, folder)

    def save_record(self, record: TrialRecord) -> None:
        """Write a record into its folder, atomically; where the study is shared, for all workers.

        Raises:
            StorageFailed: The study's database cannot be reached.
        """
        record.save(self.folder_of(record) / "record.json")
        self.send_result(record)

    def reread(self, record: TrialRecord) -> TrialRecord:
        """The record as it is on disk now."""
        return TrialRecord.load(self.folder_of(record) / "record.json")

    def dense_record(self) -> TrialRecord | None:
        """The dense model's record, or None before it was measured."""
        path = self.dense / "record.json"
        return TrialRecord.load(path) if path.exists() else None

    def trial_records(self, known: Iterable[TrialRecord] = ()) -> list[TrialRecord]:
        """All finished trials, by number, without those of `broken_records`.

        Args:
            known: Some of them, whose files are not looked at again.
        """
        return self._load_all("trials", known)

    def baseline_records(self) -> list[TrialRecord]:
        """All finished baselines, by name, without those of `broken_records`."""
        return self._load_all("baselines")

    def broken_records(self) -> dict[Path, str]:
        """Records of trials and baselines that cannot be believed, and why; they count as absent.

        Those that were set aside are among them.
        """
        found: dict[Path, str] = {}
        for part in ("baselines", "trials"):
            for path in sorted((self.root / part).glob("*/record.json")):
                try:
                    load_record(path)
                except BrokenContent as error:
                    found[path] = str(error)
            for path in sorted((self.root / part).glob(f"*/{_SET_ASIDE}")):
                found[path] = f"{path}: set aside: its content cannot be believed"
        return found

    def set_broken_aside(self) -> list[str]:
        """Rename what cannot be believed, so that its work is done again; says which files.

        Records, and what only tells of earlier runs: how the last one ended, seconds by stage.
        """
        said = []
        with self.alone(".records.lock"):  # two searches that begin at once
            for path, why in self.broken_records().items():
                if path.name != _SET_ASIDE:
                    path.replace(path.with_name(_SET_ASIDE))
                    said.append(f"{why}; its work is done again")
            for path, load in (
                (self.outcome, self.load_outcome),
                (self.stages, self.stage_seconds),
            ):
                try:
                    load()
                except BrokenContent as error:
                    path.replace(path.with_suffix(f".broken{path.suffix}"))
                    said.append(str(error))
        return said

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
            BrokenContent: outcome.yaml is not an outcome.
            ConfigError: It is of a newer schema.
        """
        return Outcome.load(self.outcome) if self.outcome.exists() else None

    def stage_seconds(self) -> dict[str, float]:
        """Stage -> seconds spent in it, over all runs; empty where none were noted.

        Raises:
            BrokenContent: stages.json is broken.
            ConfigError: It is of a newer schema.
        """
        if not self.stages.exists():
            return {}
        content = load_json("stages.json", self.stages)
        try:
            return {str(name): float(seconds) for name, seconds in content["seconds"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            expected = "seconds by the name of the stage"
            raise BrokenContent.of(str(self.stages), "seconds", content, expected) from None

    def add_stage_seconds(self, name: str, seconds: float) -> None:
        """Add to the seconds spent in a stage."""
        with self.alone(".stages.lock"):
            self.fetch()
            spent = self.stage_seconds()
            spent[name] = round(spent.get(name, 0.0) + seconds, 2)
            save_json("stages.json", self.stages, {"seconds": spent})
            self.send(self.stages)

    def _load_all(self, part: str, known: Iterable[TrialRecord] = ()) -> list[TrialRecord]:
        records = list(known)
        for path in record_files(self.root / part, {folder_name(each) for each in records}):
            with suppress(BrokenContent):  # see broken_records
                if (record := load_record(path)) is not None:
                    records.append(record)
        return sorted(records, key=lambda record: (record.number or 0, record.name))
