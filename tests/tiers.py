"""Which tests are slow, and which files one worker runs one after the other.

`pytest -m fast` runs everything that is not listed here. The order matters too: with several
workers the listed files come first and in this order, so that no long one ends alone.
"""

from __future__ import annotations

# One worker runs these after one another, so that none of them disturbs another: they measure real
# latency, listen on a port, kill processes or wait for something to happen within seconds.
ALONE = (
    "tests/test_end_to_end.py",
    "tests/contracts/test_targets.py",
    "tests/test_extending.py",
    "tests/contracts/test_runtimes.py",
    "tests/latency/test_self_test.py",
    "tests/latency/test_ssh_target.py",
    "tests/latency/test_local_target.py",
    "tests/latency/test_device_program.py",
    "tests/latency/test_export.py",
    "tests/latency/test_runner.py",
    "tests/search/select/test_target_gone.py",
    "tests/search/select/test_promote.py",
    "tests/search/evaluate/test_trials.py",
    "tests/storage/test_locks.py",
    "tests/storage/test_yaml_io.py",
)

# Files, and single tests of files whose other tests are fast. They train, search or export with
# torch's compiler, time a real model, or start a process that imports torch.
SLOW: tuple[str, ...] = (
    "tests/test_end_to_end.py",
    "tests/test_no_traces.py",
)


def is_slow(nodeid: str) -> bool:
    """Does this test belong to the slow tier?"""
    file, _, test = nodeid.partition("::")
    return file in SLOW or f"{file}::{test.partition('[')[0]}" in SLOW


def unit(nodeid: str) -> str:
    """What one worker runs as a whole: the file of a test, or all that wants to be alone."""
    file = nodeid.partition("::")[0]
    return "alone" if file in ALONE else file


def turn(nodeid: str) -> tuple[int, int]:
    """Sorts tests: first what wants to be alone, then the slow files, each as listed."""
    file = nodeid.partition("::")[0]
    if file in ALONE:
        return 0, ALONE.index(file)
    listed = list(dict.fromkeys(row.partition("::")[0] for row in SLOW))
    return (1, listed.index(file)) if file in listed else (2, 0)
