"""Against a real sshd on the loopback interface; the device is this machine."""

from __future__ import annotations

import hashlib
import itertools
import os
import sys
import threading
from pathlib import Path

import filelock
import pytest
import torch

from autoprune.errors import ConfigError, TargetUnreachable, TrialFailed
from autoprune.latency import runner, ssh_target
from autoprune.latency.export import export_model
from autoprune.latency.exported_model import ExportedModel
from autoprune.latency.measure import RuntimeOptions, TimingSettings, compare
from autoprune.latency.ssh_session import SshSession
from autoprune.latency.ssh_target import SshTarget
from tests.latency.processes import is_gone, wait_for_file
from tests.latency.sshd import make_key, running_sshd
from tests.latency.tiny_models import write_onnx

SLEEPER = """
import os, pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path({mark!r}).write_text(f"{{os.getpid()}} {{child.pid}}\\n")
time.sleep(600)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running_sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture
def sshd(server):
    """The server, running and with its own keys again whatever the test before did."""
    yield server
    server.trust(server.folder / "host_key.pub")
    server.start()


@pytest.fixture
def sessions(monkeypatch):
    """One entry per connection: the names of the files sent over it."""
    made = []

    class Counted(SshSession):
        def __init__(self, *given):
            super().__init__(*given)
            made.append([])

        def send_file(self, name, path):
            made[-1].append(path.name)
            super().send_file(name, path)

    monkeypatch.setattr(ssh_target, "SshSession", Counted)
    return made


@pytest.fixture
def target(sshd, tmp_path):
    """Makes targets whose runner is the given program."""

    def make(program="print('{}')", **settings):
        path = tmp_path / "runner.py"
        path.write_text(program)
        return sshd.target(**{"runner_path": path, "python": sys.executable} | settings)

    return make


def wrapper(tmp_path, lines):
    """A program that stands in for the interpreter on the device."""
    folder = tmp_path / "it's a folder; $(false)"
    folder.mkdir()
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)
    return str(path)


def test_a_measurement_describes_the_device_it_was_made_on(sshd, tmp_path):
    # A runner that knows another processor stands for another machine.
    source = Path(runner.__file__).read_text()
    program = tmp_path / "runner.py"
    program.write_text(source.replace('"cpu": name or', '"cpu": "Cortex-A72" or'))
    models = [ExportedModel.of_file(write_onnx(tmp_path / f"{n}.onnx", n)) for n in (1, 6)]
    quick = TimingSettings(
        warmup_s=0.02, block_s=0.003, max_blocks=40, min_s=0.1, cap_s=3.0, dense_s=0.2
    )
    target = sshd.target(runner_path=program, python=sys.executable)
    light, heavy = compare(target, models, RuntimeOptions("onnxruntime", (32, 32)), quick)
    assert heavy.ratio_low > 1
    assert light.fingerprint.cpu == "Cortex-A72"
    assert light.fingerprint == heavy.fingerprint


def test_openvino_runs_there_in_the_precisions_that_the_device_has(sshd, tmp_path):
    openvino = pytest.importorskip("openvino", reason="runtime openvino needs openvino")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.SiLU(), torch.nn.Conv2d(8, 4, 1))
    exported = export_model(net, tmp_path / "a.onnx", (32, 48), "openvino")
    quick = TimingSettings(min_blocks=8, max_blocks=20, min_s=0.05, cap_s=2.0, dense_s=0.1)
    target = sshd.target(python=sys.executable)
    can = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    for precision in ("fp32", "bf16", "fp16"):
        options = RuntimeOptions("openvino", (32, 48), precision=precision)
        if precision.upper() in can:
            (found,) = compare(target, [exported], options, quick)  # it compares the outputs
            mark = found.fingerprint
            assert (mark.runtime, mark.provider, mark.precision) == ("openvino", "CPU", precision)
        else:
            with pytest.raises(ConfigError, match=f"--precision: asked for {precision}, but CPU"):
                compare(target, [exported], options, quick)
    assert [name for name in sshd.sent() if name.endswith(".py")], "the loader travels too"


def test_files_are_sent_once_and_named_by_content(target, sessions, sshd, tmp_path):
    model, copy = tmp_path / "a.onnx", tmp_path / "b.onnx"
    for path in (model, copy):
        path.write_bytes(b"model " * 50_000)
    echo = "import json, sys; print(json.dumps({'job': json.load(sys.stdin)}))"
    job = {"dense": str(model), "candidates": [str(copy)], "note": f"not {model}"}
    answer = target(echo).run(job, [model, copy], 20.0)
    target(echo).run(job, [model, copy], 20.0)
    assert [len(sent) for sent in sessions] == [2, 0]  # one model and the runner; nothing
    name = hashlib.sha256(model.read_bytes()).hexdigest() + ".onnx"
    there = sshd.cache / "autoprune" / "device" / name
    sent = {"dense": str(there), "candidates": [str(there)], "note": f"not {model}"}
    assert answer["job"] == sent
    assert there.read_bytes() == model.read_bytes()


def test_a_file_damaged_on_the_device_is_sent_again(target, sessions, sshd, tmp_path):
    model = tmp_path / "damaged.onnx"
    model.write_bytes(b"whole")
    there = sshd.cache / "autoprune" / "device" / f"{hashlib.sha256(b'whole').hexdigest()}.onnx"
    target().run({}, [model], 20.0)
    there.write_bytes(b"who")
    target().run({}, [model], 20.0)
    assert sessions[1] == ["damaged.onnx"]
    assert there.read_bytes() == b"whole"


def test_the_cache_stays_within_its_bound_and_keeps_what_was_used_last(target, sshd, tmp_path):
    models = []
    for number in range(4):
        models.append(tmp_path / f"{number}.onnx")
        models[-1].write_bytes(os.urandom(100_000))
    small = target(cache_bytes=250_000)
    (sshd.cache / "autoprune" / "device").mkdir(parents=True, exist_ok=True)
    torn = sshd.cache / "autoprune" / "device" / f"{'0' * 64}.onnx.part"
    torn.write_bytes(b"torn off")
    for number in (0, 1, 0, 2):  # the room is for two models: 1 has not been used for longest
        small.run({}, [models[number]], 20.0)
    kept = sshd.sent()
    digests = [hashlib.sha256(model.read_bytes()).hexdigest() + ".onnx" for model in models]
    assert [digest in kept for digest in digests] == [True, False, True, False]
    assert torn.name not in kept
    small.run({}, models, 20.0)  # what one measurement needs is kept even above the bound
    assert set(digests) <= set(sshd.sent())


def test_a_changed_host_key_is_refused_at_once(target, sessions, sshd, tmp_path):
    sshd.trust(make_key(tmp_path / "another_key"))
    with pytest.raises(TargetUnreachable, match=r"has changed.*ssh-keygen -R") as caught:
        target().run({}, [], 20.0)
    assert f"[127.0.0.1]:{sshd.port}" in str(caught.value)
    assert "Host key verification failed" in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(sessions) == 1


def test_an_unknown_host_key_is_refused_at_once(target, sessions, sshd):
    (sshd.folder / "known_hosts").write_text("")
    with pytest.raises(TargetUnreachable, match=r"not known here.*ssh -p \d+ \w+@127\.0\.0\.1"):
        target().run({}, [], 20.0)
    assert len(sessions) == 1
    assert (sshd.folder / "known_hosts").read_text() == ""


def test_a_refused_login_is_said_at_once(target, sessions, sshd):
    keys = sshd.folder / "authorized_keys"
    allowed = keys.read_text()
    keys.write_text("")
    try:
        with pytest.raises(TargetUnreachable, match=r"Permission denied.*ssh-copy-id"):
            target().run({}, [], 20.0)
    finally:
        keys.write_text(allowed)
    assert len(sessions) == 1


def test_a_device_that_is_off_is_tried_three_times(target, sessions, sshd):
    sshd.kill()
    with pytest.raises(TargetUnreachable, match=r"tried 3 times.*[Cc]onnection refused"):
        target().run({}, [], 20.0)
    assert len(sessions) == 3


def test_a_lost_connection_leaves_nothing_running_and_a_later_one_works(target, sshd, tmp_path):
    mark = tmp_path / "pids"
    failures = []

    def measure():
        try:
            target(SLEEPER.format(mark=str(mark)), tries=2).run({}, [], 60.0)
        except TargetUnreachable as error:
            failures.append(error)

    thread = threading.Thread(target=measure)
    thread.start()
    pids = [int(pid) for pid in wait_for_file(mark).split()]
    sshd.kill()
    thread.join(30.0)
    assert len(failures) == 1
    assert all(is_gone(pid) for pid in pids)
    sshd.start()
    assert target(lock_wait_s=5.0).run({}, [], 20.0) == {}  # its lock is free, too


def test_a_measurement_cut_short_is_made_anew(target, sessions, sshd, tmp_path):
    mark = tmp_path / "pids"
    once = f"import os, sys\nif os.path.exists({str(mark)!r}): sys.exit(print('{{}}'))\n"
    answers = []
    measuring = target(once + SLEEPER.format(mark=str(mark)), backoff_s=1.0)
    thread = threading.Thread(target=lambda: answers.append(measuring.run({}, [], 60.0)))
    thread.start()
    wait_for_file(mark)
    sshd.kill()
    sshd.start()
    thread.join(30.0)
    assert answers == [{}]
    assert len(sessions) == 2


def test_at_the_limit_the_runner_and_its_children_are_killed(target, tmp_path):
    mark = tmp_path / "pids"
    with pytest.raises(TrialFailed, match="longer than 1 s") as caught:
        target(SLEEPER.format(mark=str(mark))).run({}, [], 1.0)
    assert caught.value.reason == "timeout"
    assert all(is_gone(int(pid)) for pid in mark.read_text().split())


def test_measurements_on_one_device_run_one_at_a_time(target):
    program = """
