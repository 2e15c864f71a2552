"""The guarded loader and the atomic writer, killed at work."""

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autoprune.errors import ConfigError
from autoprune.storage import yaml_io
from autoprune.storage.yaml_io import (
    MAX_YAML_BYTES,
    MAX_YAML_DEPTH,
    dump_yaml,
    load_yaml,
    write_atomic,
)

posix = pytest.mark.skipif(os.name != "posix", reason="file permissions are POSIX")


def test_a_file_too_large_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    path.write_text("a: " + "x" * MAX_YAML_BYTES)
    with pytest.raises(ConfigError, match=r"big\.yaml: got 'more than 1048576 bytes'"):
        load_yaml(path)


def test_a_missing_file_a_folder_and_bytes_are_named(tmp_path: Path) -> None:
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00\x01")
    for name, said in [("gone.yaml", "cannot be read"), ("", "cannot be read")]:
        with pytest.raises(ConfigError, match=said):
            load_yaml(tmp_path / name)
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_yaml(tmp_path / "bytes.yaml")


def test_a_syntax_error_gives_its_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("a: 1\nb: {c: ]\n")
    with pytest.raises(ConfigError, match=r"bad\.yaml: not valid YAML: .*line 2, column 8"):
        load_yaml(path)


def test_as_deep_as_any_real_file_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "deep.yaml"
    path.write_text("a: " + "[" * 30 + "]" * 30 + "\nb: " + "[" * 30 + "]" * 30)
    assert set(load_yaml(path)) == {"a", "b"}


def test_brackets_in_brackets_are_refused_before_the_scanner_looks_for_the_end_of_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would look through a thousand of them first, for over a second."""
    opened: list[int] = []
    begin = yaml_io.yaml.SafeLoader.fetch_flow_collection_start
    monkeypatch.setattr(
        yaml_io.yaml.SafeLoader,
        "fetch_flow_collection_start",
        lambda self, token: (opened.append(self.flow_level), begin(self, token)),
    )
    path = tmp_path / "deep.yaml"
    path.write_text("a: " + "[" * 20000)
    with pytest.raises(ConfigError, match=rf"deeper than {MAX_YAML_DEPTH} levels \(line 1, col"):
        load_yaml(path)
    assert len(opened) == MAX_YAML_DEPTH


def test_an_empty_file_is_an_empty_mapping(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("# nothing\n")
    assert load_yaml(path) == {}


def test_nested_duplicates_and_merge_keys_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.yaml"
    for text in ("a: {b: {c: 1, c: 2}}", "a: &x {b: 1}\nc: {<<: *x}"):
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"d\.yaml: not valid YAML"):
            load_yaml(path)


def test_what_is_dumped_loads_as_it_was(tmp_path: Path) -> None:
    shared = [1, 2]
    content = {
        "text": "no", "number": "1e-1", "time": "2026-01-01T00:00:00+00:00", "null": None,
        "lists": [shared, shared], "ünï": "é\n:", "float": 0.1 + 0.2, 3: {"a": True},
    }  # fmt: skip
    path = tmp_path / "x.yaml"
    write_atomic(path, dump_yaml(content))
    assert load_yaml(path) == content
    assert list(load_yaml(path)) == list(content)


def test_a_failed_write_leaves_the_old_file_and_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.json"
    write_atomic(path, "old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.json"]


def test_bytes_are_written_as_given_into_folders_made_for_them(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a" / "b" / "x", b"bytes\r\n")
    assert (tmp_path / "a" / "b" / "x").read_bytes() == b"bytes\r\n"


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@posix
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_is_as_open_as_the_umask_allows(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_atomic(tmp_path / "x", "text")
    finally:
        os.umask(before)
    assert _mode(tmp_path / "x") == mode


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666])
def test_a_file_written_again_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    path.chmod(mode)
    write_atomic(path, "new")
    assert (path.read_text(), _mode(path)) == ("new", mode)


@posix
def test_a_private_file_is_private_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    path.chmod(0o600)
    modes: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda _: modes.extend(map(_mode, tmp_path.iterdir())))
    write_atomic(path, "new")
    assert modes == [0o600, 0o600]


def test_what_is_kept_elsewhere_too_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[int] = []
    monkeypatch.setattr(os, "fsync", waited.append)
    write_atomic(tmp_path / "copy", "text", durable=False)
    assert waited == []
    write_atomic(tmp_path / "copy", "text")
    assert len(waited) == 1


WRITER = """
import sys
from autoprune.storage.yaml_io import write_atomic
number = 0
while True:
    number += 1
    write_atomic(sys.argv[1], f"{number} " * 20000 + "end")
    if number == 1:
        print("ready", flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    for attempt in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        ) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            time.sleep(0.003 * attempt + 0.001)
            writer.kill()
        words = path.read_text().split()
        assert words[-1] == "end"
        assert len(words) == 20001
        assert len(set(words[:-1])) == 1
