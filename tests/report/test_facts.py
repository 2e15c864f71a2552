"""What a report says about how its numbers were made."""

from pathlib import Path

from autoprune.report.facts import facts
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
