"""The first stage: what is wrong is found in seconds, before calibration and without a trace."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from autoprune.demo.bundle import demo_checkpoint
from autoprune.demo.dataset import Split, write_detection_set
from autoprune.domain.config import StudyConfig
from autoprune.domain.goal import Goal
from autoprune.domain.record import TrialRecord
from autoprune.domain.stages import LONGER
from autoprune.errors import ConfigError, StorageFailed, StudyMismatch, TargetUnreachable
from autoprune.evaluation.inside.stock import stock_model
from autoprune.latency.fake_target import FakeTarget
from autoprune.latency.runner import RUNNER_VERSION
from autoprune.pruning.prune import uniform_plan
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.prepare import DEMO_TIMEOUT_S, check, completed, default_name
from autoprune.search.context.workbench import Checked
from autoprune.search.run import REPORT_S, prepare_search
from autoprune.storage.yaml_io import dump_yaml, load_yaml
from tests.search.fakes import DENSE, FINGERPRINT, Heard, latency

IMGSZ = (64, 64)


@pytest.fixture(scope="module")
def data_yaml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "set"
    return write_detection_set(folder, {"train": Split(1, 8), "val": Split(2, 6)})


def _config(data: Path, **asked: Any) -> StudyConfig:
    given = {
        "goal": Goal(kind="speedup", value=2),
        "model": demo_checkpoint(),
        "data": data,
        "imgsz": IMGSZ,
        "name": "study",
    }
    return StudyConfig.of({**given, **asked}, "test")


def _checked(root: Path, config: StudyConfig, target: Any = None) -> Checked:
    return check(config, root, SearchListener(), target or FakeTarget())


def _dense(checked: Checked, **changed: Any) -> TrialRecord:
    """As it would have been measured by a FakeTarget."""
    like_the_fake = {"cpu": "fake", "isa": "fake", "system": "fake", "runtime_version": "0.0"}
    mark = FINGERPRINT.model_copy(
        update={**like_the_fake, "runner_version": RUNNER_VERSION, **changed}
    )
    measured = latency(10.0).model_copy(update={"fingerprint": mark})
    return DENSE.model_copy(update={"latency": measured})


def test_what_was_asked_is_complete_and_noted(tmp_path: Path, data_yaml: Path) -> None:
    checked = _checked(tmp_path, _config(data_yaml))
    assert checked.folder.settings.exists()
    assert checked.calibration is not None
    assert checked.calibration.images == 256  # at 192 px, as trained
    assert not checked.demo
    assert _checked(tmp_path, _config(data_yaml)).folder == checked.folder  # and again


def test_where_nothing_looks_at_images_none_are_noted(tmp_path: Path, data_yaml: Path) -> None:
    config = _config(data_yaml, importance="l2_bn", compensate=False)
    assert _checked(tmp_path, config).calibration is None


def test_classes_in_another_order_are_paired_by_name_and_told(
    tmp_path: Path, data_yaml: Path
) -> None:
    plain = _checked(tmp_path, _config(data_yaml))
    moved = write_detection_set(tmp_path / "set", {"train": Split(1, 8), "val": Split(2, 6)})
    names = list(plain.data.names)
    moved.write_text(dump_yaml({**load_yaml(moved), "names": [*names[1:], names[0]]}))
    heard = Heard()
    other = check(_config(moved, name="moved"), tmp_path, heard, FakeTarget())
    assert any("the model's classes in another order" in said for said in heard.said)
    assert other.base_hash == plain.base_hash
    assert list(other.yolo.model.names.values()) == [*names[1:], names[0]]
    first, second = (bench.yolo.model.model[-1].cv3[0][-1].bias for bench in (plain, other))
    assert torch.equal(second, torch.roll(first, -1))


def test_some_classes_are_kept_in_model_data_plan_and_settings(
    tmp_path: Path, data_yaml: Path
) -> None:
    plain = _checked(tmp_path, _config(data_yaml))
    names = plain.data.names
    heard = Heard()
    config = _config(data_yaml, name="few", classes=(names[4], 1))
    few = check(config, tmp_path, heard, FakeTarget())
    assert few.data.names == (names[1], names[4])
    assert list(few.yolo.model.names.values()) == [names[1], names[4]]
    assert few.base_hash == plain.base_hash
    assert few.annotated(uniform_plan(dict(few.space.widths), 0.2)).classes == (1, 4)
    assert any("2 of the model's 8 classes are kept" in said for said in heard.said)
    same = _config(data_yaml, name="few", classes=(1, 4))
    assert check(same, tmp_path, heard, FakeTarget()).folder == few.folder, "asked in other words"
    with pytest.raises(StudyMismatch, match="classes kept: was"):
        check(_config(data_yaml, name="few", classes=(1, 5)), tmp_path, heard, FakeTarget())


def test_the_branch_is_noted_and_compared(tmp_path: Path, data_yaml: Path) -> None:
    model: Any = stock_model("yolo26n.yaml", 3, 8)
    file = tmp_path / "end.pt"
    torch.save({"model": model, "train_args": {"imgsz": 64}}, file)
    heard = Heard()
    config = _config(data_yaml, model=file, nms=False, importance="l2_bn", compensate=False)
    checked = check(config, tmp_path, heard, FakeTarget())
    assert checked.yolo.model.end2end
    assert checked.annotated(uniform_plan(dict(checked.space.widths), 0.2)).nms is False
    assert any("one-to-one (end-to-end), without NMS" in said for said in heard.said)
    with pytest.raises(StudyMismatch, match="branch: was 'one-to-one"):
        check(config.model_copy(update={"nms": None}), tmp_path, heard, FakeTarget())
    with pytest.raises(ConfigError, match=r"--no-nms: got .a head Detect with one"):
        check(_config(data_yaml, nms=False, name="one"), tmp_path, heard, FakeTarget())


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({"classes": (0, 2)}, "demo-0-2-2x-onnxruntime-1t"),
        ({"classes": ("person", "car")}, "demo-person-car-2x-onnxruntime-1t"),
        ({"nms": False}, "demo-no-nms-2x-onnxruntime-1t"),
    ],
)
def test_what_is_kept_of_a_model_is_in_the_studys_name(asked: dict[str, Any], name: str) -> None:
    goal = {"goal": Goal(kind="speedup", value=2)}
    assert default_name(StudyConfig.of({**goal, **asked}, "test")) == name


def test_classes_that_no_folder_can_be_named_by_are_told_apart() -> None:
    goal = {"goal": Goal(kind="speedup", value=2)}
    names = {
        default_name(StudyConfig.of({**goal, "classes": classes}, "test"))
        for classes in (("猫",), ("犬",), tuple(range(40)), tuple(range(41)))
    }
    assert len(names) == 4


def test_what_is_left_out_or_bare_is_told_before_any_work(tmp_path: Path, data_yaml: Path) -> None:
    odd = write_detection_set(tmp_path / "set", {"train": Split(1, 8), "val": Split(2, 6)})
    labels = sorted((odd.parent / "labels" / "train").iterdir())
    labels[0].write_text("0 .5 .5 .2 .2 .9\n")
    labels[1].unlink()
    with pytest.raises(ConfigError, match="train: 1 of 8 images are broken"):
        _checked(tmp_path, _config(odd))
    with pytest.raises(ConfigError, match=r"train: 1 of 7 images have no labels.*unlabelled 15 if"):
        _checked(tmp_path, _config(odd, allow_broken=20, allow_unlabelled=10))
    heard = Heard()
    checked = check(_config(odd, allow_broken=20), tmp_path, heard, FakeTarget())
    assert len(checked.data.train) == 7
    assert [said for said in heard.said if "left out" in said]
    assert "Note: train: 1 of 7 images have no labels." in heard.said


def test_where_no_study_can_be_kept_is_found_at_once(tmp_path: Path, data_yaml: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"--studies: got .*file', expected a folder that can"):
        _checked(tmp_path / "file" / "studies", _config(data_yaml))


def test_layers_that_there_are_not_cannot_be_frozen(tmp_path: Path, data_yaml: Path) -> None:
    with pytest.raises(ConfigError, match=r"freeze: got 99, expected fewer layers than"):
        _checked(tmp_path, _config(data_yaml, fine_tune={"freeze": 99}))


def test_more_threads_than_cores_are_told_before_anything_is_measured(
    tmp_path: Path, data_yaml: Path
) -> None:
    for threads, cores, told in ((2, 2, False), (3, 2, True), (3, None, False)):
        heard = Heard()
        config = _config(data_yaml, threads=threads, name=f"{threads}-{cores}")
        check(config, tmp_path, heard, FakeTarget(overrides={"cores": cores}))
        assert ("Note: 3 threads will share 2 cores of the target." in heard.said) == told


class Gone:
    """A target that does not answer."""

    def run(self, job: dict[str, Any], files: Sequence[Path], timeout_s: float) -> dict[str, Any]:
        raise TargetUnreachable("no route to host")


def test_a_target_that_does_not_answer_is_found_first_and_leaves_no_study(
    tmp_path: Path, data_yaml: Path
) -> None:
    with pytest.raises(TargetUnreachable, match="no route"):
        _checked(tmp_path / "studies", _config(data_yaml), Gone())
    assert not (tmp_path / "studies").exists()


def test_a_target_whose_disk_is_nearly_full_pauses_the_search(
    tmp_path: Path, data_yaml: Path
) -> None:
    full = FakeTarget(overrides={"free_bytes": 50_000_000})
    with pytest.raises(StorageFailed, match="the target: only 50 MB of disk are free, 200 MB"):
        _checked(tmp_path / "studies", _config(data_yaml), full)
    roomy = FakeTarget(overrides={"free_bytes": 300_000_000})
    _checked(tmp_path / "studies", _config(data_yaml), roomy)


def test_another_setting_is_refused_before_anything_is_done(
    tmp_path: Path, data_yaml: Path
) -> None:
    _checked(tmp_path, _config(data_yaml))
    with pytest.raises(StudyMismatch, match="seed: was 0, now 1"):
        _checked(tmp_path, _config(data_yaml, seed=1))


@pytest.mark.parametrize(
    ("field", "value"), [("cpu", "another"), ("runtime_version", "9.9"), ("isa", "avx2")]
)
def test_another_machine_or_runtime_is_refused_as_early(
    tmp_path: Path, data_yaml: Path, field: str, value: str
) -> None:
    checked = _checked(tmp_path, _config(data_yaml))
    checked.folder.save_record(_dense(checked))
    _checked(tmp_path, _config(data_yaml))
    checked.folder.save_record(_dense(checked, **{field: value}))
    with pytest.raises(StudyMismatch, match=rf"other conditions: {field}"):
        _checked(tmp_path, _config(data_yaml))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"importance": "taste"}, "importance: got 'taste'"),
        ({"imgsz": 96, "protect": (99,)}, "99"),
        ({"model": "missing.pt"}, "missing.pt"),
        ({"fine_tune": {"epoch": 3}}, "epoch"),
        ({"target": "telnet://pi"}, "--target"),
    ],
)
def test_wrong_input_is_found_before_the_target_is_asked(
    tmp_path: Path, data_yaml: Path, asked: dict[str, Any], message: str
) -> None:
    target = None if "target" in asked else Gone()
    with pytest.raises(ConfigError, match=message):
        check(_config(data_yaml, **asked), tmp_path / "studies", SearchListener(), target)
    assert not (tmp_path / "studies").exists()


def test_the_time_of_the_check_is_part_of_the_limit_and_noted(
    tmp_path: Path, data_yaml: Path
) -> None:
    config = _config(data_yaml, timeout_s=100.0)
    prepared = prepare_search(config, tmp_path, SearchListener(), FakeTarget())
    spent_s = prepared.checked.folder.stage_seconds()["check"]
    assert spent_s > 0
    assert prepared.journal.budget.left_s() <= 100 - spent_s + 0.01


@pytest.mark.parametrize(
    ("asked", "timeout_s"),
    [({}, DEMO_TIMEOUT_S), ({"timeout_s": 60.0}, 60.0), ({"trials": 5}, None)],
)
def test_the_demo_has_a_time_limit_of_its_own_only_where_none_was_asked_for(
    asked: dict[str, Any], timeout_s: float | None
) -> None:
    config = StudyConfig.of({"goal": Goal(kind="speedup", value=2), **asked}, "test")
    done = completed(config, Path("demo.pt"), "demo")
    assert done.timeout_s == timeout_s
    assert (done.model, done.name) == (Path("demo.pt"), "demo")
    own = {**asked, "goal": config.goal, "model": "a.pt", "data": "a.yaml"}
    assert completed(StudyConfig.of(own, "test"), Path("a.pt"), "a").timeout_s == asked.get(
        "timeout_s"
    )


def test_some_time_is_kept_free_for_the_report(tmp_path: Path, data_yaml: Path) -> None:
    config = _config(data_yaml, timeout_s=50.0)
    budget = prepare_search(config, tmp_path, SearchListener(), FakeTarget()).journal.budget
    left_s = budget.left_s()
    assert budget.open(LONGER).left_s() == pytest.approx(left_s - REPORT_S, abs=1)
