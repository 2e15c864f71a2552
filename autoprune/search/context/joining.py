"""What a worker that joins a study is asked: what the study's first search was asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoprune.domain.config import StudyConfig
from autoprune.errors import ConfigError
from autoprune.storage.study_folder import StudyFolder


@dataclass(frozen=True)
class Own:
    """What is a worker's own, whatever the study says.

    Attributes:
        model: Its copy of the dense model; None where the study's path holds here too.
        data: Its copy of the data YAML; likewise.
        timeout_s: Its time limit in seconds; None for the study's.
        workers_local: Its processes; None: as idle cores allow.
        trust_checkpoint: Whether it loads a .pt that may run code. No study decides that.
    """

    model: Path | None = None
    data: Path | None = None
    timeout_s: float | None = None
    workers_local: int | None = None
    trust_checkpoint: bool = False


def joined(folder: StudyFolder, own: Own) -> StudyConfig:
    """The configuration of a study, for a worker of it. The content of its files is checked later.

    Args:
        folder: Filled from the study's database.
        own: What is the worker's.

    Raises:
        ConfigError: No search has begun it, its settings are broken, or a file is not here.
    """
    if not folder.settings.exists():
        raise ConfigError(f"--study: {folder.root.name} has no settings yet; start a search first")
    settings = folder.load_settings()
    asked = settings.get("asked")
    if not isinstance(asked, dict):
        raise ConfigError.of(str(folder.settings), "asked", asked, "what the study was asked")
    values: dict[str, Any] = {
        **asked,
        "workers_local": own.workers_local,
        "trust_checkpoint": own.trust_checkpoint,
    }
    if own.timeout_s is not None:
        values["timeout_s"] = own.timeout_s
    if settings.get("demo") is True:
        values |= {"model": None, "data": None}
    else:
        for flag, given in (("model", own.model), ("data", own.data)):
            values[flag] = _file(f"--{flag}", given, asked.get(flag))
    if asked.get("space") is not None:
        values["space"] = folder.asked_space
    return StudyConfig.of(values, str(folder.settings))


def _file(flag: str, given: Path | None, asked: object) -> Path:
    file = given or Path(str(asked))
    if not file.exists():
        expected = "a file" if given else "the study's, which is not here at that path"
        raise ConfigError.of(flag, "", str(file), expected)
    return file
