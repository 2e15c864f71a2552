"""The best so far over time: what a killed process leaves spoils no other line."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from autoprune.domain.progress import (
    KINDS,
    Moment,
    append_moment,
    moment_at,
    read_moments,
)
from autoprune.storage.study_folder import StudyFolder


def moment(at_s: float, **given: Any) -> Moment:
    values: dict[str, Any] = {
        "at_s": at_s,
        "name": "trial 3",
        "evidence": "predicted",
        "trained": False,
        "latency_ms": 4.7,
        "map50_95": 0.41,
        "hypervolume": 0.2,
        "scored": 4,
        "fine_tuned": 0,
    }
    return Moment(**{**values, **given})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return StudyFolder(tmp_path).progress


def test_moments_come_back_as_they_were_written_one_a_line(path: Path) -> None:
    written = [moment(1.5), moment(60, name='a "b"\n数', evidence="measured"), moment(61)]
    for each in written:
        append_moment(path, each)
    assert path.name == "progress.jsonl"
    assert len(path.read_text("utf-8").splitlines()) == 3
    assert read_moments(path) == written


def test_where_there_is_no_file_there_are_no_moments(path: Path) -> None:
    assert read_moments(path) == []
    path.write_text("")
    assert read_moments(path) == []


def test_a_line_torn_by_a_kill_spoils_neither_those_before_nor_those_after(path: Path) -> None:
    append_moment(path, moment(1))
    append_moment(path, moment(2))
    path.write_bytes(path.read_bytes()[:-20])
    assert read_moments(path) == [moment(1)]
    append_moment(path, moment(3))
    append_moment(path, moment(4))
    assert read_moments(path) == [moment(1), moment(3), moment(4)]


def test_a_whole_line_without_its_end_is_kept(path: Path) -> None:
    append_moment(path, moment(1))
    path.write_bytes(path.read_bytes()[:-1])
    append_moment(path, moment(2))
    assert read_moments(path) == [moment(1), moment(2)]


GOOD = json.loads(moment(5).model_dump_json())


@pytest.mark.parametrize(
    "line",
    [
        b"rubbish",
        b"\xff\xfe\x00",
        b"[]",
        b"{}",
        b"",
        b"{" * 100_000,
        json.dumps({**GOOD, "a_newer_key": 1}).encode(),
        json.dumps({**GOOD, "at_s": float("nan")}).encode(),
        json.dumps({**GOOD, "map50_95": float("inf")}).encode(),
        json.dumps({**GOOD, "map50_95": 1.5}).encode(),
        json.dumps({**GOOD, "at_s": -1}).encode(),
        json.dumps({**GOOD, "evidence": "guessed"}).encode(),
        json.dumps({key: value for key, value in GOOD.items() if key != "scored"}).encode(),
    ],
)
def test_a_line_that_is_no_moment_is_skipped_and_no_other_lost(path: Path, line: bytes) -> None:
    append_moment(path, moment(1))
    with path.open("ab") as stream:
        stream.write(line + b"\n")
    append_moment(path, moment(2))
    assert read_moments(path) == [moment(1), moment(2)]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1])
@pytest.mark.parametrize("key", ["at_s", "latency_ms", "map50_95", "hypervolume"])
def test_a_number_that_is_none_is_refused(key: str, value: float) -> None:
    with pytest.raises(ValidationError):
        moment(**{"at_s": 0.0, key: value})


def test_appending_from_several_threads_loses_nothing(path: Path) -> None:
    def write(worker: int) -> None:
        for number in range(50):
            append_moment(path, moment(number, name=f"{worker}"))

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_moments(path)) == 200


def test_the_best_at_a_time_is_the_last_that_had_been_found_by_then(path: Path) -> None:
    for at_s in (70.0, 20.0, 50.0):  # two searches on one study may write out of order
        append_moment(path, moment(at_s))
    moments = read_moments(path)
    assert [each.at_s for each in moments] == [20, 50, 70]
    assert moment_at(moments, 10) is None
    assert moment_at(moments, 50) == moment(50)
    assert moment_at(moments, 69) == moment(50)
    assert moment_at(moments, 1000) == moment(70)


def test_training_counts_more_than_a_measurement_and_a_confirmation_more_than_both() -> None:
    kinds = [
        moment(0).kind,
        moment(0, evidence="measured").kind,
        moment(0, evidence="measured", trained=True).kind,
        moment(0, evidence="confirmed", trained=True).kind,
    ]
    assert kinds == list(KINDS)
    assert moment(0, evidence="confirmed").kind == "confirmed"
