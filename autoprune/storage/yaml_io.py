"""The one guarded YAML loader and the one atomic file writer."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import time
from pathlib import Path
from typing import Any

import yaml

from autoprune.errors import ConfigError

MAX_YAML_BYTES = 1 << 20
MAX_YAML_DEPTH = 32
_TOO_DEEP = f"nested deeper than {MAX_YAML_DEPTH} levels"
_DRAFT = re.compile(r"\..+\.[0-9a-f]{16}")


class _GuardedLoader(yaml.SafeLoader):
    """SafeLoader without aliases (a 306-byte file can expand to gigabytes) or duplicate keys."""

    depth = 0

    def fetch_flow_collection_start(self, token: Any) -> None:
        if self.flow_level >= MAX_YAML_DEPTH:  # a key may be 1024 brackets long: found before that
            raise _refused(_TOO_DEEP, self.get_mark())
        super().fetch_flow_collection_start(token)

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        refused = ""
        if self.check_event(yaml.AliasEvent):
            refused = "YAML aliases (*name) are not accepted"
        elif self.depth > MAX_YAML_DEPTH:
            refused = _TOO_DEEP
        if refused:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise _refused(refused, mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            try:
                repeated = key in seen
                seen.add(key)
            except TypeError:
                continue  # an unhashable key: the parent class reports it with its place
            if repeated:
                raise _refused(f"key {key!r} is given twice", key_node.start_mark)
        return super().construct_mapping(node, deep)


def _refused(why: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, why, mark)


def load_yaml(path: Path | str) -> dict[Any, Any]:
    """Read a YAML mapping.

    Args:
        path: A UTF-8 file of at most MAX_YAML_BYTES.

    Returns:
        The mapping; an empty file gives an empty one.

    Raises:
        ConfigError: The file is missing, too large, not UTF-8, not YAML, holds aliases or
            duplicate keys, or is not a mapping.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_YAML_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(raw) > MAX_YAML_BYTES:
        raise ConfigError.of(
            str(path), "", f"more than {MAX_YAML_BYTES} bytes", "a small YAML file"
        )
    try:
        content = yaml.load(raw.decode("utf-8"), Loader=_GuardedLoader)  # noqa: S506
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: got bytes that are not UTF-8, expected a YAML file") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{path}: not valid YAML: {_one_line(error)}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError.of(str(path), "", content, "a mapping of keys to values")
    return content


def dump_yaml(content: dict[Any, Any]) -> str:
    """Render a mapping as YAML text, keys in the order given, no aliases."""

    class _PlainDumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    return yaml.dump(content, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True)


def write_atomic(path: Path | str, content: str | bytes, durable: bool = True) -> None:
    """Write a file so that a reader, or a crash, sees the old file or the new one, never half.

    A new file gets the permissions that the umask leaves; an existing one keeps its own.

    Args:
        path: Target; its folder is created.
        content: Text (written as UTF-8) or bytes.
        durable: Whether it is on the disk afterwards, also if the power fails; a copy of what is
            kept elsewhere need not wait for that.

    Raises:
        OSError: Disk full and the like; the old file stays.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = content.encode("utf-8") if isinstance(content, str) else content
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with draft.open("xb") as stream:
            with contextlib.suppress(FileNotFoundError):
                os.chmod(draft, stat.S_IMODE(path.stat().st_mode))
            stream.write(raw)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def drafts_in(folder: Path, older_than_s: float = 0.0) -> list[Path]:
    """What killed writers left beside the files that they would have replaced.

    Args:
        folder: Where `write_atomic` wrote; nothing is writing there that began so long ago.
        older_than_s: Seconds since a draft was last written.
    """
    found = []
    for draft in folder.glob(".*"):
        with contextlib.suppress(OSError):
            old = time.time() - draft.stat().st_mtime >= older_than_s
            if old and draft.is_file() and _DRAFT.fullmatch(draft.name):
                found.append(draft)
    return found


def _one_line(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{error.problem} (line {mark.line + 1}, column {mark.column + 1})"
    return " ".join(str(error).split()) or type(error).__name__
