"""Inject faults, print the figures, keep them in results/faults.json and in docs/faults.md.

    python -m benchmarks.faults [NAME ...] [--times N]     # --list says what there is

Without names: all but the two that take half an hour, whose figures a shorter run would replace.
Each name is a module of this package with a function `run`. Exit status 1 when one does not hold.
Times are of whatever else the machine did: the load average is kept beside them.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time

from rich.console import Console

from autoprune.evaluation.quiet import prepare_environment
from benchmarks.faults.finding import keep
from benchmarks.faults.page import PAGE, page

NAMES = (
    "kills", "writes", "disk", "signals", "litter", "exact_plans", "not_finite", "limits",
    "same_plan", "seeds", "two_searches", "fronts", "broken_files", "bad_plans", "bombs",
    "weights", "odd_places", "offline", "downloads", "server_disk", "clocks",
)  # fmt: skip
LONG = ("soak", "killed_search")  # by name alone, or by their own commands
EVERY = (*NAMES, *LONG)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="all short ones if none is given")
    parser.add_argument(
        "--times", type=int, help="how often, where a script takes that; else its own number"
    )
    parser.add_argument("--list", action="store_true", help="print the names and end")
    asked = parser.parse_args()
    prepare_environment()
    console, wrong = Console(width=110), 0
    for name in asked.names or (EVERY if asked.list else NAMES):
        if name not in EVERY:
            parser.error(f"no fault is called {name!r}; there are {', '.join(EVERY)}")
        script = importlib.import_module(f"benchmarks.faults.{name}")
        if asked.list:
            console.print(f"{name}: {str(script.__doc__).splitlines()[0]}")
            continue
        began = time.monotonic()
        found = script.run(*([] if asked.times is None else [asked.times]))
        keep(name, found)
        PAGE.write_text(page())
        wrong += bool(found.wrong)
        seconds = time.monotonic() - began
        console.print(f"{name}: {found.injected} times, {seconds:.0f} s: {found.found}")
        for sentence in found.wrong[:10]:
            console.print(f"  WRONG: {sentence}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
