import copy
import json

import pytest

from autoprune.errors import ConfigError, TrialFailed
from autoprune.latency.fake_target import FakeTarget
from autoprune.latency.runner_output import MAX_OUTPUT_BYTES, checked_output, parse_output


@pytest.fixture
def answer(tmp_path):
    path = tmp_path / "dense.onnx"
    path.write_bytes(b"x")
    job = {
        "runtime": "onnxruntime",
        "provider": "CPUExecutionProvider",
        "threads": 1,
        "imgsz": [64, 96],
        "batch": 1,
        "dense": str(path),
        "candidates": [],
        "timing": {},
        "checks": [],
    }
    return FakeTarget(lambda _: 5.0).run(job, [path], 1.0)


def damaged(answer, *keys, value):
    broken = copy.deepcopy(answer)
    place = broken
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    return broken


def test_a_whole_answer_is_read(answer):
    output = checked_output(json.loads(json.dumps(answer)), 1, 0)
    assert output.imgsz == (64, 96)
    assert len(output.models[0].wall_ms) == 24


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("models", 0, "wall_ms", 0, 0), -1.0),
        (("models", 0, "wall_ms", 0, 0), 0.0),
        (("models", 0, "wall_ms", 0, 0), float("nan")),
        (("models", 0, "wall_ms", 0, 0), float("inf")),
        (("models", 0, "wall_ms", 0, 0), "soon"),
        (("models", 0, "wall_ms", 0), []),
        (("models", 0, "wall_ms"), []),
        (("models", 0, "cpu_ms"), [[1.0]]),
        (("models", 0), {}),
        (("models",), []),
        (("models",), None),
        (("runner_version",), 99),
        (("cpu",), "x" * 10_000),
        (("stopped",), "bored"),
        (("imgsz",), [64]),
        (("checks",), [{"max_abs_diff": 0.0, "max_rel_diff": 0.0, "problem": None}]),
    ],
)
def test_broken_fields_fail_the_trial_in_one_line(answer, keys, value):
    with pytest.raises(TrialFailed) as caught:
        checked_output(damaged(answer, *keys, value=value), 1, 0)
    assert caught.value.reason == "latency"
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("field", ["models", "fingerprint_field", "checks", "before", "threads"])
def test_a_missing_field_fails_the_trial(answer, field):
    del answer["cpu" if field == "fingerprint_field" else field]
    with pytest.raises(TrialFailed, match="broken"):
        checked_output(answer, 1, 0)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "no answer"),
        (b"hello", "not JSON"),
        (b"[1, 2]", "not a JSON object"),
        (b'{"models": NaN}', "NaN"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff\xfe\xfd{", "not JSON"),
        (b" " * (MAX_OUTPUT_BYTES + 1), "more than"),
    ],
)
def test_output_that_is_no_answer_fails_the_trial(raw, words):
    with pytest.raises(TrialFailed, match=words) as caught:
        parse_output(raw, "exit status 0")
    assert caught.value.reason == "latency"


@pytest.mark.parametrize(
    ("kind", "error", "reason"),
    [
        ("provider", ConfigError, None),
        ("runtime", ConfigError, None),
        ("memory", TrialFailed, "oom"),
        ("model", TrialFailed, "latency"),
        ("unheard of", TrialFailed, "latency"),
    ],
)
def test_errors_of_the_runner_go_to_whoever_can_mend_them(kind, error, reason):
    raw = json.dumps({"error": {"kind": kind, "message": "two\nlines"}}).encode()
    with pytest.raises(error, match="two lines") as caught:
        parse_output(raw, "exit status 1")
    assert getattr(caught.value, "reason", None) == reason
