"""What a command says and exits with when something breaks that nobody foresaw."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from autoprune import api
from autoprune.cli import exit_codes
from autoprune.cli.main import app
from autoprune.domain.config import Tolerated
from autoprune.errors import ConfigError, StorageFailed, TooManyFailures, TrialFailed

COMMANDS = {
    "search": ("search", ["search", "--budget-ms", "5"]),
    "probe": ("probe", ["probe", "--budget-ms", "5"]),
    "prune": ("prune_detection_model", ["prune", "a.pt", "-o", "b.pt", "--ratio", "0.1"]),
    "measure": ("measure", ["measure", "a.pt"]),
    "inspect": ("inspect", ["inspect", "a.pt"]),
    "export": ("export", ["export", "a.pt", "-o", "a.onnx"]),
    "report": ("write_report", ["report", "a"]),
}


def _run(
    name: str, error: BaseException, monkeypatch: pytest.MonkeyPatch, *more: str, **variables: str
) -> Result:
    function, arguments = COMMANDS[name]

    def broken(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(api, function, broken)
    return CliRunner().invoke(app, [*arguments, *more], env={"COLUMNS": "200", **variables})


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("kind", [AssertionError, KeyError, ValueError, TypeError])
def test_an_unexpected_error_is_one_line_and_exit_1(
    name: str, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = _run(name, kind("odd\n  number"), monkeypatch)
    assert said.exit_code == 1
    (line,) = said.stderr.splitlines()
    assert line.startswith(f"autoprune: unexpected {kind.__name__} while running {name}: ")
    assert "odd" in line
    assert line.endswith("; --debug shows where")


def test_an_error_without_a_text_is_named_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    said = _run("measure", AssertionError(), monkeypatch)
    shown = "autoprune: unexpected AssertionError while running measure; --debug shows where\n"
    assert said.stderr == shown


@pytest.mark.parametrize("name", COMMANDS)
def test_debug_shows_where_it_came_from(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    by_option = _run(name, ValueError("odd"), monkeypatch, "--debug")
    by_variable = _run(name, ValueError("odd"), monkeypatch, AUTOPRUNE_TRACEBACK="1")
    for said in (by_option, by_variable):
        assert said.exit_code == 1
        assert "in broken" in said.stderr
        assert said.stderr.splitlines()[-1] == (
            f"autoprune: unexpected ValueError while running {name}: odd"
        )


@pytest.mark.parametrize("error", [RuntimeError("a size differs"), MemoryError()])
def test_errors_of_torch_keep_their_exit_code(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = _run("probe", error, monkeypatch)
    assert said.exit_code == 5
    assert len(said.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("a"), 2),
        (TrialFailed("nan", "a"), 2),
        (FileNotFoundError(errno.ENOENT, "no such file", "a"), 2),
        (OSError(errno.ENOSPC, "full"), 4),
        (StorageFailed("a"), 4),
        (TooManyFailures("a"), 5),
        (KeyboardInterrupt(), 130),
    ],
)
def test_expected_errors_have_the_codes_of_the_readme(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = _run("measure", error, monkeypatch)
    assert said.exit_code == code
    assert "--debug" not in said.stderr


def test_a_commands_own_exit_passes() -> None:
    with pytest.raises(typer.Exit), exit_codes.exit_codes("search"):
        raise typer.Exit(3)


def test_the_traceback_is_kept_in_the_folder_of_the_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(study: Path) -> None:
        with exit_codes.exit_codes("search") as running:
            running.study = study
            raise KeyError("odd")

    for study in (tmp_path, tmp_path, tmp_path / "not made yet"):
        with pytest.raises(SystemExit):
            fail(study)
    assert (tmp_path / "errors.log").read_text().count("KeyError: 'odd'") == 2
    assert "unexpected KeyError" in capsys.readouterr().err


def test_a_search_knows_its_study_once_it_is_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autoprune.storage.study_folder import StudyFolder

    def broken(_config: Any, *, listener: Any, **_: Any) -> None:
        listener.prepared(StudyFolder(tmp_path), False, "mAP50-95")
        raise AssertionError("later")

    monkeypatch.setattr(api, "search", broken)
    said = CliRunner().invoke(app, ["search", "--budget-ms", "5"])
    assert said.exit_code == 1
    assert "AssertionError: later" in (tmp_path / "errors.log").read_text()


def test_how_odd_the_images_may_be_is_asked_by_two_options(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Any] = []

    def search(config: Any, **_: Any) -> None:
        seen.append(config.tolerated)
        raise ConfigError("seen enough")

    monkeypatch.setattr(api, "search", search)
    for flags in ([], ["--allow-broken", "7"], ["--allow-unlabelled", "95"]):
        assert CliRunner().invoke(app, ["search", "--speedup", "2", *flags]).exit_code == 2
    assert seen == [Tolerated(5, 90), Tolerated(7, 90), Tolerated(5, 95)]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupt_after_the_end_disturbs_nothing(name: str) -> None:
    program = (
        "import atexit, os, signal\n"
        "from autoprune.cli.main import main\n"
        f"atexit.register(lambda: os.kill(os.getpid(), signal.{name}))\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", program, "--help"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "search" in done.stdout
