"""Files say which schema they have; older ones are read, newer ones refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoprune.domain.card import ModelCard
from autoprune.domain.outcome import Outcome
from autoprune.domain.record import TrialRecord
from autoprune.domain.schema import VERSIONS, load_json, save_json, stamped, unstamped
from autoprune.domain.space import SearchSpace
from autoprune.domain.verdict import Verdict
from autoprune.errors import ConfigError
from autoprune.evaluation.full_fine_tune import _keep_or_compare
from autoprune.latency.features import WORK, Staircase
from autoprune.latency.predictor import LatencyPredictor, PredictorError
from autoprune.latency.timed_plans import LatencyTable
from autoprune.report.learned import SavedProfile
from autoprune.search.context.study_settings import compare_settings, save_settings
from autoprune.search.learn.calibration import images_of
from autoprune.search.learn.profile import Profile
from autoprune.search.learn.stairs import space_text
from autoprune.shipping.workshop import Workshop
from autoprune.storage.study_folder import StudyFolder
from autoprune.storage.yaml_io import dump_yaml, load_yaml
from tests.latency.staircases import chain
from tests.report import fake_study as fake
from tests.shipping.fake_card import card

GEOMETRY = chain()
WIDTHS: dict[int, tuple[int, ...]] = {0: (16,), 1: (64,)}

Made = tuple[Path, Callable[[], object]]  # a file as it is written now, and what reads it


def _study(root: Path) -> Made:
    folder = StudyFolder(root)

    settings: dict[str, Any] = {"asked": {"seed": 0}}
    save_settings(folder, settings)
    return folder.settings, lambda: compare_settings(folder, settings)


def _space(root: Path) -> Made:
    space = SearchSpace(WIDTHS, {"keep_0": (8, 16), "keep_1": (64,)}, 8)
    path = root / "space.yaml"
    path.write_text(space_text(space, "made by a test"))
    return path, lambda: SearchSpace.load(path, WIDTHS)


def _outcome(root: Path) -> Made:
    path = root / "outcome.yaml"
    Outcome(status="running").save(path)
    return path, lambda: Outcome.load(path)


def _record(root: Path) -> Made:
    path = root / "record.json"
    fake.dense().save(path)
    return path, lambda: TrialRecord.load(path)


def _verdict(root: Path) -> Made:
    path = root / "verdict.json"
    Verdict(kind="no goal", text="nothing asked").save(path)
    return path, lambda: Verdict.load(path)


def _calibration(root: Path) -> Made:
    folder = StudyFolder(root)
    save_json("calibration.json", folder.calibration, {"images": 32})
    return folder.calibration, lambda: images_of(folder)


def _profile(root: Path) -> Made:
    path = root / "profile.json"
    costs, empty = (np.array([0.1, 0.0]),), np.array([])
    profile = Profile(("keep_0",), ((8, 16),), costs, _some_predictor(), (), (), empty)
    path.write_text(json.dumps(profile.to_mapping()))
    return path, lambda: SavedProfile.load(path)


def _stages(root: Path) -> Made:
    folder = StudyFolder(root)
    folder.add_stage_seconds("dense", 3.5)
    return folder.stages, folder.stage_seconds


def _predictor(root: Path) -> Made:
    path = root / "latency_predictor.json"
    _some_predictor().save(path)
    return path, lambda: LatencyPredictor.load(path, GEOMETRY).to_mapping()


def _table(root: Path) -> Made:
    path = root / "latency_table.json"
    latency = fake.dense().latency
    assert latency is not None
    table = LatencyTable(geometry="g", fingerprint=latency.fingerprint, plans=(), seconds=1.0)
    table.save(path)
    return path, lambda: LatencyTable.load(path)


def _request(root: Path) -> Made:
    request = {"epochs": 5}
    _keep_or_compare(root, request, begun=False)
    return root / "request.json", lambda: _keep_or_compare(root, request, begun=True)


def _step(root: Path) -> Made:
    shop = Workshop(root, {})
    with shop.opened():
        shop.finish("export", {"exporter": "dynamo"})
    return shop.work / "export.json", lambda: shop.done("export")


def _card(root: Path) -> Made:
    path = root / "card.json"
    card().save(path)
    return path, lambda: ModelCard.load(path)


def _some_predictor() -> LatencyPredictor:
    prices = np.ones((len(WORK), len(GEOMETRY.convs)))
    staircase, error = Staircase(16, pads_inputs=True, align=4), PredictorError(0.01, 0.99, 48)
    return LatencyPredictor(GEOMETRY, staircase, prices, 0.1, error)


MAKERS: dict[str, Callable[[Path], Made]] = {
    "study.yaml": _study,
    "space.yaml": _space,
    "outcome.yaml": _outcome,
    "record.json": _record,
    "verdict.json": _verdict,
    "calibration.json": _calibration,
    "profile.json": _profile,
    "stages.json": _stages,
    "latency_predictor.json": _predictor,
    "latency_table.json": _table,
    "request.json": _request,
    "step.json": _step,
    "card.json": _card,
}


def _parsed(path: Path) -> dict[Any, Any]:
    content: dict[Any, Any]
    content = load_yaml(path) if path.suffix == ".yaml" else json.loads(path.read_text())
    return content


def _rewrite(path: Path, content: dict[Any, Any]) -> None:
    path.write_text(dump_yaml(content) if path.suffix == ".yaml" else json.dumps(content))


@pytest.mark.parametrize("kind", VERSIONS)
def test_every_kind_of_file_is_written_with_its_version_first(kind: str, tmp_path: Path) -> None:
    path, _ = MAKERS[kind](tmp_path)
    assert next(iter(_parsed(path).items())) == ("schema", VERSIONS[kind])


@pytest.mark.parametrize("kind", VERSIONS)
def test_a_file_made_before_there_were_versions_reads_the_same(kind: str, tmp_path: Path) -> None:
    path, read = MAKERS[kind](tmp_path)
    with_version = read()
    content = _parsed(path)
    del content["schema"]
    _rewrite(path, content)
    assert read() == with_version


@pytest.mark.parametrize("kind", VERSIONS)
def test_a_file_of_a_newer_autoprune_is_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    path, read = MAKERS[kind](tmp_path)
    _rewrite(path, {**_parsed(path), "schema": VERSIONS[kind] + 2, "tomorrow": 1})
    with pytest.raises(ConfigError) as caught:
        read()
    newest = VERSIONS[kind]
    expected = f"got {newest + 2}, expected at most {newest} (written by a newer autoprune)"
    assert str(caught.value) == f"{path}: schema: {expected}"


@pytest.mark.parametrize("version", [0, -1, 1.0, True, "1", None, [1]])
def test_what_is_no_version_is_refused(version: object) -> None:
    with pytest.raises(ConfigError, match=r"^x: schema: got .*, expected a whole number from 1"):
        unstamped("record.json", {"schema": version}, "x")


def test_a_content_comes_back_as_it_was(tmp_path: Path) -> None:
    content = {"b": [1, 2.5], "a": None}
    save_json("record.json", tmp_path / "x.json", content)
    assert load_json("record.json", tmp_path / "x.json") == content
    assert unstamped("space.yaml", stamped("space.yaml", content), "x") == content


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"7", b"null", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_object_is_one_clear_line(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    with pytest.raises(ConfigError, match="cannot be read"):
        load_json("record.json", path)
    path.write_bytes(raw)
    with pytest.raises(ConfigError, match=r"record\.json: (not valid JSON|got)") as caught:
        load_json("record.json", path)
    assert "\n" not in str(caught.value)
