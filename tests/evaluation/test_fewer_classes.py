"""--classes: what is said of the classes that stay does not change, and the others are gone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from ultralytics import YOLO

from autoprune import load, prune_detection_model
from autoprune.domain.plan import PruningPlan
from autoprune.errors import ConfigError, PlanError
from autoprune.evaluation.class_head import class_names, fit_classes
from autoprune.evaluation.dataset import DataSummary, inspect_data
from autoprune.evaluation.fewer_classes import (
    KeptClasses,
    classes_of,
    kept_classes,
    with_classes,
)
from autoprune.evaluation.full_fine_tune import fully_fine_tuned
from autoprune.evaluation.inside.stock import stock_model
from autoprune.evaluation.inside.trainer import shapes_but_classes
from autoprune.evaluation.labels import Layout, read_labels
from autoprune.evaluation.training_loss import labelled_batches
from autoprune.evaluation.validate import validate
from autoprune.pruning.prune import uniform_plan, widths_of
from autoprune.search.learn import calibration
from autoprune.storage.yaml_io import dump_yaml, load_yaml
from tests.evaluation.task_data import write_task_set

NAMES = ("cat", "dog", "bird", "fish", "cow")


def _model(name: str = "yolov8n") -> Any:
    torch.manual_seed(0)
    model: Any = stock_model(f"{name}.yaml", 3, len(NAMES))
    model.names = dict(enumerate(NAMES))
    for part in model.modules():
        if isinstance(part, torch.nn.Conv2d) and part.bias is not None:
            torch.nn.init.normal_(part.bias)  # a class's own, not the same for all
    return model


@pytest.mark.parametrize("name", ["yolov8n", "yolo26n", "yolo11n-seg", "yolo26n-pose"])
def test_what_is_said_of_the_classes_that_stay_is_the_same(name: str) -> None:
    model = _model(name).double()
    small: Any = with_classes(model, kept_classes(model, ["bird", 0]))
    assert small.names == {0: "cat", 1: "bird"}
    assert class_names(model) == dict(enumerate(NAMES)), "the model given is unchanged"
    picture = torch.rand(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        (before, raw), (after, small_raw) = model(picture), small(picture)
    before, after = (each[0] if isinstance(each, tuple) else each for each in (before, after))
    rows = [*range(4), 4, 6, *range(4 + len(NAMES), before.shape[1])]  # box, classes, what follows
    torch.testing.assert_close(after, before[:, rows], rtol=1e-12, atol=1e-12)
    for branch in ("one2many", "one2one") if "one2many" in raw else ():
        expected = raw[branch]["scores"][:, [0, 2]]
        torch.testing.assert_close(small_raw[branch]["scores"], expected, rtol=1e-12, atol=1e-12)
    assert (small.model[-1].nc, small.yaml["nc"]) == (2, 2)


def test_all_branches_that_know_classes_are_fitted_to_others() -> None:
    """YOLO26's masks have one that only training runs."""
    model = _model("yolo26n-seg")
    fixed = shapes_but_classes(model)
    fit_classes(model, {0: "cow", 1: "horse"})
    assert model.model[-1].proto.semseg[-1].out_channels == 2
    assert shapes_but_classes(model) == fixed


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ([5], "got 5, expected class ids from 0 to 4, or names"),
        (["horse"], "got 'horse', expected class ids"),
        ([0, "cat"], "each class once"),
        ([], "at least one"),
        ([-1], "got -1"),
    ],
)
def test_classes_that_are_not_there_are_refused(wanted: list[Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kept_classes(_model(), wanted)


def test_data_have_all_classes_in_any_order_or_the_kept_ones_alone() -> None:
    kept = KeptClasses((0, 2), NAMES)
    assert kept.in_data(NAMES, "d") == (0, 2)
    assert kept.in_data(("cow", "bird", "cat", "dog", "fish"), "d") == (2, 1)
    assert kept.in_data(("a", "b", "c", "d", "e"), "d") == (0, 2), "other names, same places"
    assert kept.in_data(("cat", "bird"), "d") is None
    with pytest.raises(
        ConfigError, match=r"got '3 classes', expected the model's 5, or the 2 that"
    ):
        kept.in_data(("a", "b", "c"), "d")
    with pytest.raises(ConfigError, match="'bird' among them"):
        kept.in_data(("cow", "ape", "cat", "dog", "fish"), "d")


def test_objects_of_other_classes_are_passed_over(tmp_path: Path) -> None:
    label = tmp_path / "a.txt"
    label.write_text("2 .5 .5 .2 .2\n1 .1 .1 .1 .1\n0 .3 .3 .1 .1\n")
    found = read_labels(label, 5, Layout(kept=(0, 2))).boxes
    assert found[:, 0].tolist() == [1.0, 0.0]
    label.write_text("5 .5 .5 .2 .2\n")
    with pytest.raises(ConfigError, match="a class id from 0 to 4"):
        read_labels(label, 5, Layout(kept=(0, 2)))


@pytest.fixture
def narrow(data: DataSummary) -> DataSummary:
    return inspect_data(data.path, kept=(1, 4))


def test_every_reader_of_the_data_sees_the_kept_classes_alone(
    data: DataSummary, narrow: DataSummary, dense: YOLO
) -> None:
    assert narrow.names == (data.names[1], data.names[4])
    assert narrow.sha256 != data.sha256
    (whole,) = labelled_batches(data, list(data.train), 64, "cpu")
    (few,) = labelled_batches(narrow, list(data.train), 64, "cpu")
    expected = [row for row, each in enumerate(whole["cls"][:, 0]) if each in (1, 4)]
    assert torch.equal(few["bboxes"], whole["bboxes"][expected])
    assert torch.equal(few["cls"][:, 0], (whole["cls"][expected, 0] == 4).float())
    kept = kept_classes(dense.model, [1, 4])
    small = with_classes(dense.model, kept)
    assert validate(small, narrow, narrow.val, 64).images == len(data.val)


def test_a_pruned_file_keeps_its_classes_and_its_plan_repeats_them(
    dense: YOLO, data: DataSummary, tmp_path: Path
) -> None:
    pruned = prune_detection_model(dense, 0.3, classes=[1, 4])
    assert list(pruned.names.values()) == [data.names[1], data.names[4]]
    pruned.save(tmp_path / "small.pt")
    again = load(tmp_path / "small.pt")
    assert again.names == pruned.names
    assert again.kept_classes == pruned.kept_classes == KeptClasses((1, 4), data.names)
    narrowed = load_yaml(again._of_kept_classes({"data": str(data.path)})["data"])
    assert list(narrowed["names"].values()) == list(pruned.names.values())
    assert again._of_kept_classes({"data": str(_others(data))}) == {}
    assert again.val(data=str(data.path), imgsz=64, plots=False, workers=0).results_dict
    (found,) = again.predict(torch.zeros(1, 3, 64, 64), verbose=False)
    assert len(found.names) == 2
    assert pruned.model.yaml["nc"] == 2
    fit_classes(again.model, {0: "another"})
    assert again.kept_classes is None
    only = prune_detection_model(dense, classes=[4])
    assert shapes_but_classes(only.model) == shapes_but_classes(dense.model)
    plan = replace(uniform_plan(widths_of(dense.model), 0.3), classes=(1, 4))
    plan.save(tmp_path / "plan.yaml")
    assert PruningPlan.load(tmp_path / "plan.yaml") == plan
    assert prune_detection_model(dense, prune_yaml=tmp_path / "plan.yaml").model.nc == 2


def _others(data: DataSummary) -> Path:
    """As many classes with other names."""
    names = [f"other {number}" for number in range(len(data.names))]
    file = data.path.with_name("others.yaml")
    file.write_text(dump_yaml({**load_yaml(data.path), "names": names}))
    return file


def test_classes_can_go_in_two_steps() -> None:
    once: Any = with_classes(_model(), kept_classes(_model(), ["cat", "bird", "cow"]))
    twice: Any = with_classes(once, kept_classes(once, ["cow", "cat"]))
    assert twice.names == {0: "cat", 1: "cow"}
    assert classes_of(twice) == KeptClasses((0, 4), NAMES)


@pytest.mark.parametrize(
    "noted",
    [None, 3, {}, {"ids": [0]}, {"ids": [0, 9], "names": ["a", "b"]}, {"ids": 1, "names": 2},
     {"ids": ["a", []], "names": ["a", "b"]}],
)  # fmt: skip
def test_what_a_file_notes_of_its_classes_is_not_trusted_blindly(noted: Any) -> None:
    model = with_classes(_model(), kept_classes(_model(), [0, 1]))
    model.classes_kept = noted
    assert classes_of(model) is None


@pytest.mark.parametrize("classes", [[], [0, 0], [-1], [True], ["cat"], "0,2", {}])
def test_a_plan_with_odd_classes_is_refused(classes: Any) -> None:
    with pytest.raises(PlanError, match=r"classes: got .*expected a list of class ids"):
        PruningPlan.from_mapping({"prune_ratios": {0: 0.1}, "classes": classes})


def test_a_fine_tune_learns_the_kept_classes_alone(
    dense: YOLO, data: DataSummary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pruned = prune_detection_model(dense, 0.3, classes=[1, 4])
    given: dict[str, Any] = {}
    monkeypatch.setattr(type(pruned), "train", lambda self, **more: given.update(more))
    fully_fine_tuned(pruned, data.path, {"epochs": 1}, tmp_path / "training")
    content = load_yaml(given["data"])
    assert list(content["names"].values()) == [data.names[1], data.names[4]]
    assert (content["kept_ids"], content["classes_in_files"]) == ([1, 4], len(data.names))
    other = data.path.with_name("other.yaml")
    other.write_text(dump_yaml({**load_yaml(data.path), "names": ["a", "b", "c"], "nc": 3}))
    with pytest.raises(ConfigError, match="expected the model's"):
        fully_fine_tuned(pruned, other, {"epochs": 1}, tmp_path / "other")
    other.unlink()


def test_nothing_is_calibrated_where_no_channel_goes(
    dense: YOLO, data: DataSummary, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("images were looked at")

    monkeypatch.setattr(calibration, "calibrate", forbidden)
    small = prune_detection_model(dense, classes=[4], calibration=data.path)
    assert small.how_pruned == "no channel removed"


def test_a_rare_class_is_not_taken_for_missing_labels(tmp_path: Path) -> None:
    """19 of 20 images show none of it."""
    file = write_task_set(tmp_path / "set", "detect", 20)
    for label in (tmp_path / "set" / "labels" / "train").iterdir():
        label.write_text("0 .5 .5 .2 .2\n" + ("1 .5 .5 .2 .2\n" if label.stem == "0" else ""))
    for label in (tmp_path / "set" / "labels" / "val").iterdir():
        label.write_text("0 .5 .5 .2 .2\n1 .3 .3 .1 .1\n")
    rare = inspect_data(file, kept=(1,))
    assert "train: 19 of 20 images have no object of the classes kept" in rare.notes
    (tmp_path / "set" / "labels" / "train" / "0.txt").write_text("0 .5 .5 .2 .2\n")
    with pytest.raises(ConfigError, match="no labelled object in 20 images"):
        inspect_data(file, kept=(1,))


def test_names_of_keypoints_stay_with_their_classes() -> None:
    model = _model("yolo26n-pose")
    model.kpt_names = {row: [f"{name} {place}" for place in "ab"] for row, name in enumerate(NAMES)}
    small: Any = with_classes(model, kept_classes(model, ["bird", "cow"]))
    assert small.kpt_names == {0: ["bird a", "bird b"], 1: ["cow a", "cow b"]}
