"""What a report says about how its numbers were made."""

from pathlib import Path

import pytest

from autoprune.report.answer import read_answer
from autoprune.report.facts import facts, warnings
from autoprune.report.rows import rows
from autoprune.report.study import load_study
from tests.report import fake_study as fake


def _machine(root: Path, target: str) -> str:
    content = fake.settings()
    content["asked"]["target"] = target
    return dict(facts(load_study(fake.write_study(root, [fake.dense()], content=content))))[
        "Machine"
    ]


def test_a_device_is_not_said_to_have_the_cores_of_the_machine_that_searched(
    tmp_path: Path,
) -> None:
    assert "2 cores" in _machine(tmp_path / "here", "local")
    there = _machine(tmp_path / "there", "ssh://pi@raspberrypi")
    assert "cores" not in there
    assert "ssh://pi@raspberrypi" in there


@pytest.mark.parametrize(
    ("runtime", "provider", "clock"),
    [
        ("onnxruntime", "CPUExecutionProvider", "time on a core of its own"),
        ("onnxruntime", "CUDAExecutionProvider", "wall time"),
        ("torch", "cpu channels_last", "time on a core of its own"),
        ("torch", "cuda:0 channels_last", "time on the GPU"),
    ],
)
def test_provider_layout_and_clock_are_said(
    tmp_path: Path, runtime: str, provider: str, clock: str
) -> None:
    dense = fake.dense()
    assert dense.latency is not None
    mark = dense.latency.fingerprint.model_copy(update={"runtime": runtime, "provider": provider})
    measured = dense.latency.model_copy(update={"fingerprint": mark})
    dense = dense.model_copy(update={"latency": measured})
    said = dict(facts(load_study(fake.write_study(tmp_path, [dense], content=fake.settings()))))
    assert f"{runtime} 1.32.0, {provider}, fp32, 1 thread" in said["Runtime"]
    assert said["Clock"].startswith(clock)


@pytest.mark.parametrize("on_steps", [True, False])
def test_a_space_narrowed_to_the_targets_steps_is_told_from_one_used_as_it_is(
    tmp_path: Path, on_steps: bool
) -> None:
    content = {**fake.settings(), "space": {"file": "my.yaml", "hash": "aa", "on_steps": on_steps}}
    said = dict(facts(load_study(fake.write_study(tmp_path, [fake.dense()], content=content))))
    assert "space my.yaml" in said["Search"]
    assert ("on the target's steps (space.yaml)" in said["Search"]) == on_steps


def test_what_was_taken_over_is_said_and_its_time_is_not_counted(tmp_path: Path) -> None:
    taken = fake.scored(0, 0.5, 0.7, taken_from="first/trial 3", seconds=1000.0)
    folder = fake.write_study(tmp_path, [fake.dense(), taken, fake.scored(1, 0.4, 0.6)])
    study = load_study(folder)
    said = dict(facts(study))
    assert said["Trials"] == (
        "2: 2 scored without training; 1 taken over from earlier studies (first)"
    )
    assert sum(record.seconds for record in study.records) > 1000
    assert said["Time"].startswith("1 min 03 s in all")
    details = " ".join(read_answer(folder).details)
    assert "Of the plans, 1 were known from earlier studies." in details
    row = rows(study, study.trials)[0]
    assert row.state == "scored without training, in first/trial 3"


def test_where_the_time_went_is_said_in_the_order_of_the_stages(tmp_path: Path) -> None:
    folder = fake.busy_study(tmp_path)
    assert "Where the time went" not in dict(facts(load_study(folder)))
    for name, seconds in (("trials", 30.0), ("a new stage", 10.0), ("dense", 60.0)):
        folder.add_stage_seconds(name, seconds)
    said = dict(facts(load_study(folder)))["Where the time went"]
    assert said == "dense 1 min 00 s (60%), trials 30 s (30%), a new stage 10 s (10%)"


def test_what_makes_the_dense_models_numbers_odd_is_said(tmp_path: Path) -> None:
    odd = fake.dense().model_copy(update={"notes": ("12.3% of the numbers are denormal",)})
    said = warnings(load_study(fake.write_study(tmp_path / "odd", [odd])))
    assert "Dense model: 12.3% of the numbers are denormal." in said
    calm = warnings(load_study(fake.write_study(tmp_path / "calm", [fake.dense()])))
    assert not any("Dense model" in each for each in calm)


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    content = fake.settings()
    content["data"]["notes"] = ["train: 3 of 90 images are broken and left out, the first: a.txt"]
    folder = fake.write_study(tmp_path, [fake.dense()], content=content)
    broken = folder.trial(7) / "record.json"
    broken.parent.mkdir(parents=True)
    broken.write_text("{}")
    said = warnings(load_study(folder))
    assert said[0].startswith(f"Left out: {broken}: ")
    assert said[1] == f"Images: {content['data']['notes'][0]}."


def test_fine_tunes_with_frozen_batch_norms_are_counted(tmp_path: Path) -> None:
    one, other = fake.promoted(0, 0.5, 0.6, 0.7), fake.promoted(1, 0.5, 0.6, 0.7)
    before, after = other.rungs
    frozen = after.model_copy(update={"frozen_norms": True})
    other = other.model_copy(update={"rungs": (before, frozen)})
    said = dict(facts(load_study(fake.write_study(tmp_path, [fake.dense(), one, other]))))
    assert said["Short fine-tune"].endswith(
        "; batch norms keep their mean and variance in 1 of them"
    )
