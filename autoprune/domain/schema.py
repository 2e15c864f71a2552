"""Schema versions of the files that outlive a run: written into each, checked when it is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoprune.errors import BrokenContent, ConfigError
from autoprune.storage.yaml_io import write_atomic

KEY = "schema"
CHECKSUM = "checksum"

VERSIONS = {
    "study.yaml": 1,
    "space.yaml": 1,
    "outcome.yaml": 1,
    "record.json": 5,  # 5: crash, frozen norms; 4: float of INT8; 3: metric, notes; 2: checksum
    "verdict.json": 1,
    "calibration.json": 1,
    "profile.json": 1,
    "stages.json": 1,
    "latency_predictor.json": 2,  # with a price of plain joins
    "latency_table.json": 1,
    "request.json": 1,  # of a full fine-tune, or of a bundle
    "step.json": 1,  # of a bundle in the making
    "card.json": 2,  # 2: mAP before and after the fine-tune
}
"""Kind of file, by its usual name -> the version written now.

Raise it when a file of the new form cannot be read by the code before, and let the reader of the
file take the older form or refuse it. A file without a version is of version 1.
"""


_SEALED = ("record.json", "card.json")  # kinds of files whose numbers are published


def stamped(kind: str, content: Mapping[Any, Any]) -> dict[Any, Any]:
    """The content with its schema version as the first key."""
    return {KEY: VERSIONS[kind], **content}


def unstamped(kind: str, content: Any, where: str) -> dict[Any, Any]:
    """Check the schema version of what a file held, and take it out.

    Args:
        kind: A key of VERSIONS.
        content: The parsed file.
        where: Its path, for messages.

    Returns:
        The mapping without its version.

    Raises:
        ConfigError: No mapping, no version at all, or one that a newer autoprune wrote.
    """
    if not isinstance(content, dict):
        raise BrokenContent.of(where, "", content, "a mapping of keys to values")
    version, newest = content.get(KEY, 1), VERSIONS[kind]
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise BrokenContent.of(where, KEY, version, f"a whole number from 1 to {newest}")
    if version > newest:
        expected = f"at most {newest} (written by a newer autoprune)"
        raise ConfigError.of(where, KEY, version, expected)
    return {key: value for key, value in content.items() if key != KEY}


def save_json(kind: str, path: Path, content: Mapping[str, Any]) -> None:
    """Write a file of a kind, with its version, atomically; numbers that count with a checksum."""
    sealed = {CHECKSUM: _checksum(content), **content} if kind in _SEALED else content
    write_atomic(path, json.dumps(stamped(kind, sealed), indent=1) + "\n")


def load_json(kind: str, path: Path) -> dict[str, Any]:
    """Read what `save_json` wrote, or what was written before there were versions.

    Raises:
        ConfigError: Unreadable, or of a newer version.
        BrokenContent: Not a JSON object, or changed since.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    return parse_json(kind, text, str(path))


def parse_json(kind: str, text: str | bytes, where: str) -> dict[str, Any]:
    """The content of a file that `save_json` wrote; `where` is its path, for messages.

    Raises:
        ConfigError: Of a newer version.
        BrokenContent: Not a JSON object, or changed since.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BrokenContent(f"{where}: not valid JSON: {error}") from None
    content = unstamped(kind, content, where)
    noted = content.pop(CHECKSUM, None) if kind in _SEALED else None
    if noted is not None and noted != _checksum(content):
        expected = f"{noted}: the content as the search wrote it"
        raise BrokenContent.of(where, CHECKSUM, _checksum(content), expected)
    return content


def _checksum(content: Mapping[Any, Any]) -> str:
    """Sixteen hex digits of what a file holds, however it is laid out."""
    plain = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(plain.encode()).hexdigest()[:16]
