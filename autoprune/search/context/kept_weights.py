"""Weights and other big files of a study in an artifact store; what lies where, the study says."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.artifacts import upload_artifact

from autoprune.errors import ConfigError, StorageFailed
from autoprune.search.context.artifacts import ArtifactPlace, artifact_place
from autoprune.storage.shared import is_weights

_FILE = "weights "  # attributes of the study begin so
_PLACE = "artifacts"  # another one: workers that join need not be told where weights go
_STATISTICS = "calibration/"
_SHOWN = "shown/"


class KeptWeights:
    """The big files of one study.

    Args:
        study: The Optuna study.
        place: Where they go; None: where the study says, or nowhere.

    Attributes:
        note: Why they are not kept, though the study says where; None where all is well.
    """

    def __init__(self, study: optuna.Study, place: ArtifactPlace | None) -> None:
        self.study, self.place = study, place
        self.note: str | None = None
        self._sent: dict[str, str] = {}  # name -> hash of what is kept
        self._dropped: set[Path] = set()  # folders of which nothing is kept
        noted = study.user_attrs.get(_PLACE)
        if place is None and isinstance(noted, str):
            try:
                self.place = artifact_place(noted, make=False)
            except (ConfigError, StorageFailed) as error:  # a report needs none
                self.note = f"weights stay here, and others' are not brought: {error}"
        elif place is not None and noted is None:
            study.set_user_attr(_PLACE, place.shown)

    def send(self, root: Path, folder: Path) -> None:
        """See `SharedStudy.send_weights`."""
        self._dropped.discard(folder)
        for file in sorted(folder.glob("model.*")):
            name = file.relative_to(root).as_posix()
            if is_weights(name) and not name.endswith(".part"):
                self._upload(name, file)

    def fetch(self, root: Path, folder: Path) -> None:
        """See `SharedStudy.fetch_weights`."""
        for name, facts in self._known(root, folder).items():
            file = root / name
            if not file.exists() or _hash_of(file) != facts["sha256"]:
                self._download(facts, file)

    def drop(self, root: Path, folder: Path) -> None:
        """See `SharedStudy.drop_weights`."""
        if self.place is None or folder in self._dropped:
            return
        self._dropped.add(folder)
        for name, facts in self._known(root, folder).items():
            with suppress(Exception):  # gone already, or left behind: no reason to stop
                self.place.store.remove(facts["artifact"])
            self.study.set_user_attr(_FILE + name, None)
            self._sent.pop(name, None)

    def send_statistics(self, file: Path) -> None:
        """See `SharedStudy.send_statistics`."""
        if file.exists():
            self._upload(_STATISTICS + file.name, file)

    def fetch_statistics(self, file: Path) -> None:
        """See `SharedStudy.fetch_statistics`."""
        facts = _facts(self.study.user_attrs.get(_FILE + _STATISTICS + file.name))
        if facts is not None and not file.exists():
            self._download(facts, file)

    def show(self, file: Path) -> None:
        """See `SharedStudy.show`: one artifact for good, whose content changes."""
        facts = _facts(self.study.user_attrs.get(_FILE + _SHOWN + file.name))
        if self.place is None or not file.exists():
            return
        if facts is None:
            self._upload(_SHOWN + file.name, file)
            return
        found = _hash_of(file)
        if facts["sha256"] == found:
            return
        try:
            with file.open("rb") as stream:
                self.place.store.write(facts["artifact"], stream)
        except Exception as error:
            raise StorageFailed(f"{self.place.shown}: {file.name}: {_line(error)}") from error
        new = {**facts, "sha256": found, "bytes": file.stat().st_size}
        self.study.set_user_attr(_FILE + _SHOWN + file.name, new)

    def _known(self, root: Path, folder: Path) -> dict[str, dict[str, Any]]:
        """Name -> what is known of the files of one candidate that are kept."""
        if self.place is None:
            return {}
        beginning = _FILE + folder.relative_to(root).as_posix() + "/"
        found = {}
        for key, value in self.study.user_attrs.items():
            name, facts = key.removeprefix(_FILE), _facts(value)
            if key.startswith(beginning) and is_weights(name) and facts is not None:
                found[name] = facts
        return found

    def _upload(self, name: str, file: Path) -> None:
        found = _hash_of(file) if self.place is not None else None
        if self.place is None or found is None or self._sent.get(name) == found:
            return
        before = _facts(self.study.user_attrs.get(_FILE + name))
        try:
            key = upload_artifact(
                artifact_store=self.place.store, file_path=str(file), study_or_trial=self.study
            )
        except Exception as error:
            raise StorageFailed(f"{self.place.shown}: {name}: {_line(error)}") from error
        facts = {"artifact": key, "sha256": found, "bytes": file.stat().st_size}
        self.study.set_user_attr(_FILE + name, facts)
        self._sent[name] = found
        if before is not None:
            with suppress(Exception):  # as above
                self.place.store.remove(before["artifact"])

    def _download(self, facts: dict[str, Any], file: Path) -> None:
        if self.place is None:
            return
        draft = file.with_name(f"{file.name}.part")
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            kept = self.place.store.open_reader(facts["artifact"])
            with kept, draft.open("wb") as stream:
                while block := kept.read(1 << 20):
                    stream.write(block)
        except Exception as error:
            draft.unlink(missing_ok=True)
            raise StorageFailed(f"{self.place.shown}: {file.name}: {_line(error)}") from error
        if _hash_of(draft) != facts["sha256"]:
            draft.unlink()
            raise StorageFailed(f"{self.place.shown}: {file.name} is not as it was written")
        draft.replace(file)


def _facts(value: object) -> dict[str, Any] | None:
    """What an attribute says of a kept file; None where it says none."""
    if not isinstance(value, dict):
        return None
    texts = [value.get("artifact"), value.get("sha256")]
    plain = all(isinstance(each, str) and each.replace("-", "").isalnum() for each in texts)
    return value if plain else None


def _hash_of(file: Path) -> str:
    found = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
