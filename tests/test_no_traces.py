"""Each public function leaves the process of its caller as it found it.

Each is called in a process of its own whose caller has imported torch and nothing else; pruning,
saving and loading also where nothing is imported, and where all is.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autoprune.demo.bundle import demo_checkpoint
from autoprune.demo.dataset import Split, write_detection_set
from tests.forks import Forks, untouched_environment
from tests.report import fake_study as fake

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = """\
import json, logging, os, random, sys
from pathlib import Path
data, checkpoint, study = sys.argv[1:4]
{BEFORE}
streams = sys.stdout, sys.stderr

def state():
    manager = logging.getLogger().manager
    loggers = dict(manager.loggerDict, root=logging.getLogger())
    found = {{
        "environ": dict(os.environ),
        "folder": os.getcwd(),
        "random": random.getstate(),
        "streams": (sys.stdout, sys.stderr) == streams,
        "loggers": {{
            name: (one.level, one.propagate, one.disabled, list(map(id, one.handlers)))
            for name, one in loggers.items() if isinstance(one, logging.Logger)
        }},
    }}
    if torch := sys.modules.get("torch"):
        found["torch"] = (
            torch.get_num_threads(), torch.get_num_interop_threads(),
            torch.are_deterministic_algorithms_enabled(), torch.get_rng_state().tolist(),
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark,
        )
    return found

before = state()
assert "autoprune" not in sys.modules
sys.stdout, saved = open("said.txt", "w"), sys.stdout
streams = sys.stdout, sys.stderr

def compared():  # but for new loggers all is as it was
    after = state()
    loggers = after["loggers"]
    after["loggers"] = {{name: loggers[name] for name in before["loggers"] if name in loggers}}
    for key in before:
        kept = before[key] == after[key]
        assert kept, (key, {{*map(str, before[key].items())}} ^ {{*map(str, after[key].items())}}
                      if isinstance(before[key], dict) else (before[key], after[key]))
    return after, {{*loggers}} - {{*before["loggers"]}}

{CALL}
after, new = compared()
sys.stdout.close()
sys.stdout = saved
fresh = {{}} if "torch" in before else {{"torch": after.get("torch")}}
voices = {{
    name: (logging.getLogger(name).level, len(logging.getLogger(name).handlers))
    for name in ("ultralytics", "optuna") if name in new
}}
print(json.dumps({{"fresh": fresh, "voices": voices, "said": Path("said.txt").read_text()}}))
"""

PRUNE = """
from autoprune import load, prune_detection_model
model = prune_detection_model(checkpoint, prune_ratio=0.25)
model.save("small.pt")
model = load("small.pt")
"""
FAKE = """
from autoprune.latency import export
from autoprune.latency.exported_model import ExportedModel
from autoprune.latency.fake_target import FakeTarget

def exported(module, path, imgsz, runtime, *_, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(sum(part.numel() for part in module.parameters())))
    return ExportedModel(path, runtime, imgsz, "torch.export")

export.export_model = exported
target = FakeTarget()
"""
FINE_TUNE = """
from autoprune import api
settings = dict(epochs=1, imgsz=32, batch=4, workers=0, device="cpu")
api.fine_tune_pruned(model, data, settings, Path("training"))
"""
CALLS = {
    "prune, save and load": PRUNE,
    "measure": """
from autoprune import api
from autoprune.latency.fake_target import FakeTarget
api.measure([checkpoint], imgsz=32, target=FakeTarget())
""",
    "export": """
from autoprune import export
export(checkpoint, "model.pt2", imgsz=32, runtime="torch")
""",
    "measure_self_test": f"""
from autoprune import api
{FAKE}
api.measure_self_test(checkpoint, imgsz=32, target=target)
""",
    "probe": f"""
from autoprune import api
{FAKE}
from autoprune.evaluation.traces import no_traces
with no_traces():
    from autoprune.search.feasibility import probe
assert probe.DEMO_LIMIT_S > 2
probe.DEMO_LIMIT_S = 2.0  # seconds of learning
api.probe(checkpoint, speedup=1.5, imgsz=32, runtime="torch", target=target)
""",
    "fine_tune_pruned": PRUNE + FINE_TUNE,
    "write_report": """
from autoprune import write_report
write_report(study)
""",
    "a search that is refused": """
from autoprune import search
from autoprune.domain.config import Goal, StudyConfig
from autoprune.errors import ConfigError
goal = Goal(kind="speedup", value=1.2)
try:
    search(StudyConfig(goal=goal, model=checkpoint, data="no.yaml", space="no.yaml"))
except ConfigError:
    pass
else:
    raise AssertionError
""",
    "a search that is interrupted": f"""
{FAKE}
from autoprune import search
from autoprune.domain.config import Goal, StudyConfig
from autoprune.search.context.listener import SearchListener

class Impatient(SearchListener):
    def begins(self, stage):
        if stage.name == "latency predictor":  # the dense model is validated by then
            raise KeyboardInterrupt

settings = dict(model=checkpoint, data=data, imgsz=(32, 32), runtime="torch", importance="l2")
goal = Goal(kind="speedup", value=1.2)
config = StudyConfig(goal=goal, compensate=False, **settings)
try:
    search(config, target=target, listener=Impatient())
except KeyboardInterrupt:
    assert list(Path("studies").glob("*/report/report.html"))
else:
    raise AssertionError
