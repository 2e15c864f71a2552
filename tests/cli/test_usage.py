"""What the command line itself cannot read: one line, exit code 2, and where to look."""

from __future__ import annotations

import pytest

from autoprune.cli.main import app
from autoprune.cli.usage import _show


@pytest.mark.parametrize(
    ("argv", "said", "command"),
    [
        (["search", "--unknown-option"], "--unknown-option", "autoprune search"),
        (["search", "--budget-mss", "5"], "--budget-ms", "autoprune search"),
        (["search", "--trials", "many"], "'--trials'", "autoprune search"),
        (["search", "--trials"], "--trials", "autoprune"),
        (["prune"], "'model'", "autoprune prune"),
        (["serch"], "serch", "autoprune"),
        (["--verbose"], "--verbose", "autoprune"),
    ],
)
def test_wrong_usage_is_one_line_with_where_to_look(
    argv: list[str], said: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        app(argv, prog_name="autoprune")
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("autoprune: ")
    assert said in line
    assert line.endswith(f"; {command} --help shows what there is")


def test_an_error_of_several_lines_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    class Odd(Exception):
        def format_message(self) -> str:
            return "Missing argument 'runtime'. Choose from:\n\tonnxruntime,\n\ttorch"

    with pytest.raises(SystemExit) as caught:
        _show(Odd())
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "Choose from: onnxruntime, torch; autoprune --help" in line


@pytest.mark.parametrize(("argv", "code"), [([], 2), (["--help"], 0), (["search", "--help"], 0)])
def test_help_stays_a_page(argv: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        app(argv, prog_name="autoprune")
    assert caught.value.code == code
    shown = capsys.readouterr()
    page = shown.out + shown.err
    assert page.startswith("Usage: autoprune")
    assert "Options" in page
