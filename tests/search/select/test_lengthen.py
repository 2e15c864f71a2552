"""The longer fine-tune: as long as time allows, and never for the worse."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from autoprune.domain.record import LONG, TrialRecord
from autoprune.errors import TrialFailed
from autoprune.search.context.listener import SearchListener
from autoprune.search.evaluate import training
from autoprune.search.select import lengthen as module
from autoprune.search.select.lengthen import LONGER, lengthen
from tests.search.evaluation_bench import PLAN, Invented, invented_bench
from tests.search.fakes import Heard, ending_in, record, unlimited

BEST = record("trial 0", 4.0, 0.6, number=0, plan=PLAN, predicted=4.0, untrained=0.4)


@pytest.fixture
def invented() -> Invented:
    return Invented()


@pytest.fixture
def bench(tmp_path: Path, invented: Invented, monkeypatch: pytest.MonkeyPatch) -> Any:
    made = invented_bench(tmp_path, invented, monkeypatch)
    monkeypatch.setattr(module, "validate", invented.validate)
    monkeypatch.setattr(
        module, "load_yolo", lambda path, trust: SimpleNamespace(model=nn.Conv2d(3, 4, 1))
    )
    made.folder.save_record(BEST)
    (made.folder.trial(0) / "model.pt").write_bytes(b"short")
    return made


def _weights(bench: Any) -> bytes:
    return (bench.folder.trial(0) / "model.pt").read_bytes()


def test_better_weights_replace_the_short_ones_and_are_scored_on_new_images(
    bench: Any, invented: Invented
) -> None:
    invented.scores = [0.7, 0.65]
    heard = Heard()
    longer = lengthen(bench, BEST, unlimited(), heard)
    score = longer.at_rung(LONG)
    assert score is not None
    assert (score.metrics.map50_95, score.epochs) == (0.7, LONGER * bench.fine_tune.epochs)
    assert score.final is not None
    assert score.final.map50_95 == 0.65
    assert longer.map50_95 == BEST.map50_95  # compared on the short fine-tune as ever
    assert _weights(bench) == b"weights"
    assert invented.asked[-2:] == ["export", "save"]  # model.pt last: the record says whose it is
    assert bench.folder.reread(BEST) == longer
    assert "0.700" in heard.said[-1]


@pytest.mark.parametrize("found", [0.6, 0.5])
def test_weights_that_are_no_better_are_not_kept(
    bench: Any, invented: Invented, found: float
) -> None:
    invented.scores = [found]
    longer = lengthen(bench, BEST, unlimited(), SearchListener())
    assert _weights(bench) == b"short"
    score = longer.at_rung(LONG)
    assert score is not None
    assert score.final is None


def test_it_is_done_once(bench: Any, invented: Invented) -> None:
    invented.scores = [0.7, 0.65]
    longer = lengthen(bench, BEST, unlimited(), SearchListener())
    invented.asked.clear()
    again = bench.folder.reread(BEST)
    assert lengthen(bench, again, unlimited(), SearchListener()) == longer
    assert invented.asked == []


def test_time_limits_the_epochs(bench: Any, invented: Invented) -> None:
    """The short one took a second for its epoch; validation is allowed for."""
    invented.scores = [0.7, 0.65]
    longer = lengthen(bench, BEST, ending_in(7.5), SearchListener())
    score = longer.at_rung(LONG)
    assert score is not None
    assert score.epochs == 5


@pytest.mark.parametrize("left_s", [-100.0, 0.0, 1.5])
def test_without_time_nothing_is_trained(bench: Any, invented: Invented, left_s: float) -> None:
    assert lengthen(bench, BEST, ending_in(left_s), SearchListener()) == BEST
    assert invented.asked == []


@pytest.mark.parametrize(
    "error",
    [TrialFailed("oom", "out of memory while training"), RuntimeError("CUDA out of memory")],
)
def test_a_failure_is_said_and_changes_nothing(
    bench: Any, invented: Invented, error: Exception
) -> None:
    invented.broken["fine-tune"] = error
    heard = Heard()
    assert lengthen(bench, BEST, unlimited(), heard) == BEST
    assert _weights(bench) == b"short"
    assert bench.folder.reread(BEST) == BEST
    assert "oom" in heard.said[-1]


@pytest.mark.parametrize("missing", ["weights", "score"])
def test_a_record_without_weights_or_score_is_left_alone(
    bench: Any, invented: Invented, missing: str
) -> None:
    best: TrialRecord = BEST
    if missing == "weights":
        (bench.folder.trial(0) / "model.pt").unlink()
    else:
        best = BEST.model_copy(update={"rungs": ()})
    assert lengthen(bench, best, unlimited(), SearchListener()) == best
    assert invented.asked == []


def test_a_longer_one_must_beat_the_weights_that_are_kept(bench: Any, invented: Invented) -> None:
    """0.85 is better than the short fine-tune's 0.6, not than the pruned network's 0.9."""
    kept = record("trial 0", 4.0, 0.6, number=0, plan=PLAN, predicted=4.0, untrained=0.9)
    kept = kept.model_copy(update={"untrained_kept": True})
    invented.scores = [0.85, 0.8]
    longer = lengthen(bench, kept, unlimited(), SearchListener())
    assert _weights(bench) == b"short"
    found = longer.at_rung(LONG)
    assert found is not None
    assert found.final is None


@pytest.mark.parametrize("found", [0.7, 0.5])
def test_an_int8_file_replaces_the_one_before_only_where_it_is_better(
    bench: Any, invented: Invented, monkeypatch: pytest.MonkeyPatch, found: float
) -> None:
    bench.quantizes = True
    kept = bench.kept_file(bench.folder.trial(0))
    kept.write_bytes(b"short")
    invented.scores = [0.9, found, 0.66]  # in float, of the file, of the file on new images

    def quantized(bench: Any, module: Any, file: Path, images: Any) -> Any:
        file.write_bytes(b"longer")
        return invented.validate()

    monkeypatch.setattr(training, "score_quantized", quantized)
    monkeypatch.setattr(module, "score_file", invented.validate)
    longer = lengthen(bench, BEST, unlimited(), SearchListener()).at_rung(LONG)
    assert longer is not None
    assert (longer.metrics.map50_95, longer.float_map50_95) == (found, 0.9)
    assert (longer.final is not None) == (found > 0.6)
    assert kept.read_bytes() == (b"longer" if found > 0.6 else b"short")
    assert not list(kept.parent.glob("longer.*"))
