"""F43: a real search on PostgreSQL: undisturbed, killed three times, from two folders at once."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoprune.demo.bundle import demo_checkpoint
from autoprune.domain.record import TrialRecord
from autoprune.storage.study_folder import StudyFolder
from benchmarks.faults.finding import Finding, keep
from benchmarks.faults.page import PAGE, page
from benchmarks.faults.real_search import FIRST, tiny_files
from tests import test_end_to_end as quick
from tests.postgres import missing, running_server

PROGRAM = "from autoprune.cli.main import main; main()"  # what the command `autoprune` runs
TRIALS = 12
SPEEDUP = 1.5
MOST_POINTS = 2.0  # of mAP50-95 between two searches: what they time and train varies
MOST_S = 1800.0  # of one search
SAID = 300  # letters of the log, where something ends as it must not


@dataclass(frozen=True)
class _Search:
    """One study, and the folder in which a worker of it works."""

    root: Path
    url: str
    name: str
    trials: int
    tiny: bool

    @property
    def study(self) -> StudyFolder:
        return StudyFolder(self.root / "a" / self.name)

    @property
    def log(self) -> Path:
        return self.root / "log.txt"

    def begin(self, *more: str) -> subprocess.Popen[bytes]:
        """Begin or continue it, by the same command."""
        whole = ["--speedup", f"{SPEEDUP}", "--seed", "0", "epochs=1"]
        given = self._quick() if self.tiny else whole
        own = ["--name", self.name, "--studies", "a", "--no-reuse", "--artifacts", "weights"]
        return self.command("search", *given, "--trials", f"{self.trials}", *own, *more)

    def _quick(self) -> list[str]:
        """What the test of a whole search gives, except for the name."""
        data, space = tiny_files(self.root)
        files = ["--model", str(demo_checkpoint()), "--data", str(data), "--space", str(space)]
        return [*files, *quick.ARGUMENTS]

    def command(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Run the program in this root, its output in log.txt."""
        program = FIRST + quick.PROGRAM if self.tiny else PROGRAM
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", program, *arguments],
                cwd=self.root,
                env={**os.environ, "AUTOPRUNE_STORAGE": self.url},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def found(self) -> dict[str, Any]:
        """What it came to."""
        records, outcome = self.study.trial_records(), self.study.load_outcome()
        known = {each.name: each for each in (*self.study.baseline_records(), *records)}
        best = known.get(str(outcome.best)) if outcome is not None else None
        return {
            "trials": len(records),
            "best": None if best is None else best.name,
            "mAP50-95": None if best is None else best.map50_95,
            "of the dense latency": best.latency.ratio if best and best.latency else None,
            "goal met": outcome is not None and outcome.goal_met,
        }


def run(trials: int = TRIALS, tiny: bool = False) -> Finding:
    """All three, one after the other."""
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder, running_server({"fsync": "on"}) as server:

        def search(name: str) -> _Search:
            (Path(folder) / name).mkdir()
            return _Search(Path(folder) / name, server.new_database(), name, trials, tiny)

        calm, killed, shared = search("calm"), search("killed"), search("shared")
        seconds = {"undisturbed": _timed(lambda: _undisturbed(calm, wrong))}
        seconds["killed three times"] = _timed(lambda: _killed(killed, wrong))
        seconds["two folders"] = _timed(lambda: _shared(shared, wrong))
        found: dict[str, Any] = {"undisturbed": calm.found(), "killed three times": killed.found()}
        found["two folders"] = shared.found() | {"trials of each": _by_folder(shared)}
        if min(found["two folders"]["trials of each"]) == 0:
            wrong.append("one of two workers scored nothing")
        found["killed three times"]["the same plans"] = _plans(killed) == _plans(calm)
        for name, row in found.items():
            _judge(name, row, found["undisturbed"], trials, wrong)
            row["seconds"] = round(seconds[name])
    size = {"size": "tiny: 96 px, one epoch, random plans" if tiny else "the demo, one epoch"}
    return Finding(3, size | found, wrong)


def _timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


