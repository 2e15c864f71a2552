"""The commands that work with a database, from the terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from autoprune.cli.main import app
from autoprune.domain.outcome import Outcome
from autoprune.search.evaluate.storage import Storage
from autoprune.storage.study_folder import StudyFolder
from tests.report import fake_study as fake

SEARCH = ["search", "--speedup", "2"]


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize(
    ("arguments", "needle", "code"),
    [
        (["worker", "--study", "a"], "worker: --storage: got None, expected postgresql+", 2),
        ([*SEARCH, "--storage", "mysql://ada:geheim@host/x"], "--storage: got 'mysql://ada:***", 2),
        ([*SEARCH, "--artifacts", "kept"], "--artifacts: got 'kept', expected --storage too", 2),
        ([*SEARCH, "--storage", "postgresql://ada:geheim@127.0.0.1:1/x"], "refused", 4),
        (["report", "--study", "a"], "report: --storage: got None", 2),
        (["report"], "expected the folder of a study, or --storage and --study", 2),
    ],
)
def test_what_cannot_be_done_is_one_line(arguments: list[str], needle: str, code: int) -> None:
    said = _run(*arguments)
    assert said.exit_code == code
    assert needle in said.stderr
    assert len(said.stderr.splitlines()) == 1
    assert "geheim" not in said.output


def test_a_report_is_made_where_no_trial_ever_ran(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = fake.rung_study(tmp_path / "here")
    shared = Storage.checked(database).study("ours")
    sending = StudyFolder(made.root, shared)
    sending.send()
    for record in (*made.baseline_records(), *made.trial_records()):
        sending.send_result(record)
    sending.close()
    there = tmp_path / "there"
    monkeypatch.setenv("AUTOPRUNE_STORAGE", database)
    said = _run("report", "--study", "ours", "--studies", str(there))
    assert said.exit_code == 0, said.output
    assert (there / "ours" / "report" / "report.html").exists()
    assert StudyFolder(there / "ours").trial_records() == made.trial_records()
    assert Outcome.load(there / "ours" / "outcome.yaml") == made.load_outcome()
    assert "s3cret" not in "".join(
        file.read_text("utf-8", "replace") for file in there.rglob("*") if file.is_file()
    )
    missing = _run("report", "--study", "theirs", "--studies", str(there))
    assert missing.exit_code == 2
    assert "--study: got 'theirs', expected one in" in missing.stderr


def test_a_password_on_the_command_line_is_taken_off_it(tmp_path: Path) -> None:
    """What anybody can read of the process: its command line, once it says something."""
    url = "postgresql+psycopg://ada:geheim@127.0.0.1:1/x"
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from autoprune.cli.main import main\n"
        "line = Path('/proc/self/cmdline')\n"
        "print(line.read_text().split(chr(0)) if line.exists() else '', file=sys.stderr)\n"
        "main()\n"
    )
    arguments = ["report", "--storage", url, "--study", "a", "--studies", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "AUTOPRUNE_STORAGE"},
    )
    first, second, *rest = done.stderr.splitlines()
    assert url in first, "as the user wrote it, for a moment"
    assert "geheim" not in second
    assert "'report'" in second
    assert len(rest) == 1
    assert "postgresql+psycopg://ada:***@127.0.0.1:1/x" in rest[0]
    assert done.returncode == 4
