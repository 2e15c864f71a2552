"""Asking for a provider or a memory layout: passed on, or refused before any work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from typer.testing import CliRunner, Result

from autoprune import api, measure
from autoprune.cli.main import app
from autoprune.demo.dataset import Split, write_detection_set
from autoprune.domain.config import StudyConfig
from autoprune.domain.goal import Goal
from autoprune.errors import ConfigError
from autoprune.latency.fake_target import FakeTarget
from autoprune.latency.local_target import LocalTarget
from autoprune.search.context import prepare
from autoprune.search.context.prepare import default_name
from tests.latency.tiny_models import write_onnx

CUDA = "CUDAExecutionProvider"
NOT_HERE = [
    pytest.param(
        "onnxruntime",
        CUDA,
        "CPUExecutionProvider",
        marks=pytest.mark.skipif(
            CUDA in onnxruntime.get_available_providers(), reason="ONNX Runtime has CUDA here"
        ),
    ),
    pytest.param(
        "torch",
        "cuda",
        "cpu",
        marks=pytest.mark.skipif(torch.cuda.is_available(), reason="torch has CUDA here"),
    ),
]
GOAL = Goal(kind="budget_ms", value=5)


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments])


def _refused(said: Result, *words: str) -> None:
    assert said.exit_code == 2, said.output
    assert len(said.output.strip().splitlines()) == 1
    for word in words:
        assert word in said.output


@pytest.mark.parametrize(("runtime", "provider", "had"), NOT_HERE)
def test_measure_names_the_providers_there_are_instead_of_falling_back(
    runtime: str, provider: str, had: str, tmp_path: Path
) -> None:
    model = tmp_path / ("model.onnx" if runtime == "onnxruntime" else "model.pt2")
    write_onnx(model, 1, size=64)  # torch is asked for its devices before it opens the file
    said = _run(
        "measure", str(model), "--imgsz", "64", "--runtime", runtime, "--provider", provider
    )
    _refused(said, f"--provider: asked for {provider}, but available: ", had)


@pytest.mark.parametrize(("runtime", "provider", "had"), NOT_HERE)
def test_a_search_is_refused_before_it_looks_at_data_or_makes_a_folder(
    runtime: str, provider: str, had: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(*_: Any) -> None:
        raise AssertionError("work began")

    few = {"train": Split(1, 2), "val": Split(2, 2)}
    monkeypatch.setattr(
        prepare, "demo_data_yaml", lambda: write_detection_set(tmp_path / "set", few)
    )
    monkeypatch.setattr(prepare, "inspect_data", too_late)
    studies = tmp_path / "studies"
    where = ("--runtime", runtime, "--provider", provider, "--studies", str(studies))
    said = _run("search", "--budget-ms", "5", *where)
    assert said.exit_code == 2, said.output
    assert f"--provider: asked for {provider}, but available: " in said.output
    assert had in said.output
    assert not studies.exists()


def test_a_runtime_that_falls_back_in_silence_ends_a_search_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"train": Split(1, 2), "val": Split(2, 2)}
    monkeypatch.setattr(
        prepare, "demo_data_yaml", lambda: write_detection_set(tmp_path / "set", few)
    )
    message = f"asked for {CUDA}, but in use: CPUExecutionProvider"
    answer = json.dumps({"error": {"kind": "provider", "message": message}})
    runner = tmp_path / "runner.py"
    runner.write_text(f"print({answer!r})")
    target = LocalTarget(runner_path=runner, lock_path=tmp_path / "lock")
    config = StudyConfig(goal=GOAL, provider=CUDA)
    with pytest.raises(ConfigError, match=message):
        api.search(config, studies=tmp_path / "studies", target=target)
    assert not (tmp_path / "studies").exists()


COMMANDS = [
    ("measure", "missing.pt"),
    ("probe", "--model", "missing.pt"),
    ("search", "--budget-ms", "5", "--model", "missing.pt", "--data", "missing.yaml"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_channels_last_without_torch_is_refused_before_anything_is_loaded(
    command: tuple[str, ...],
) -> None:
    said = "--channels-last: got True, expected --runtime torch with it"
    _refused(_run(*command, "--channels-last"), said)


@pytest.mark.parametrize(
    "command", [*COMMANDS, ("export", "missing.pt", "-o", "a.onnx")], ids=lambda each: each[0]
)
def test_a_precision_that_the_runtime_lacks_is_refused_before_anything_is_loaded(
    command: tuple[str, ...],
) -> None:
    said = "--precision: got 'fp16', expected fp32 with --runtime onnxruntime"
    _refused(_run(*command, "--precision", "fp16"), said)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize("name", ["", " ", "a\nb", "a\x1b[1m", "x" * 101])
def test_a_name_that_no_provider_has_is_refused_before_anything_is_loaded(
    command: tuple[str, ...], name: str
) -> None:
    _refused(_run(*command, "--provider", name), "provider: got ", "printable characters")


def test_measure_passes_both_on_and_the_result_says_so(tmp_path: Path) -> None:
    model, target = tmp_path / "model.pt2", FakeTarget()
    model.write_bytes(b"program")
    asked: Any = {"runtime": "torch", "provider": "cuda:0", "channels_last": True}
    asked["precision"] = "fp16"
    (result,) = measure([model], imgsz=64, target=target, **asked).values()
    assert [{key: job[key] for key in asked} for job in target.jobs] == [asked]
    assert result.fingerprint.provider == "cuda:0 channels_last"
    assert result.fingerprint.precision == "fp16"


def test_a_recipe_may_ask_for_both_and_a_flag_takes_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*flags: str) -> StudyConfig:
        seen: list[StudyConfig] = []

        def search(config: StudyConfig, **_: Any) -> None:
            seen.append(config)
            raise ConfigError("seen enough")

        monkeypatch.setattr(api, "search", search)
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text("{speedup: 2, runtime: torch, provider: cuda, channels_last: true}")
        assert _run("search", "--recipe", str(recipe), *flags).exit_code == 2
        return seen[0]

    config = asked()
    assert (config.provider, config.channels_last) == ("cuda", True)
    config = asked("--provider", "cuda:1", "--no-channels-last")
    assert (config.provider, config.channels_last) == ("cuda:1", False)


@pytest.mark.parametrize(
    ("asked", "ending"),
    [
        ({}, "-onnxruntime-1t"),
        ({"provider": "CPUExecutionProvider"}, "-onnxruntime-1t"),
        ({"provider": CUDA}, "-onnxruntime-CUDAExecutionProvider-1t"),
        ({"runtime": "torch", "provider": "cpu"}, "-torch-1t"),
        ({"runtime": "torch", "provider": "cuda:1"}, "-torch-cuda-1-1t"),
        ({"runtime": "torch", "channels_last": True}, "-torch-channels-last-1t"),
        ({"runtime": "torch", "precision": "fp32"}, "-torch-1t"),
        ({"runtime": "openvino", "precision": "bf16"}, "-openvino-bf16-1t"),
        ({"provider": "../" * 30}, "-onnxruntime-" + ("..-" * 30)[:40] + "-1t"),
    ],
)
def test_a_study_is_named_after_what_is_not_the_default(asked: dict[str, Any], ending: str) -> None:
    name = default_name(StudyConfig.of({"goal": GOAL, **asked}, "x"))
    assert name.endswith(ending)
    StudyConfig.of({"goal": GOAL, "name": name}, "x")
