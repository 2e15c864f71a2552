"""Pruning alone and INT8 alone, in words."""

from __future__ import annotations

from pathlib import Path

from autoprune.domain.record import RungScore, TrialRecord
from autoprune.report.answer import read_answer
from autoprune.report.precision import float_ranks_int8
from autoprune.report.study import load_study
from tests.report import fake_study as fake

BEST = fake.trial(7, 0.5, 0.71)


def _in_int8(record: TrialRecord, in_float: float, float_ms: float) -> TrialRecord:
    """The record's scores as of INT8 files, with what the models in float have."""

    def beside(score: RungScore) -> RungScore:
        metrics = score.metrics.model_copy(update={"map50_95": in_float})
        return score.model_copy(update={"float_metrics": metrics})

    return record.model_copy(
        update={
            "rungs": tuple(map(beside, record.rungs)),
            "float_latency": fake.latency(float_ms),
        }
    )


def test_the_answer_names_what_each_of_the_two_gives_alone(tmp_path: Path) -> None:
    records = [_in_int8(fake.dense(), 0.781, 11.5), _in_int8(BEST, 0.723, 6.5)]
    details = read_answer(fake.write_study(tmp_path, records, fake.finished("trial 7"))).details
    (said,) = [text for text in details if text.startswith("Quantized but not pruned")]
    dense_map = fake.dense().map50_95
    assert said == (
        f"Quantized but not pruned: 8.31 ms, {dense_map:.3f}; pruned but not quantized: 6.50 ms,"
        " 0.723; neither: 11.50 ms, 0.781 (mAP50-95 on val)."
    )


def test_a_study_in_float_says_nothing_of_it(tmp_path: Path) -> None:
    folder = fake.write_study(tmp_path, [fake.dense(), BEST], fake.finished("trial 7"))
    assert not any("quantized" in text for text in read_answer(folder).details)
    assert float_ranks_int8(load_study(folder)) == ""


def test_how_float_ranks_the_files_is_said_once_there_are_enough(tmp_path: Path) -> None:
    plans = [fake.trial(n, 0.5, 0.60 + n / 100) for n in range(4)]
    records = [_in_int8(plan, 0.70 + n / 100, 6.5) for n, plan in enumerate(plans)]
    study = load_study(fake.write_study(tmp_path / "a", [fake.dense(), *records], None))
    assert "Over the 4 plans" in float_ranks_int8(study)
    assert float_ranks_int8(study).endswith("is 1.00.")
    few = load_study(fake.write_study(tmp_path / "b", [fake.dense(), *records[:2]], None))
    assert "too few" in float_ranks_int8(few)