""",
}


@pytest.fixture(scope="module")
def data_yaml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "set"
    return write_detection_set(folder, {"train": Split(1, 8), "val": Split(2, 6)})


def _environment(home: Path) -> dict[str, str]:
    return untouched_environment() | {"HOME": str(home), "PYTHONPATH": str(ROOT)}


def _run(
    folder: Path, data_yaml: Path, call: str, before: str = "", forks: Forks | None = None
) -> tuple[dict[str, Any], Path]:
    """Without `forks` the process is a fresh one."""
    home = folder / "home"
    home.mkdir()
    study = fake.write_study(folder / "study", [fake.dense()]).root
    program = PROGRAM.format(BEFORE=before, CALL=call)
    arguments = [str(data_yaml), str(demo_checkpoint()), str(study)]
    environment = _environment(home)
    if forks is not None:
        done = forks.run(program, *arguments, folder=folder, environment=environment)
    else:
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stderr == ""
    return json.loads(done.stdout.splitlines()[-1]), home


def _files(home: Path) -> list[str]:
    return sorted(str(file.relative_to(home)) for file in home.rglob("*") if file.is_file())


def _assert_untouched(found: dict[str, Any], home: Path) -> None:
    assert found["said"] == ""
    assert [file for file in _files(home) if not file.startswith(".cache/autoprune/")] == []
    assert not list(home.parent.glob("runs*"))


@pytest.mark.parametrize("name", CALLS)
def test_a_public_function_leaves_no_traces(
    name: str, forks: Forks, data_yaml: Path, tmp_path: Path
) -> None:
    _assert_untouched(*_run(tmp_path, data_yaml, CALLS[name], forks=forks))


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    """What importing the libraries does, with nobody else's environment."""
    code = (
        "import torch, json, logging; threads = torch.get_num_threads()\n"
        "import ultralytics, optuna\n"
        "print(json.dumps([threads, {name: (logging.getLogger(name).level, "
        "len(logging.getLogger(name).handlers)) for name in ('ultralytics', 'optuna')}]))"
    )
    environment = {name: value for name, value in os.environ.items() if "NUM_THREADS" not in name}
    environment.pop("YOLO_VERBOSE")
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return dict(zip(("threads", "voices"), json.loads(done.stdout.splitlines()[-1]), strict=True))


def test_libraries_first_imported_by_us_are_as_after_a_plain_import(
    plain: dict[str, Any], data_yaml: Path, tmp_path: Path
) -> None:
    found, home = _run(tmp_path, data_yaml, PRUNE + "import optuna\n")
    _assert_untouched(found, home)
    assert found["fresh"]["torch"][0] == plain["threads"]
    assert found["fresh"]["torch"][2] is False
    assert found["voices"] == plain["voices"]


def test_torch_keeps_its_threads_where_ultralytics_would_be_first(plain: dict[str, Any]) -> None:
    code = (
        "import autoprune.evaluation.inside.settings, torch; print(torch.get_num_threads());"
        "import os; assert os.environ['OMP_NUM_THREADS'] == '1'"
    )
    environment = {name: value for name, value in os.environ.items() if "NUM_THREADS" not in name}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == plain["threads"]


OWN = """
import requests, torch, ultralytics, optuna
from ultralytics import YOLO
requests.head = lambda *_, **__: os._exit(9)  # how it begins to fetch a font
torch.set_num_threads(3)
torch.use_deterministic_algorithms(True, warn_only=True)
torch.manual_seed(7)
logging.getLogger("ultralytics").setLevel(logging.WARNING)
optuna.logging.set_verbosity(optuna.logging.ERROR)
own = {file: file.read_text() for file in Path.home().rglob("*.json")}
assert own
"""


def test_what_the_caller_imported_and_chose_stays(
    forks: Forks, data_yaml: Path, tmp_path: Path
) -> None:
    still = "assert own == {file: file.read_text() for file in own}\ncompared()\n"
    _run(tmp_path, data_yaml, PRUNE + still + FINE_TUNE + still, OWN, forks)


TRAIN = (
    PRUNE
    + """
from ultralytics.utils import AUTOINSTALL, ONLINE
assert not ONLINE
assert not AUTOINSTALL
settings = dict(data=data, epochs=1, imgsz=32, batch=4, workers=0, device="cpu", amp=False)
def seen(trainer):
    assert os.environ["YOLO_OFFLINE"] == "1", "what a child process would inherit"
model.add_callback("on_train_start", seen)
model.train(plots=False, project=os.getcwd(), name="run", **settings)
"""
)


def test_a_pruned_model_is_trained_offline_after_the_function_that_made_it_returned(
    forks: Forks, data_yaml: Path, tmp_path: Path
) -> None:
    found, home = _run(tmp_path, data_yaml, TRAIN, forks=forks)
    assert "1 epochs completed" in found["said"], "as any YOLO, it says what it does"
    assert [file for file in _files(home) if not file.startswith(".cache/autoprune/")] == []


def test_everything_comes_back_after_an_error_and_from_within_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from autoprune.evaluation.traces import no_traces

    monkeypatch.setenv("KEPT", "1")
    logger = logging.getLogger("optuna")
    before = dict(os.environ)
    voice = logger.level, list(logger.handlers), logger.propagate

    @no_traces()
    def careless() -> None:
        with no_traces():
            os.environ["KEPT"] = "2"
        assert os.environ["KEPT"] == "1"
        assert os.environ["YOLO_OFFLINE"] == "1"
        del os.environ["KEPT"]
        os.environ["NEW"] = "1"
        logger.setLevel(logging.DEBUG)
        logger.addHandler(logging.NullHandler())
        logger.propagate = not logger.propagate
        raise KeyError("wrong")

    with pytest.raises(KeyError, match="wrong"):
        careless()
    assert dict(os.environ) == before
    assert (logger.level, list(logger.handlers), logger.propagate) == voice


def test_a_program_of_ones_own_prepares_for_good() -> None:
    """As the command line, and these tests."""
    assert os.environ["YOLO_OFFLINE"] == "1"