@contextmanager
def _ending(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _undisturbed(search: _Search, wrong: list[str]) -> None:
    with _ending(search.begin("--workers", "2")) as process:
        _expect(process, "the undisturbed search", search, wrong)


def _killed(search: _Search, wrong: list[str]) -> None:
    """After a third of the trials, after two thirds, and once a plan is fine-tuned."""
    third = max(1, search.trials // 3)

    def scored(count: int) -> Callable[[], bool]:
        return lambda: len(search.study.trial_records()) >= count

    def trained() -> bool:
        return any(each.map50_95 is not None for each in search.study.trial_records())

    for place, due in enumerate((scored(third), scored(2 * third), trained), 1):
        with _ending(search.begin("--workers", "2")) as process:
            until = time.monotonic() + MOST_S
            while process.poll() is None and not due() and time.monotonic() < until:
                time.sleep(0.1)
            if process.poll() is not None:
                wrong.append(f"the search ended with {process.returncode} before kill {place}")
    with _ending(search.begin("--workers", "2")) as process:
        _expect(process, "the killed search, continued", search, wrong)


def _shared(search: _Search, wrong: list[str]) -> None:
    """A search in one folder, a worker in a second one, the report in a third one."""
    joins = ("worker", "--study", search.name, "--studies", "b", "--workers", "1")
    with _ending(search.begin("--workers", "1")) as first:
        until = time.monotonic() + MOST_S
        while not search.study.outcome.exists() and time.monotonic() < until:
            time.sleep(0.5)  # before that there is nothing to join
        with _ending(search.command(*joins)) as second:
            _expect(first, "the search beside a worker", search, wrong)
            _expect(second, "the worker in another folder", search, wrong)
    asked = ("report", "--study", search.name, "--studies", "c", "--storage", search.url)
    with _ending(search.command(*asked)) as report:
        _expect(report, "the report in a third folder", search, wrong)
    third = StudyFolder(search.root / "c" / search.name)
    if not (third.report / "report.html").exists():
        wrong.append("there is no report in the third folder")
    if _drawn(third.trial_records()) != _plans(search):
        wrong.append("the third folder has other trials")


def _expect(process: subprocess.Popen[bytes], who: str, search: _Search, wrong: list[str]) -> None:
    try:
        code = process.wait(MOST_S)
    except subprocess.TimeoutExpired:
        code = None
    if code != 0:
        ended = f"ended with {code}" if code is not None else f"took more than {MOST_S:.0f} s"
        wrong.append(f"{who} {ended}: {search.log.read_text(errors='replace')[-SAID:]}")


def _by_folder(search: _Search) -> list[int]:
    """Trials that each folder's worker worked on: their logs stay with it."""
    return [
        len(list((search.root / part / search.name / "trials").glob("*/log.txt"))) for part in "ab"
    ]


def _plans(search: _Search) -> list[tuple[int | None, Any]]:
    return _drawn(search.study.trial_records())


def _drawn(records: list[TrialRecord]) -> list[tuple[int | None, Any]]:
    return [(each.number, each.plan["prune_ratios"]) for each in records]


def _judge(
    name: str, row: dict[str, Any], calm: dict[str, Any], trials: int, wrong: list[str]
) -> None:
    """Ended with as many trials, and as good."""
    if row["trials"] != trials:
        wrong.append(f"{name}: {row['trials']} trials of {trials}")
    if row["goal met"] != calm["goal met"]:
        wrong.append(f"{name}: goal met: {row['goal met']}, undisturbed: {calm['goal met']}")
    if row["mAP50-95"] is None or calm["mAP50-95"] is None:
        wrong.append(f"{name}: no best plan")
    elif abs(row["mAP50-95"] - calm["mAP50-95"]) > MOST_POINTS / 100:
        wrong.append(f"{name}: mAP50-95 {row['mAP50-95']:.3f}, {calm['mAP50-95']:.3f} undisturbed")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument(
        "--tiny", action="store_true", help="as the test of a whole search: 96 px, one epoch"
    )
    parser.add_argument("--try", dest="tried", action="store_true", help="keep nothing")
    asked = parser.parse_args()
    if (why := missing()) is not None:
        raise SystemExit(why)
    found = run(asked.trials, asked.tiny)
    if not asked.tried:
        keep("killed_search", found)
        PAGE.write_text(page())
    for name, value in found.found.items():
        print(f"{name}: {value}")
    for sentence in found.wrong:
        print(f"WRONG: {sentence}")
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