import json, time
began = time.time()
time.sleep(0.3)
print(json.dumps({"began": began, "ended": time.time()}))
"""
    spans = []
    workers = [target(program) for _ in range(3)]
    threads = [
        threading.Thread(target=lambda each=each: spans.append(each.run({}, [], 20.0)))
        for each in workers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spans.sort(key=lambda span: span["began"])
    assert len(spans) == 3
    assert all(first["ended"] <= second["began"] for first, second in itertools.pairwise(spans))


def test_a_local_measurement_on_the_device_is_waited_for_too(target, sshd):
    (sshd.cache / "autoprune").mkdir(parents=True, exist_ok=True)
    held = filelock.FileLock(sshd.cache / "autoprune" / "latency.lock")
    with held, pytest.raises(TargetUnreachable, match="another measurement"):
        target(lock_wait_s=0.3).run({}, [], 20.0)


@pytest.mark.parametrize(
    ("program", "reason", "words"),
    [
        ("import itertools\nfor _ in itertools.count(): print('x' * 9999)", "latency", "more than"),
        ("print('{]')", "latency", "not JSON"),
        ("raise SystemExit('my \\033[31mexcuse' + 'e' * 10_000_000)", "latency", "no answer"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "oom", "memory"),
    ],
)
def test_hostile_output_fails_the_trial(target, program, reason, words):
    with pytest.raises(TrialFailed, match=words) as caught:
        target(program).run({}, [], 20.0)
    assert caught.value.reason == reason
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("echo '{]'", "broken"),
        ("echo '[]'", "broken"),
        ("echo '{\"missing\": 1}'", "broken"),
        ('echo \'{"error": {"kind": "surprise"}}\'', "broken"),
        ('echo \'{"missing": ["../../etc/passwd"], "folder": "/"}\'', "not its own"),
        (
            'echo \'{"error": {"kind": "modules", "message": "python3: numpy; touch x"}}\'',
            "broken",
        ),
        ("tr '\\0' x < /dev/zero", "endless line"),
        ("exit 3", "ended early: ssh ended with status 3"),
    ],
)
def test_a_device_that_does_not_keep_to_the_protocol_fails_the_trial(answer, words):
    script = f"cat > /dev/null & echo; echo autoprune-device 1; {answer}"
    impostor = SshTarget("ssh://host", ssh_command=("sh", "-c", script))
    with pytest.raises(TrialFailed, match=words):
        impostor.run({}, [], 20.0)


def test_what_login_scripts_print_is_skipped(target, tmp_path):
    noisy = f"echo 'Welcome!'; printf 'no line end'; exec {sys.executable} \"$@\""
    assert target(python=wrapper(tmp_path, noisy)).run({}, [], 20.0) == {}


def test_a_missing_runtime_is_named_with_the_command_that_installs_it(target, tmp_path):
    bare = wrapper(tmp_path, f'exec {sys.executable} -S "$@"')
    with pytest.raises(ConfigError, match="-m pip install numpy onnxruntime"):
        target(python=bare).run({"packages": ["onnxruntime"]}, [], 20.0)


def test_what_is_no_python_there_is_named(target):
    with pytest.raises(ConfigError, match=r"got 'no-such-python'.*not found"):
        target(python="no-such-python").run({}, [], 20.0)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'Python 3.8 is older than 3.9' >&2; exit 1", "older than 3.9"),
        ("exit 0", "status 0"),
    ],
)
def test_what_is_no_fit_python_there_is_named(script, words):
    with pytest.raises(ConfigError, match=rf"--target-python: got 'python3'.*{words}"):
        SshTarget("ssh://host", ssh_command=("sh", "-c", script)).run({}, [], 20.0)


def test_without_an_ssh_client_the_message_says_so():
    with pytest.raises(ConfigError, match=r"no-such-ssh.*install OpenSSH"):
        SshTarget("ssh://host", ssh_command=("no-such-ssh",)).run({}, [], 20.0)


def test_thread_settings_of_the_device_do_not_reach_the_runner(target):
    program = "import json, os; print(json.dumps({'seen': dict(os.environ)}))"
    seen = target(program).run({}, [], 20.0)["seen"]
    assert "XDG_CACHE_HOME" in seen  # set by the server, like OMP_NUM_THREADS
    assert not any(name.startswith("OMP_") for name in seen)


def test_a_cache_that_cannot_be_written_is_said(target, sshd):
    sshd.cache.rename(sshd.cache.with_name("away"))
    sshd.cache.write_text("in the way")
    try:
        with pytest.raises(TargetUnreachable, match="files cannot be kept there"):
            target().run({}, [], 20.0)
    finally:
        sshd.cache.unlink()
        sshd.cache.with_name("away").rename(sshd.cache)


def test_a_missing_model_file_is_named(target, tmp_path):
    with pytest.raises(TrialFailed, match=r"absent\.onnx does not exist"):
        target().run({}, [tmp_path / "absent.onnx"], 20.0)


def test_interrupting_the_search_ends_the_measurement_on_the_device(target, tmp_path, monkeypatch):
    mark = tmp_path / "pids"
    receive = SshSession.receive

    def interrupted(self, seconds):
        if seconds > 100:  # for the lock
            return receive(self, seconds)
        wait_for_file(mark)
        raise KeyboardInterrupt

    monkeypatch.setattr(SshSession, "receive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        target(SLEEPER.format(mark=str(mark)), lock_wait_s=100.0).run({}, [], 20.0)
    assert all(is_gone(int(pid)) for pid in mark.read_text().split())
