"""A name that no table has stops a search or a probe at once, before anything heavy is loaded."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from autoprune import api
from autoprune.domain.config import StudyConfig
from autoprune.errors import ConfigError
from autoprune.search.propose.names import check_names

WRONG = [
    ({"runtime": "tflite"}, "--runtime: got 'tflite', expected one of onnxruntime, torch"),
    ({"precision": "fp8"}, "--precision: got 'fp8', expected fp32 with --runtime onnxruntime"),
    (
        {"runtime": "torch", "precision": "int8"},
        "--precision: got 'int8', expected fp32, fp16 or bf16 with --runtime torch",
    ),
    ({"sampler": "grid"}, "--sampler: got 'grid', expected one of profile, tpe, nsga2, random"),
    ({"importance": "loud"}, "--importance: got 'loud', expected one of obs, l1, l2, bn_scale"),
    ({"target": "adb://x"}, "--target: got 'adb://x', expected local or ssh://user@host[:port]"),
    ({"channels_last": True}, "--channels-last: got True, expected --runtime torch with it"),
]


def _config(**values: Any) -> StudyConfig:
    return StudyConfig.of({"goal": {"kind": "speedup", "value": 2}, **values}, "test")


@pytest.mark.parametrize(("values", "said"), WRONG)
def test_each_wrong_name_is_one_line_with_the_choices(values: dict[str, Any], said: str) -> None:
    for check in (check_names, api.search):
        with pytest.raises(ConfigError) as caught:
            check(_config(**values))
        assert str(caught.value).startswith(said)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("values", "said"), [case for case in WRONG if "runtime" in case[0]])
def test_a_probe_and_a_measurement_say_the_same(values: dict[str, Any], said: str) -> None:
    for call in (api.probe, lambda **asked: api.measure(["missing.pt"], **asked)):
        with pytest.raises(ConfigError) as caught:
            call(**values)
        assert str(caught.value).startswith(said)


def test_what_the_tables_have_passes() -> None:
    check_names(_config())
    check_names(_config(runtime="torch", channels_last=True, sampler="tpe", importance="l1"))


@pytest.mark.parametrize(("values", "said"), WRONG)
def test_nothing_heavy_is_imported_to_refuse_a_name(values: dict[str, Any], said: str) -> None:
    program = (
        "import sys\nfrom autoprune import api\n"
        "from autoprune.domain.config import Goal, StudyConfig\n"
        f"config = StudyConfig(goal=Goal(kind='speedup', value=2), **{values!r})\n"
        "try:\n    api.search(config)\nexcept Exception as error:\n    print(error)\n"
        "print({'torch', 'ultralytics', 'optuna', 'onnx', 'onnxruntime'} & set(sys.modules))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    first, last = run.stdout.strip().splitlines()
    assert first.startswith(said)
    assert last == "set()"
