"""Which weights a bundle starts from, and what it depends on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autoprune.api.pruning import prune_detection_model
from autoprune.demo.bundle import demo_checkpoint
from autoprune.demo.dataset import Split, write_detection_set
from autoprune.domain.plan import PruningPlan
from autoprune.evaluation.checkpoint import load_yolo, model_hash
from autoprune.evaluation.regrowth_guard import sealed_info
from autoprune.latency.fake_target import FakeTarget
from autoprune.latency.options import RuntimeOptions
from autoprune.pruning.prune import uniform_plan, widths_of
from autoprune.shipping import ready as module
from autoprune.shipping import steps
from autoprune.shipping.ready import checked, runs_here
from autoprune.shipping.request import Asked, Request, completed
from autoprune.shipping.workshop import Workshop


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan, and weights of it, as a search leaves them."""
    folder = tmp_path_factory.mktemp("study")
    splits = {"train": Split(1, 2), "val": Split(2, 2), "test": Split(3, 2)}
    write_detection_set(folder / "set", splits)
    dense = load_yolo(demo_checkpoint()).model
    plan = uniform_plan(widths_of(dense), 0.5)
    PruningPlan(plan.prune_ratios, importance="l2", compensate=False).save(folder / "asked.yaml")
    pruned = prune_detection_model(str(demo_checkpoint()), prune_yaml=folder / "asked.yaml")
    pruned.save(folder / "best.pt")
    used = PruningPlan.from_mapping(sealed_info(pruned.model)["plan"])
    assert used.base == model_hash(dense)
    used.save(folder / "best.yaml")
    return folder


def request(study: Path, plan: str = "best.yaml") -> Request:
    given = {"model": demo_checkpoint(), "data": study / "set" / "data.yaml", "imgsz": [64, 96]}
    asked = Asked(study / plan, study / "bundle", given)
    found = completed(asked)
    return Request(asked, found.config, found.limits, study, study / "best.pt")


def test_weights_of_the_very_plan_are_taken(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "greet", lambda *_: SimpleNamespace(int8=""))
    said: list[str] = []
    ready = checked(request(study), FakeTarget(), said.append)
    assert ready.weights == study / "best.pt"
    assert said == []
    assert (ready.runs_here, ready.imgsz, ready.task) == (True, (64, 96), "detect")
    assert ready.depends_on()["weights"] == model_hash(load_yolo(study / "best.pt").model)


def test_those_of_another_plan_are_not_and_it_says_so(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "greet", lambda *_: SimpleNamespace(int8=""))
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _: None)
    said: list[str] = []
    ready = checked(request(study, "asked.yaml"), FakeTarget(), said.append)
    assert ready.weights is None
    assert ready.depends_on()["weights"] is None
    (line,) = said
    assert line == f"Note: {study / 'best.pt'} is of another plan; this one is applied afresh."
    assert not ready.runs_here, "a runtime that is not installed here cannot validate"


@pytest.mark.parametrize("int8", ["", "avx_vnni"])
def test_an_int8_file_is_made_with_training_images(
    int8: str, study: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Stop(Exception):
        pass

    given: list[Any] = []

    def export_model(*_: Any, quantizing: Any) -> None:
        given.append(quantizing)
        raise Stop

    monkeypatch.setattr(module, "greet", lambda *_: SimpleNamespace(int8=int8))
    monkeypatch.setattr(module, "describe_machine", lambda: {"int8": "avx512_vnni"})
    monkeypatch.setattr(steps, "export_model", export_model)
    ready = checked(request(study), FakeTarget(), print)
    with pytest.raises(Stop):
        steps.export(ready, Workshop(tmp_path, {}), steps.DENSE, ready.dense)
    (quantizing,) = given
    assert quantizing.full_range is bool(int8)
    assert {each.parent.name for each in quantizing.images.files} == {"train"}
    assert [each.shape for each in quantizing.images] == [(1, 3, 64, 96)] * 2


@pytest.mark.parametrize(
    ("asked", "here", "there"),
    [
        ({"runtime": "onnxruntime"}, True, True),
        ({"runtime": "onnxruntime", "provider": "CUDAExecutionProvider"}, True, False),
        ({"runtime": "torch", "precision": "fp32"}, True, True),
        ({"runtime": "torch", "precision": "bf16"}, True, False),
        ({"runtime": "tensorrt"}, True, False),
    ],
)
def test_of_a_file_for_another_machine_only_what_every_cpu_does_is_validated_here(
    asked: dict[str, Any], here: bool, there: bool
) -> None:
    options = RuntimeOptions(imgsz=(64, 64), **asked)
    assert [runs_here(options, elsewhere=each) for each in (False, True)] == [here, there]
