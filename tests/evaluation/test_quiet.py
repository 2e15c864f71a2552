from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_SEARCH = """
import os, socket, sys
from pathlib import Path
def forbidden(*arguments, **more):
    raise SystemExit(f"a socket was used: {arguments}")
socket.getaddrinfo = socket.socket.connect = socket.create_connection = forbidden
from autoprune.evaluation.quiet import prepare_environment, quiet
prepare_environment()
folder = Path(os.environ["YOLO_CONFIG_DIR"])
prepare_environment()
assert os.environ["YOLO_CONFIG_DIR"] == str(folder)
assert "ultralytics" not in sys.modules
from autoprune.evaluation.dataset import inspect_data
from autoprune.evaluation.fine_tune import fine_tune, settings_from
from autoprune.evaluation.validate import validate
from autoprune.evaluation.checkpoint import load_yolo
here = Path(sys.argv[2])
with quiet(here / "trial" / "log.txt"):
    data = inspect_data(sys.argv[1])
    model = load_yolo(sys.argv[3]).model
    tuned = fine_tune(model, data.training_yaml(here / "derived"), 64,
                      settings_from({"epochs": 1, "device": "cpu"}), here / "trial")
    validate(tuned.module, data, data.selection_images, 64)
    print("a stray print")
from ultralytics import SETTINGS
from ultralytics.utils import AUTOINSTALL, LOGGER, ONLINE, USER_CONFIG_DIR
assert not ONLINE and not AUTOINSTALL
assert folder in USER_CONFIG_DIR.parents
assert not SETTINGS["sync"] and not SETTINGS["mlflow"]
assert [type(handler).__name__ for handler in LOGGER.handlers] == ["StreamHandler"]
print(f"config:{folder}")
"""


def test_a_trial_prints_nothing_opens_no_socket_and_leaves_the_home_folder_alone(
    dense: object, data_yaml: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    dense.save(tmp_path / "dense.pt")
    environment = {key: value for key, value in os.environ.items() if "YOLO" not in key}
    environment |= {"HOME": str(home), "MPLCONFIGDIR": str(tmp_path / "matplotlib")}
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-c", _SEARCH, str(data_yaml), str(tmp_path), str(tmp_path / "dense.pt")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["config"]
    assert not Path(lines[0].partition(":")[2]).exists(), "the temporary settings stayed behind"
    assert list(home.rglob("*ltralytics*")) == []
    assert not list(tmp_path.glob("runs*"))
    log = (tmp_path / "trial" / "log.txt").read_text()
    assert "a stray print" in log
    assert "1 epochs completed" in log
    assert "mAP50-95" in log or "all" in log


def test_a_child_process_gets_settings_of_its_own(tmp_path: Path) -> None:
    code = (
        "from autoprune.evaluation.quiet import prepare_environment; import os;"
        "prepare_environment(); print(os.environ['YOLO_CONFIG_DIR'])"
    )
    chosen = str(tmp_path / "mine")
    for given in (os.environ["YOLO_CONFIG_DIR"], chosen):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "YOLO_CONFIG_DIR": given},
            capture_output=True,
            text=True,
            check=True,
        )
        assert (done.stdout.strip() == given) == (given == chosen)


def test_settings_that_ultralytics_read_before_us_stay_as_they_are(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from ultralytics import SETTINGS
before = Path(SETTINGS.file).read_text()
from autoprune.evaluation.quiet import prepare_environment, quiet
prepare_environment()
with quiet(Path(sys.argv[1]) / "log.txt"):
    pass
assert Path(SETTINGS.file).is_relative_to(sys.argv[1]), SETTINGS.file
assert Path(SETTINGS.file).read_text() == before
"""
    environment = {key: value for key, value in os.environ.items() if "YOLO" not in key}
    environment |= {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
