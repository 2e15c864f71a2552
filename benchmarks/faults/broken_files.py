"""F38: 24 ways to break a study's files: each named, the rest of the study works, no traceback."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from autoprune.domain.outcome import Outcome
from autoprune.errors import AutopruneError
from autoprune.report import write_report
from autoprune.search.evaluate import trials
from autoprune.search.evaluate.cross_check import cross_check
from autoprune.search.evaluate.rebuild import rebuild, set_broken_database_aside
from autoprune.storage.study_folder import StudyFolder
from benchmarks.faults.finding import Finding
from tests.search.fakes import DENSE, FakeEvaluation, Heard, fake_bench, fake_loop, fake_study

TRIALS = 8
Spoil = Callable[[Path], object]


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _noise(path: Path) -> None:
    path.write_bytes(b"\xa5" * max(1, path.stat().st_size))


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 400] = b"\xa5" * 400
    path.write_bytes(content)


def _edited(key: str, value: Any) -> Spoil:
    def spoil(path: Path) -> None:
        content = json.loads(path.read_text())
        path.write_text(json.dumps({**content, key: value}))

    return spoil


def _text(text: str) -> Spoil:
    return lambda path: path.write_text(text)


def _copied(path: Path) -> None:
    shutil.copy(path.parent.with_name("0001") / path.name, path)


_RECORD = "trials/0003/record.json"
CASES: dict[str, tuple[str, Spoil]] = {
    "database cut off": ("study.db", _cut),
    "database of noise": ("study.db", _noise),
    "database empty": ("study.db", _empty),
    "bytes of the database flipped": ("study.db", _flip),
    "database deleted": ("study.db", Path.unlink),
    "database is text": ("study.db", _text("no database\n")),
    "record cut off": (_RECORD, _cut),
    "record of noise": (_RECORD, _noise),
    "record empty": (_RECORD, _empty),
    "record flipped": (_RECORD, _flip),
    "record deleted": (_RECORD, Path.unlink),
    "record is a list": (_RECORD, _text("[1, 2]")),
    "record with NaN": (_RECORD, _edited("predicted_ms", float("nan"))),
    "record with a negative time": (_RECORD, _edited("predicted_ms", -4.0)),
    "record edited plausibly": (_RECORD, _edited("predicted_ms", 3.5)),
    "record with another name": (_RECORD, _edited("name", "trial 5")),
    "record of another trial": (_RECORD, _copied),
    "record of a version to come": (_RECORD, _edited("schema", 99)),
    "whole folder of a trial deleted": ("trials/0003", lambda path: shutil.rmtree(path)),
    "progress.jsonl torn": ("progress.jsonl", _cut),
    "progress.jsonl of noise": ("progress.jsonl", _noise),
    "outcome.yaml of noise": ("outcome.yaml", _noise),
    "stages.json cut off": ("stages.json", _cut),
    "best.yaml of noise": ("best.yaml", _noise),
}
REFUSED = {"record of a version to come"}


def run() -> Finding:
    """Spoil one file of a finished study, go on with it, and make its report."""
    wrong, named = [], 0
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        _finished(whole)
        for number, (name, (file, spoil)) in enumerate(CASES.items()):
            root = Path(folder) / str(number)
            shutil.copytree(whole, root)
            spoil(root / file)
            try:
                said, records = _go_on(root)
            except AutopruneError as error:  # one line, exit code 2
                said, records = [str(error)], TRIALS
                if name not in REFUSED:
                    wrong.append(f"{name}: refused: {error}")
            except Exception as error:
                wrong.append(f"{name}: {type(error).__name__}: {error}")
                continue
            named += bool(said)
            silent = file in {"progress.jsonl", "best.yaml"}
            if not said and not silent:
                wrong.append(f"{name}: nothing was said")
            if records < TRIALS - ("folder" in name):
                wrong.append(f"{name}: {records} records are left")
    return Finding(len(CASES), {"named": named, "refused in one line": len(REFUSED)}, wrong)


def _finished(root: Path) -> None:
    trials.evaluate_untrained = FakeEvaluation()  # type: ignore[attr-defined]
    bench = fake_bench(root, trials=TRIALS)
    fake_loop(bench).run()
    for record in bench.folder.trial_records():
        record.pruning_plan().save(bench.folder.folder_of(record) / "plan.yaml")
    bench.folder.save_record(DENSE)
    bench.folder.add_stage_seconds("trials", 1.0)
    bench.folder.settings.write_text("schema: 1\nasked: {}\n")
    Outcome(status="interrupted").save(bench.folder.outcome)


def _go_on(root: Path) -> tuple[list[str], int]:
    """What a search does at its start, and its trials; what it says, and how many records."""
    heard, bench = Heard(), fake_bench(root, trials=TRIALS)
    folder: StudyFolder = bench.folder
    heard.said += folder.set_broken_aside()
    set_broken_database_aside(folder.database, heard)
    study = fake_study(bench)
    if not study.get_trials():
        rebuild(bench, study, heard)
    cross_check(bench, study, heard)
    loop = fake_loop(bench)
    loop.listener = heard
    loop.run()
    folder.load_outcome()
    folder.stage_seconds()
    write_report(folder)
    return heard.said, len(folder.trial_records())
