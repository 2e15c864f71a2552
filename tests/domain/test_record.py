"""Records: JSON there and back, nothing lost, no nan, broken files named."""

import json
import math
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from autoprune.domain.plan import PruningPlan, ratio_for
from autoprune.domain.record import DetectionMetrics, Failure, ModelSize, TrialRecord, finite
from autoprune.errors import ConfigError
from tests.domain.test_front import scored, trial


def full_record() -> TrialRecord:
    one = trial(7, 1000, 0.1 + 0.2, 1 / 3)
    plan = PruningPlan(
        {0: ratio_for(22, 7), 10: None, 22: (ratio_for(64, 40), 0.0)}, round_to=8, base="ab"
    )
    return one.model_copy(
        update={
            "plan": plan.to_mapping(),
            "kept": {0: (7,), 22: (40, 64)},
            "confirmed": one.latency,
            "rungs": (scored(0, 1 / 7), scored(1, 1 / 3), scored(2, 2 / 3)),
            "predicted_ms": 1 / 3,
            "final": DetectionMetrics(map50=0.7, map50_95=1 / 7, split="test", images=3),
            "same_as": "uniform-0.25",
        }
    )


def test_a_record_survives_json_exactly(tmp_path: Path) -> None:
    path = tmp_path / "trials" / "0007" / "record.json"
    record = full_record()
    record.save(path)
    assert TrialRecord.load(path) == record


def test_the_plan_in_a_record_is_the_plan_that_was_drawn(tmp_path: Path) -> None:
    record = full_record()
    record.save(tmp_path / "record.json")
    plan = TrialRecord.load(tmp_path / "record.json").pruning_plan()
    assert plan.prune_ratios == {0: ratio_for(22, 7), 10: None, 22: (ratio_for(64, 40), 0.0)}
    assert (plan.round_to, plan.base) == (8, "ab")


def test_a_failed_record_keeps_its_reason(tmp_path: Path) -> None:
    failure = Failure(reason="oom", detail="killed\nby the kernel")
    record = trial(0, 1, 1.0, None, state="failed", failure=failure, size=None, latency=None)
    record.save(tmp_path / "record.json")
    assert TrialRecord.load(tmp_path / "record.json").failure == failure


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_inf_are_refused_everywhere(value: float) -> None:
    with pytest.raises(ValidationError):
        DetectionMetrics(map50=0.5, map50_95=value, split="val", images=1)
    with pytest.raises(ValidationError):
        trial(0, 1, value, 0.5)
    with pytest.raises(ValueError, match="map50_95 is"):
        finite(value, "map50_95")


def test_a_finite_value_passes_through() -> None:
    assert finite(0.25, "map50_95") == 0.25


def test_nan_in_a_records_file_is_refused_with_its_key(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    content = json.loads(full_record().model_dump_json())
    content["latency"]["median_ms"] = math.nan
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"record\.json: latency\.median_ms: got"):
        TrialRecord.load(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"kind": "trial"}', "\x00"])
def test_a_broken_records_file_is_one_clear_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"record\.json") as caught:
        TrialRecord.load(path)
    assert "\n" not in str(caught.value)


def test_a_records_file_that_is_not_text_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"record\.json"):
        TrialRecord.load(path)


@pytest.mark.parametrize("plan", [{}, {"prune_ratios": [0.1]}, {"prune_ratios": {"x": 0.1}}])
def test_a_record_without_a_plan_is_one_clear_line(tmp_path: Path, plan: object) -> None:
    path = tmp_path / "record.json"
    path.write_text(json.dumps(json.loads(full_record().model_dump_json()) | {"plan": plan}))
    with pytest.raises(ConfigError, match=r"record\.json: plan: got") as caught:
        TrialRecord.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("latency", "median_ms"), -5.0),
        (("latency", "ratio"), 0.0),
        (("rungs", 1, "metrics", "map50_95"), 9.9),
        (("final", "map50"), -0.1),
        (("size", "params"), -1),
        (("predicted_ms",), 0.0),
    ],
)
def test_a_number_that_nothing_measures_is_refused_by_its_key(
    tmp_path: Path, keys: tuple[str | int, ...], value: float
) -> None:
    path = tmp_path / "record.json"
    content = json.loads(full_record().model_dump_json())
    inside = content
    for key in keys[:-1]:
        inside = inside[key]
    inside[keys[-1]] = value
    path.write_text(json.dumps(content))
    named = re.escape(".".join(map(str, keys)))
    with pytest.raises(ConfigError, match=rf"record\.json: {named}: got {value}"):
        TrialRecord.load(path)


def test_a_plausible_number_that_was_edited_is_found_by_the_checksum(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    full_record().save(path)
    laid_out = json.dumps(json.loads(path.read_text()), sort_keys=True)
    path.write_text(laid_out)  # as an editor might
    assert TrialRecord.load(path) == full_record()
    path.write_text(laid_out.replace('"map50": 0.7', '"map50": 0.99'))
    with pytest.raises(ConfigError, match=r"record\.json: checksum: got .*as the search wrote it"):
        TrialRecord.load(path)


def test_an_unknown_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    content = json.loads(full_record().model_dump_json()) | {"speed": 3}
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="speed"):
        TrialRecord.load(path)


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        ModelSize(params=1, macs=1).params = 2  # type: ignore[misc]


def test_records_are_compared_after_the_short_fine_tune_and_the_dense_one_as_it_is() -> None:
    rungs = (scored(0, 0.1), scored(1, 0.3), scored(2, 0.5))
    one = trial(0, 1, 1.0, None, rungs=rungs)
    assert (one.untrained_map50_95, one.map50_95, one.at_rung(2)) == (0.1, 0.3, rungs[2])
    waiting = trial(0, 1, 1.0, None, rungs=rungs[:1])
    assert (waiting.untrained_map50_95, waiting.map50_95) == (0.1, None)
    dense = trial(None, 1, 1.0, None, kind="dense", name="dense", rungs=rungs[:1])
    assert dense.map50_95 == 0.1
    assert trial(0, 1, 1.0, None).map50_95 is None
