"""A runtime of one's own: a row and a loader in one file, here and over ssh."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autoprune import api
from autoprune.cli.main import app
from autoprune.domain.config import StudyConfig
from autoprune.errors import ConfigError, TrialFailed
from autoprune.latency.exported_model import ExportedModel
from autoprune.latency.local_target import LocalTarget
from autoprune.latency.measure import check_loads
from autoprune.latency.options import RuntimeOptions
from autoprune.latency.runtimes import RUNTIMES
from autoprune.latency.targets import LatencyTarget
from autoprune.search.propose.names import check_names
from tests.domain.packages import install
from tests.latency.sshd import running_sshd
from tests.latency.tiny_models import write_onnx

THERE = "if __name__ == 'autoprune_loader'"  # as the runner imports it
SOURCE = Path(__file__).with_name("reference_runtime.py").read_text()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Installs the reference runtime, its text changed."""

    def add(*changes: tuple[str, str]) -> Path:
        text = SOURCE
        for before, after in changes:
            assert before in text
            text = text.replace(before, after)
        folder = tmp_path / "site"
        points = {"autoprune.runtimes": {"reference": "my_reference:row"}}
        monkeypatch.syspath_prepend(
            install(folder, "my-reference", points, {"my_reference.py": text})
        )
        monkeypatch.delitem(sys.modules, "my_reference", raising=False)
        return folder / "my_reference.py"

    return add


@pytest.fixture
def target(tmp_path: Path) -> LocalTarget:
    return LocalTarget(lock_path=tmp_path / "latency.lock")


def _loaded(target: LatencyTarget, model: Path, **options: str) -> None:
    """One job that loads the model and no more."""
    asked = RuntimeOptions(runtime="reference", imgsz=(32, 32), **options)
    check_loads(target, ExportedModel(model, "reference", (32, 32), "user"), asked)


def test_a_runtime_in_one_file_is_measured_compared_and_named(
    installed: Callable[..., Path], target: LocalTarget, tmp_path: Path
) -> None:
    installed()
    models = [write_onnx(tmp_path / f"{convs}.onnx", convs) for convs in (1, 6)]
    light, heavy = api.measure(models, runtime="reference", target=target).values()
    assert heavy.ratio_low > 1
    assert light.fingerprint.runtime == "reference"
    assert light.fingerprint.provider == "numpy"
    assert "openvino-int8, tensorrt or reference" in RUNTIMES.listed()
    check_names(
        StudyConfig.of({"goal": {"kind": "speedup", "value": 2}, "runtime": "reference"}, "")
    )


def test_its_loader_is_sent_to_an_ssh_target(
    installed: Callable[..., Path], tmp_path: Path
) -> None:
    loader = installed()
    model = write_onnx(tmp_path / "a.onnx", 1)
    with running_sshd(tmp_path) as server:
        there = server.target(python=sys.executable)
        loader_here = loader.read_bytes()
        _loaded(there, model)
        kept = [path.read_bytes() for path in (server.cache / "autoprune" / "device").glob("*.py")]
    assert loader_here in kept


def test_what_the_target_lacks_is_said_here_and_over_ssh(
    installed: Callable[..., Path], target: LocalTarget, tmp_path: Path
) -> None:
    installed(('packages=("onnx",)', 'packages=("onnx", "no_such_engine")'))
    model = write_onnx(tmp_path / "a.onnx", 1)
    with pytest.raises(ConfigError) as caught:
        _loaded(target, model)
    said = "target has no no_such_engine: pip install no_such_engine there"
    assert str(caught.value).startswith(said)
    with running_sshd(tmp_path) as server, pytest.raises(ConfigError) as caught:
        _loaded(server.target(python=sys.executable), model)
    assert "has no no_such_engine: run there `" in str(caught.value)
    assert "-m pip install no_such_engine`" in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("load = Ref", "lode = Ref", "the loader of runtime reference fails: AttributeError"),
        ("load = Ref", f"{THERE}: 1 / 0\nload = Ref", "runtime reference fails: ZeroDivisionError"),
        ('= "numpy", ["numpy"]', '= "numpy", ["gpu"]', "asked for numpy, but in use: gpu"),
    ],
)
def test_a_loaders_mistake_is_one_line(
    installed: Callable[..., Path],
    target: LocalTarget,
    tmp_path: Path,
    before: str,
    after: str,
    said: str,
) -> None:
    installed((before, after))
    with pytest.raises(ConfigError, match=said) as caught:
        _loaded(target, write_onnx(tmp_path / "a.onnx", 1))
    assert "\n" not in str(caught.value)


def test_a_provider_the_loader_refuses_stops_the_command(
    installed: Callable[..., Path], target: LocalTarget, tmp_path: Path
) -> None:
    installed()
    with pytest.raises(ConfigError, match="--provider: asked for gpu, but available: numpy"):
        _loaded(target, write_onnx(tmp_path / "a.onnx", 1), provider="gpu")


def test_a_model_the_loader_cannot_open_fails_its_trial(
    installed: Callable[..., Path], target: LocalTarget, tmp_path: Path
) -> None:
    installed()
    (tmp_path / "bad.onnx").write_bytes(b"nonsense")
    with pytest.raises(TrialFailed) as caught:
        _loaded(target, tmp_path / "bad.onnx")
    assert caught.value.reason == "latency"


def test_a_job_without_packages_and_loader_runs_as_before(
    target: LocalTarget, tmp_path: Path
) -> None:
    model = write_onnx(tmp_path / "a.onnx", 1)
    job = RuntimeOptions(runtime="onnxruntime", imgsz=(32, 32)).as_job()
    del job["packages"], job["loader"]
    job |= {"dense": str(model), "candidates": [], "timing": None, "checks": []}
    assert target.run(job, [model], 60.0)["runtime"] == "onnxruntime"


def test_a_package_that_clashes_with_a_shipped_runtime_is_named_and_help_still_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = {"autoprune.runtimes": {"torch": "my_reference:row"}}
    monkeypatch.syspath_prepend(
        install(tmp_path / "site", "fast-torch", points, {"my_reference.py": SOURCE})
    )
    with pytest.raises(ConfigError, match="'torch' is added by the package fast-torch"):
        RuntimeOptions(runtime="torch", imgsz=(32, 32))
    RuntimeOptions(runtime="onnxruntime", imgsz=(32, 32))
    assert CliRunner().invoke(app, ["measure", "--help"]).exit_code == 0
