"""A probe of the demo on an invented target: what it finds, writes and refuses."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from autoprune import api
from autoprune.demo.bundle import demo_checkpoint
from autoprune.domain.config import StudyConfig
from autoprune.domain.goal import Goal
from autoprune.domain.space import SearchSpace
from autoprune.errors import ConfigError, TrialFailed
from autoprune.evaluation.checkpoint import load_yolo
from autoprune.latency.denormals import Denormals
from autoprune.latency.exported_model import ExportedModel
from autoprune.latency.fake_target import FakeTarget
from autoprune.latency.runtimes import RUNTIMES
from autoprune.pruning.prune import widths_of
from autoprune.search.context.listener import SearchListener
from autoprune.search.feasibility import alternatives, probe
from autoprune.search.feasibility.alternatives import smaller_sizes
from autoprune.search.feasibility.probe import ProbeResult
from autoprune.search.learn.learn_latency import learn_latency, shared_folder
from autoprune.search.learn.target_space import with_target_space
from autoprune.storage.study_folder import StudyFolder
from tests.search.fakes import Heard

IMGSZ = 96


def _padded(channels: int) -> int:
    return math.ceil(channels / 16) * 16


def _cost_ms(module: nn.Module) -> float:
    """Channels count in blocks of 16, pixels as many as there are: 10 ms and something dense."""
    share = 1.0
    if isinstance(module, alternatives.Cropped):
        share = module.imgsz[0] * module.imgsz[1] / IMGSZ**2
    convs = [part for part in module.modules() if isinstance(part, nn.Conv2d)]
    work = sum(
        _padded(conv.in_channels) * _padded(conv.out_channels) * math.prod(conv.kernel_size)
        for conv in convs
    )
    return 0.5 + share * work / 3e5


def _fake_export(
    module: nn.Module, path: Path, imgsz: tuple[int, int], runtime: Any, rewritten: bool
) -> ExportedModel:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_cost_ms(module)))
    return ExportedModel(path, runtime, imgsz, "torch.export")


@pytest.fixture(autouse=True)
def _exports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "export_model", _fake_export)


def _target() -> FakeTarget:
    return FakeTarget(lambda path: float(json.loads(path.read_text())), noise=0.002)


def _probe(**settings: Any) -> ProbeResult:
    target = settings.pop("target", None) or _target()
    return api.probe(imgsz=IMGSZ, runtime="torch", target=target, **settings)


@pytest.fixture(scope="module")
def dense_ms() -> float:
    return _cost_ms(load_yolo(demo_checkpoint()).model)


def test_a_limit_between_floor_and_dense_is_reachable_and_its_space_is_on_the_steps(
    dense_ms: float, tmp_path: Path
) -> None:
    written = tmp_path / "new" / "space.yaml"
    result = _probe(budget_ms=0.7 * dense_ms, write_space=written, protect=(4,))
    assert result.verdict.kind == "reachable"
    assert result.block == 16
    kinds = {option.kind: option for option in result.verdict.options}
    assert set(kinds) == {"floor", "plan", "image size"}  # nothing is below a yolov8n
    floor, plan = kinds["floor"], kinds["plan"]
    assert floor.latency.median_ms < plan.latency.median_ms <= 0.7 * dense_ms
    assert 0 < (plan.removed or 0) < (floor.removed or 0) < 1
    assert floor.plan is not None
    assert floor.plan["prune_ratios"][4] == 0.0
    assert f"about {plan.removed:.0%} of channels" in result.verdict.text
    assert set(result.stairs.steps) <= {4, 8, 12, 16, 32, 48, 64, 80, 96, 112, 128}
    model = load_yolo(demo_checkpoint()).model
    space = SearchSpace.load(written, widths_of(model))
    assert space == result.step_space
    assert space.choices["keep_4"] == (64,)
    assert len(space.choices["keep_7"]) > 3
    assert all(width % 16 == 0 for width in space.choices["keep_7"])
    # and a search may use it
    assert _probe(space=written).verdict.kind == "no goal"


def test_a_search_on_the_same_target_has_the_widths_that_the_probe_wrote(tmp_path: Path) -> None:
    written = tmp_path / "probe.yaml"
    result = _probe(write_space=written)
    config = StudyConfig(goal=Goal(kind="budget_ms", value=5), runtime="torch", imgsz=(IMGSZ,) * 2)
    loaded = probe._loaded(config, _target())
    exported = loaded.export(loaded.pruner.model, tmp_path / "dense")
    learning = probe._Timed(**vars(loaded), dense_export=exported, dense_latency=result.dense)
    predictor = learn_latency(learning, shared_folder(learning), SearchListener())
    bench: Any = SimpleNamespace(
        config=config,
        folder=StudyFolder(tmp_path / "study"),
        pruner=learning.pruner,
        space=learning.space,
        imgsz=learning.imgsz,
        predictor=predictor,
        dense_latency=result.dense,
        grown=lambda _, space: space,
    )
    assert with_target_space(bench, SearchListener()) == result.step_space
    assert bench.folder.space.read_text() == written.read_text()


def test_a_limit_below_the_floor_names_the_image_size_that_meets_it(dense_ms: float) -> None:
    protected = tuple(range(5, 22))  # a high floor
    result = _probe(budget_ms=0.3 * dense_ms, protect=protected)
    floor = result.verdict.options[0]
    assert floor.kind == "floor"
    assert floor.latency.median_ms > 0.3 * dense_ms
    assert not any(option.kind == "plan" for option in result.verdict.options)
    assert result.verdict.kind == "not reachable"
    assert "within it: 32x32 px" in result.verdict.text
    assert _probe(budget_ms=0.4).verdict.kind == "out of reach"
    assert _probe(budget_ms=1.2 * dense_ms).verdict.kind == "already met"


def test_what_is_wrong_is_refused_before_anything_is_timed(tmp_path: Path) -> None:
    target = _target()
    taken = tmp_path / "space.yaml"
    taken.write_text("mine")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"write_space": taken}, "--write-space: got .*a file that is not there yet"),
        ({"budget_ms": 5, "speedup": 2}, "got budget_ms and speedup"),
        ({"speedup": 0.5}, "a speed-up above 1"),
        ({"budget_ms": -1.0}, "a value above 0"),
        ({"model": "missing.pt"}, "missing.pt: got 'no such file'"),
        ({"space": tmp_path / "missing.yaml"}, "missing.yaml: cannot be read"),
        ({"protect": (99,)}, "--protect: got 99"),
    ]
    for settings, message in wrong:
        with pytest.raises(ConfigError, match=message):
            _probe(target=target, **settings)
    for size in (100, 16):
        with pytest.raises(ConfigError, match=r"imgsz: .*multiple of 32"):
            api.probe(imgsz=size, target=target)
    assert taken.read_text() == "mine"
    assert target.jobs == []


def test_nothing_is_written_when_the_target_fails(tmp_path: Path) -> None:
    class Broken(FakeTarget):
        def run(self, *_: Any) -> dict[str, Any]:
            raise TrialFailed("latency", "does not run")

    with pytest.raises(TrialFailed, match="does not run"):
        _probe(target=Broken(), write_space=tmp_path / "space.yaml")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("imgsz", "share", "expected"),
    [
        ((640, 640), 0.5, [(448, 448), (384, 384)]),
        ((640, 640), None, [(512, 512), (416, 416)]),
        ((192, 192), 0.57, [(128, 128), (96, 96)]),
        ((320, 640), 0.25, [(160, 320), (128, 256)]),
        ((640, 640), 0.99, [(608, 608), (512, 512)]),
        ((64, 64), 0.5, [(32, 32)]),
        ((32, 32), 0.5, []),
    ],
)
def test_image_sizes_are_multiples_of_the_stride_around_the_limit(
    imgsz: tuple[int, int], share: float | None, expected: list[tuple[int, int]]
) -> None:
    assert smaller_sizes(imgsz, 32, share) == expected


def test_a_cropped_model_sees_the_corner_alone() -> None:
    image = torch.rand(1, 3, 64, 96)
    assert torch.equal(alternatives.Cropped(nn.Identity(), (32, 64))(image), image[:, :, :32, :64])


def test_denormal_numbers_that_the_model_reads_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def odd(*asked: Any, **more: Any) -> ExportedModel:
        return replace(_fake_export(*asked, **more), denormals=Denormals("model.3.conv", 0.123))

    heard = Heard()
    _probe(listener=heard)
    assert not any("denormal" in said for said in heard.said)
    monkeypatch.setattr(probe, "export_model", odd)
    _probe(listener=heard)
    (note,) = [said for said in heard.said if "denormal" in said]
    assert note.startswith("Note: 12.3% of the numbers that model.3.conv reads")


def test_provider_and_layout_reach_every_measurement() -> None:
    target = _target()
    result = _probe(target=target, provider="cuda:0", channels_last=True)
    assert {(job["provider"], job["channels_last"]) for job in target.jobs} == {("cuda:0", True)}
    assert result.dense.fingerprint.provider == "cuda:0 channels_last"


def test_the_dense_model_is_timed_under_every_other_runtime_of_the_target(
    dense_ms: float,
) -> None:
    class WithoutOpenVino(FakeTarget):
        def run(self, job: dict[str, Any], *more: Any) -> dict[str, Any]:
            if job["runtime"] == "openvino":
                raise ConfigError("--runtime openvino: not on the target: pip install openvino")
            return super().run(job, *more)

    target = WithoutOpenVino(lambda path: float(json.loads(path.read_text())), noise=0.002)
    found = {each.name: each for each in _probe(target=target).runtimes}
    assert found.keys() == set(RUNTIMES.names()) - {"torch", "tensorrt"}, "on the target's CPU"
    timed = found["onnxruntime"].latency
    assert timed is not None
    assert timed.fingerprint.runtime == "onnxruntime"
    assert timed.median_ms == pytest.approx(dense_ms, rel=0.01)
    assert (found["openvino"].latency, found["openvino"].precision) == (None, "fp32")
    assert "pip install openvino" in found["openvino"].missing
    assert _probe(provider="cuda:0").runtimes == (), "other runtimes call devices differently"
