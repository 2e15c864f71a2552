"""Where weights are kept that workers on several machines share: a folder, or a bucket."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from optuna.artifacts import Boto3ArtifactStore, FileSystemArtifactStore

from autoprune.errors import ConfigError, StorageFailed

EXPECTED = "a folder, or s3://bucket/prefix"
_BUCKET = "s3://"


@dataclass(frozen=True)
class Prefixed:
    """An artifact store whose files lie below a prefix of another one."""

    store: Any
    prefix: str

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """See `optuna.artifacts`."""
        found: BinaryIO = self.store.open_reader(self.prefix + artifact_id)
        return found

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """See `optuna.artifacts`."""
        self.store.write(self.prefix + artifact_id, content_body)

    def remove(self, artifact_id: str) -> None:
        """See `optuna.artifacts`."""
        self.store.remove(self.prefix + artifact_id)


@dataclass(frozen=True)
class ArtifactPlace:
    """A store of artifacts, and its name for the user."""

    shown: str
    store: Any = field(repr=False)


def artifact_place(text: str, *, make: bool = True) -> ArtifactPlace:
    """What `--artifacts` names, reached once.

    Args:
        text: A folder, or a bucket and a prefix.
        make: Make the folder where it is missing.

    Raises:
        ConfigError: It is no such place, the package is missing, or the bucket is.
        StorageFailed: It cannot be reached now.
    """
    if text.startswith(_BUCKET):
        return _bucket(text)
    if "://" in text or not text.strip():
        raise ConfigError.of("--artifacts", "", text, EXPECTED)
    folder = Path(text).absolute()
    try:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--artifacts: {text}: {error.strerror or error}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError.of("--artifacts", "", text, "a folder that can be written")
    return ArtifactPlace(str(folder), FileSystemArtifactStore(folder))


def _bucket(text: str) -> ArtifactPlace:
    name, _, prefix = text.removeprefix(_BUCKET).partition("/")
    if not name:
        raise ConfigError.of("--artifacts", "", text, EXPECTED)
    try:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        raise ConfigError(
            '--artifacts: s3:// needs the package boto3: pip install "autoprune[s3]"'
        ) from None
    try:
        client = boto3.client("s3")
        client.head_bucket(Bucket=name)
    except ClientError as error:
        raise ConfigError(f"--artifacts: {text}: {error}") from None
    except (BotoCoreError, ValueError) as error:
        raise StorageFailed(f"--artifacts: {text}: {error}") from None
    store = Boto3ArtifactStore(name, client)
    below = prefix.strip("/")
    return ArtifactPlace(text, Prefixed(store, f"{below}/") if below else store)
