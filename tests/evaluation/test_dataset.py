from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from ultralytics.data.utils import check_det_dataset

from autoprune.demo.dataset import Split, write_detection_set
from autoprune.demo.shapes import CLASS_NAMES
from autoprune.errors import ConfigError
from autoprune.evaluation.data_yaml import resolved_data_yaml
from autoprune.evaluation.dataset import HELD_OUT, DataSummary, inspect_data
from autoprune.storage.yaml_io import dump_yaml, load_yaml


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A data set of its own, to spoil."""
    return write_detection_set(tmp_path / "set", {"train": Split(3, 3), "val": Split(4, 3)})


def _rewrite(yaml: Path, **changes: Any) -> Path:
    content = load_yaml(yaml) | changes
    yaml.write_text(dump_yaml({key: value for key, value in content.items() if value is not None}))
    return yaml


def test_a_set_without_test_split_sets_a_fixed_third_of_val_aside(
    data: DataSummary, data_yaml: Path, tmp_path: Path
) -> None:
    assert (len(data.train), len(data.val), len(data.test)) == (16, 8, 0)
    assert (len(data.selection_images), len(data.final_images)) == (6, 2)
    assert set(data.selection_images) | set(data.final_images) == set(data.val)
    assert data.final_split_name == HELD_OUT
    assert data.names == tuple(CLASS_NAMES)
    shutil.copytree(data_yaml.parent, tmp_path / "elsewhere")
    moved = inspect_data(tmp_path / "elsewhere" / "data.yaml")
    assert [image.name for image in moved.final_images] == [
        image.name for image in data.final_images
    ]
    assert moved.sha256 == data.sha256


def test_a_test_split_is_what_final_numbers_are_made_on(tmp_path: Path) -> None:
    splits = {"train": Split(1, 2), "val": Split(2, 2), "test": Split(3, 2)}
    found = inspect_data(write_detection_set(tmp_path / "set", splits))
    assert found.final_images == found.test
    assert found.selection_images == found.val
    assert found.final_split_name == "test"
    assert [found.split_name(images) for images in (found.val, found.test, found.train)] == [
        "val",
        "test",
        "other images",
    ]


def test_val_images_that_are_in_train_under_another_name_are_counted(small: Path) -> None:
    assert inspect_data(small).overlap == 0
    images = small.parent / "images"
    shutil.copy(images / "train" / "train00001.jpg", images / "val" / "copy.jpg")
    same_size = bytearray((images / "train" / "train00002.jpg").read_bytes())
    same_size[-9] ^= 1
    (images / "val" / "differs.jpg").write_bytes(same_size)
    assert inspect_data(small).overlap == 1


def test_the_hash_changes_with_labels_images_and_names(small: Path) -> None:
    before = inspect_data(small).sha256
    assert inspect_data(small).sha256 == before
    label = small.parent / "labels" / "train" / "train00000.txt"
    label.write_text(label.read_text() + "0 0.5 0.5 0.1 0.1\n")
    relabelled = inspect_data(small).sha256
    (small.parent / "images" / "train" / "train00002.jpg").unlink()
    fewer = inspect_data(small).sha256
    names = [f"new {name}" for name in CLASS_NAMES]
    renamed = inspect_data(_rewrite(small, names=names)).sha256
    assert len({before, relabelled, fewer, renamed}) == 4


def test_every_way_to_write_the_same_splits_finds_the_same_images(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = inspect_data(small)
    folder = small.parent
    beside = folder / "list.txt"
    beside.write_text("".join(f"./images/train/{image.name}\n" for image in expected.train))
    ways: list[dict[str, Any]] = [
        {"path": str(folder)},
        {"path": "."},
        {"path": None, "train": "list.txt"},
        {"train": ["images/train"], "val": str(folder / "images" / "val")},
        {"names": list(CLASS_NAMES), "nc": len(CLASS_NAMES)},
    ]
    for way in ways:
        found = inspect_data(_rewrite(small, **way))
        assert (found.train, found.val) == (expected.train, expected.val)
    monkeypatch.chdir(folder.parent)
    elsewhere = folder.parent / "other" / "data.yaml"
    elsewhere.parent.mkdir()
    shutil.copy(small, elsewhere)
    found = inspect_data(_rewrite(elsewhere, path="set", train="images/train"))
    assert found.train == expected.train


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": None}, "train: got 'nothing'"),
        ({"val": None}, "val: got 'nothing'"),
        ({"names": None}, "names: got 'nothing'"),
        ({"nc": 2}, "nc: got 2"),
        ({"nc": True}, "nc: got True"),
        ({"names": {0: "a", 2: "b"}}, "names: got"),
        ({"names": []}, "names: got"),
        ({"path": "nowhere"}, "path: got 'nowhere'"),
        ({"path": 3}, "path: got 3"),
        ({"train": "images/nowhere"}, "train: got 'images/nowhere'"),
        ({"train": "nowhere", "download": "https://example.com/set.zip"}, "train: got 'nowhere'"),
        ({"val": "labels"}, "at least one image"),
        ({"train": 7}, "train: got 7"),
        ({"channels": 5}, "channels: got 5"),
        ({"channels": "grey"}, "channels: got 'grey'"),
        ({"nc": 1_000_000_000, "names": None}, "nc: got 1000000000"),
        ({"names": ["only one"]}, "class"),
    ],
)
def test_a_wrong_yaml_is_one_line_that_names_file_and_key(
    changes: dict[str, Any], message: str, small: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        inspect_data(_rewrite(small, **changes))
    assert message in str(caught.value)
    assert str(small.parent) in str(caught.value)
    assert "expected" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "line",
    ["9 0.5 0.5 0.1 0.1", "-1 0.5 0.5 0.1 0.1", "0.5 0.5 0.5 0.1 0.1", "0 0.5 0.5", "a b c d e",
     "0 0.5 nan 0.1 0.1"],
)  # fmt: skip
def test_a_wrong_label_names_its_file_and_line(line: str, small: Path) -> None:
    label = small.parent / "labels" / "val" / "val00001.txt"
    label.write_text("0 0.5 0.5 0.1 0.1\n" + line + "\n")
    with pytest.raises(ConfigError, match=r"val00001\.txt: line 2.*expected"):
        inspect_data(small)


def test_a_set_without_any_label_or_with_one_val_image_is_refused(small: Path) -> None:
    for image in sorted((small.parent / "images" / "val").iterdir())[1:]:
        image.unlink()
    with pytest.raises(ConfigError, match="at least 2"):
        inspect_data(small)
    shutil.rmtree(small.parent / "labels")
    with pytest.raises(ConfigError, match="no labelled object"):
        inspect_data(small)


def test_a_missing_or_broken_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        inspect_data(tmp_path / "data.yaml")
    (tmp_path / "data.yaml").write_text("train: [")
    with pytest.raises(ConfigError, match="not valid YAML"):
        inspect_data(tmp_path / "data.yaml")


def test_the_derived_yaml_means_the_same_to_ultralytics(data: DataSummary, tmp_path: Path) -> None:
    derived = data.training_yaml(tmp_path / "derived")
    seen = check_det_dataset(derived, autodownload=False)
    assert tuple(seen["names"].values()) == data.names
    listed = Path(seen["val"]).read_text().split()
    assert listed == [str(image) for image in data.selection_images]
    assert not set(listed) & {str(image) for image in data.final_images}


def test_a_test_split_that_was_seen_or_has_no_labels_is_not_final(tmp_path: Path) -> None:
    splits = {"train": Split(1, 2), "val": Split(2, 4), "test": Split(3, 2)}
    yaml = write_detection_set(tmp_path / "set", splits)
    assert inspect_data(yaml).final_split_name == "test"
    for seen in ("images/val", "images/train", ""):
        found = inspect_data(_rewrite(yaml, test=seen))
        assert (found.final_split_name, found.test) == (HELD_OUT, ())
        assert not set(found.final_images) & set(found.selection_images)
    found = inspect_data(_rewrite(yaml, test=["images/val", "images/test"]))
    assert [image.parent.name for image in found.final_images] == ["test", "test"]
    for labels in (yaml.parent / "labels" / "test").glob("*.txt"):
        labels.write_text("")
    assert inspect_data(_rewrite(yaml, test="images/test")).final_split_name == HELD_OUT


def test_a_val_split_without_labels_is_refused_before_any_work(small: Path) -> None:
    for labels in (small.parent / "labels" / "val").glob("*.txt"):
        labels.unlink()
    with pytest.raises(ConfigError, match=r"val: got .no labelled object in 3 images"):
        inspect_data(small)


def test_linked_images_keep_the_labels_beside_the_links(small: Path, tmp_path: Path) -> None:
    images = small.parent / "images"
    store = tmp_path / "store"
    store.mkdir()
    for split in ("train", "val"):
        listed = []
        for image in sorted((images / split).iterdir()):
            kept = store / f"{split}-{image.name}"
            image.rename(kept)
            image.symlink_to(kept)
            listed.append(f"{image}\n")
        (small.parent / f"{split}.txt").write_text("".join(listed))
    found = inspect_data(_rewrite(small, train="train.txt", val="val.txt"))
    assert found.train[0].parent == images / "train"


def test_hidden_files_are_no_images_as_for_ultralytics(small: Path) -> None:
    images = small.parent / "images" / "train"
    before = inspect_data(small).train
    (images / "._00000.jpg").write_bytes(b"made by an operating system")
    (images / ".checkpoints").mkdir()
    shutil.copy(before[0], images / ".checkpoints")
    assert inspect_data(small).train == before


def test_ultralytics_gets_the_folder_that_the_yaml_means(small: Path, tmp_path: Path) -> None:
    yaml = _rewrite(small, path=".", download="raise SystemExit('never')")
    resolved = resolved_data_yaml(yaml, tmp_path / "run")
    content = load_yaml(resolved)
    assert Path(content["path"]) == small.parent.resolve()
    assert "download" not in content
    assert (
        Path(check_det_dataset(str(resolved))["train"]) == small.parent.resolve() / "images/train"
    )
