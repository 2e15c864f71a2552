"""A study in a database: records, small files, locks; weights in an artifact store.

A trial's first record is an attribute of the trial, set before it is told. All else, and every
later version of a record, is an attribute of the study, since a finished trial takes no more.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.exceptions import StorageInternalError

from autoprune.domain.record import TrialRecord
from autoprune.errors import ConfigError, StorageFailed, StudyMismatch
from autoprune.search.context.advisory_locks import AdvisoryLocks
from autoprune.search.context.artifacts import ArtifactPlace
from autoprune.search.context.kept_weights import KeptWeights
from autoprune.search.context.optuna_inside import database_storage, set_trial_attribute
from autoprune.search.context.trial_storage import TrialStorage
from autoprune.storage.database_url import DatabaseUrl
from autoprune.storage.shared import MARK, MOST_BYTES, files_of_the_study, place_of
from autoprune.storage.yaml_io import write_atomic

Direction = Literal["minimize", "maximize"]
FRESH_S = 1.0  # how old the records of other workers' trials may be
RECORD = "record"  # attribute of a trial
_FILE = "file "  # attributes of the study begin so
_IDENTITY = "identity"  # another one


class DatabaseStudy:
    """See `storage.shared.SharedStudy`.

    Args:
        url: The database, which answers.
        name: Of the study.
        directions: Of its objectives, for a new one; None where it must be there.
        artifacts: Where weights go; None where they stay with the worker that trained them.
    """

    def __init__(
        self,
        url: DatabaseUrl,
        name: str,
        directions: Sequence[Direction] | None,
        artifacts: ArtifactPlace | None = None,
    ) -> None:
        """Open it.

        Raises:
            ConfigError: There is no study of that name, or the tables are of another Optuna.
            StorageFailed: The database cannot be reached.
        """
        self.shown = url.shown
        self.locks = AdvisoryLocks(url, name)
        self._sent: dict[str, str] = {}  # name -> hash of what is in the database and here
        self._fresh_until = 0.0
        self._guard = threading.RLock()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with ExitStack() as opened, self._errors():
            opened.callback(self.locks.close)
            with self.alone("/tables", None, None):  # they are made once
                self.storage, self._close = self._tables(url)
            opened.callback(self._close)
            self.study = self._opened(name, directions)
            self.weights = KeptWeights(self.study, artifacts)
            opened.pop_all()

    def _tables(self, url: DatabaseUrl) -> tuple[TrialStorage, Callable[[], None]]:
        try:
            return database_storage(url)
        except RuntimeError as error:  # what Optuna says of tables that it does not know
            raise ConfigError(f"--storage: {self.shown}: {' '.join(str(error).split())}") from None

    def _opened(self, name: str, directions: Sequence[Direction] | None) -> optuna.Study:
        if directions is not None:
            return optuna.create_study(
                study_name=name, storage=self.storage, directions=directions, load_if_exists=True
            )
        try:
            return optuna.load_study(study_name=name, storage=self.storage)
        except KeyError:
            known = ", ".join(sorted(optuna.get_all_study_names(self.storage))) or "none"
            raise ConfigError.of("--study", "", name, f"one in {self.shown}: {known}") from None

    def alone(
        self, name: str, when_held: Callable[[], None] | None, timeout_s: float | None
    ) -> AbstractContextManager[None]:
        """See `SharedStudy.alone`."""
        return self.locks.alone(name, when_held, timeout_s)

    @property
    def note(self) -> str | None:
        """See `SharedStudy.note`."""
        return self.weights.note

    def close(self) -> None:
        """See `SharedStudy.close`."""
        self.locks.close()
        self._close()

    def claim(self, root: Path) -> None:
        """Make a folder a cache of this study, if it is not one of another study.

        Raises:
            ConfigError: It holds a study of its own.
            StudyMismatch: It is the cache of another one, of the same name.
        """
        if (root / "study.db").exists():
            raise ConfigError(
                f"{root}: holds a study that is kept in its study.db, not in {self.shown}; leave"
                " --storage out to continue it, or give --name for a new study"
            )
        mark = root / MARK
        with self.alone(".identity", None, None):
            attributes = self._attributes()
            own, here = attributes.get(_IDENTITY), _identity_in(mark)
            if here is not None and own != here:
                if _FILE + "study.yaml" in attributes:
                    raise StudyMismatch(
                        f"{root}: belongs to another study than the one of this name in"
                        f" {self.shown}; give --studies another folder"
                    )
                own = here  # the database is new: the folder's records go into it
            own = own or secrets.token_hex(16)
            self._set(_IDENTITY, own)
        if here != own:
            write_atomic(mark, json.dumps({"storage": self.shown, "study": own}) + "\n")

    def fetch(self, root: Path) -> None:
        """See `SharedStudy.fetch`."""
        with self._guard:
            self._fresh_until = 0.0
            self.storage.reread_running()
            for key, text in self._attributes().items():
                if key.startswith(_FILE):
                    self._take(root, key.removeprefix(_FILE), text)
            self.fetch_records(root)

    def fetch_records(self, root: Path) -> None:
        """See `SharedStudy.fetch_records`: later versions come with `fetch`."""
        if time.monotonic() < self._fresh_until:
            return
        with self._guard, self._errors():
            for trial in self.study.get_trials(deepcopy=False):
                name = f"trials/{trial.number:04d}/record.json"
                if RECORD in trial.user_attrs and name not in self._sent:
                    self._take(root, name, trial.user_attrs[RECORD])
            self._fresh_until = time.monotonic() + FRESH_S

    def send(self, root: Path, *files: Path) -> None:
        """See `SharedStudy.send`."""
        for file in files or files_of_the_study(root):
            self._send(root, file)

    def send_weights(self, root: Path, folder: Path) -> None:
        """See `SharedStudy.send_weights`."""
        with self._errors():
            self.weights.send(root, folder)

    def fetch_weights(self, root: Path, folder: Path) -> None:
        """See `SharedStudy.fetch_weights`."""
        with self._errors():
            self.weights.fetch(root, folder)

    def drop_weights(self, root: Path, folder: Path) -> None:
        """See `SharedStudy.drop_weights`."""
        with self._errors():
            self.weights.drop(root, folder)

    def send_statistics(self, file: Path) -> None:
        """See `SharedStudy.send_statistics`."""
        with self._errors():
            self.weights.send_statistics(file)

    def fetch_statistics(self, file: Path) -> None:
        """See `SharedStudy.fetch_statistics`."""
        with self._errors():
            self.weights.fetch_statistics(file)

    def show(self, *files: Path) -> None:
        """See `SharedStudy.show`."""
        with self._errors():
            for file in files:
                self.weights.show(file)

    def _take(self, root: Path, name: str, text: object) -> None:
        """Write one file that the database holds, unless what is here goes further."""
        place = place_of(root, name)
        if place is None or not isinstance(text, str) or len(text) > MOST_BYTES:
            return  # none of ours
        found = _hash(text.encode())
        if self._sent.get(name) == found:
            return
        here = place.read_text("utf-8", "replace") if place.exists() else None
        if here is not None and name.endswith("record.json") and _goes_further(here, text, place):
            self._send(root, place)  # its worker was killed before it could
            return
        if here != text:
            write_atomic(place, text, durable=False)  # the database has it
        self._sent[name] = found

    def _send(self, root: Path, file: Path) -> None:
        name, content = file.relative_to(root).as_posix(), file.read_bytes()
        with self._guard:
            if place_of(root, name) is None or self._sent.get(name) == _hash(content):
                return
            text = content.decode("utf-8")
            if not self._is_first_record(file, text):
                if file.name == "record.json" and self._is_late(root, name, text):
                    return
                self._set(_FILE + name, text)
            self._sent[name] = _hash(content)

    def _is_late(self, root: Path, name: str, text: str) -> bool:
        """Whether another worker knows more of a candidate; then its record is taken over."""
        there = self._attributes().get(_FILE + name)
        place = root / name
        if not isinstance(there, str) or not _goes_further(there, text, place):
            return False
        self._take(root, name, there)
        return True

    def _is_first_record(self, file: Path, text: str) -> bool:
        """Keep a record as its trial's; False where that is finished, or it is no trial's."""
        if file.parent.parent.name != "trials" or file.name != "record.json":
            return False
        with self._errors():
            return set_trial_attribute(self.study, int(file.parent.name), RECORD, text)

    def _attributes(self) -> dict[str, Any]:
        with self._errors():
            return self.study.user_attrs

    def _set(self, key: str, value: object) -> None:
        with self._errors():
            self.study.set_user_attr(key, value)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except StorageInternalError as error:
            reason = " ".join(str(error.__cause__ or error).split())
            raise StorageFailed(f"{self.shown}: {reason}") from None


def _identity_in(mark: Path) -> str | None:
    try:
        found = json.loads(mark.read_bytes()).get("study")
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, str) else None


def _goes_further(text: str, other: str, place: Path) -> bool:
    """Whether a record knows more than another version of it; no broken one does."""
    try:
        return _known(text, place) > _known(other, place)
    except ConfigError:
        return False


def _known(text: str, place: Path) -> tuple[int, bool, bool, bool]:
    record = TrialRecord.parsed(text, place)
    return (
        len(record.rungs),
        record.latency is not None,
        record.confirmed is not None,
        record.final is not None,
    )


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
