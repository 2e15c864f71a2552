"""Recipes for clusters start a worker and nothing else; what they are written in is checked."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from autoprune.cli.main import app

STUDIES = Path(__file__).resolve().parent.parent / "studies"


@pytest.mark.parametrize("name", ["workers.slurm", "workers.sh"])
def test_a_script_is_valid_bash_and_starts_a_worker(name: str) -> None:
    subprocess.run(["bash", "-n", str(STUDIES / name)], check=True)
    text = (STUDIES / name).read_text()
    assert "autoprune worker --study" in text
    assert "AUTOPRUNE_STORAGE:?" in text
    assert "--storage" not in text, "the password would be in a process list"


def test_the_ssh_loop_hands_the_url_over_without_a_command_line(tmp_path: Path) -> None:
    """With programs that only note what they were given in the place of ssh and autoprune."""
    for program, body in {
        "ssh": 'echo "ssh: $*" >> "$NOTES"; shift 3; exec bash -c "$1"',
        "autoprune": 'echo "autoprune: $* with $AUTOPRUNE_STORAGE" >> "$NOTES"',
    }.items():
        (file := tmp_path / program).write_text(f"#!/bin/bash\n{body}\n")
        file.chmod(0o755)
    notes, url = tmp_path / "notes", "postgresql://ada:geheim@host/x"
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "NOTES": str(notes)}
    command = ["bash", str(STUDIES / "workers.sh"), "a study; rm", "one", "two"]
    subprocess.run(command, env=environment | {"AUTOPRUNE_STORAGE": url}, check=True)
    said = sorted(notes.read_text().splitlines())
    assert said[:2] == [f"autoprune: worker --study a study; rm with {url}"] * 2
    assert [line.split()[3] for line in said[2:]] == ["one", "two"]
    assert "geheim" not in "".join(said[2:])


def test_the_job_gives_workers_their_url_as_a_secret() -> None:
    (job,) = yaml.safe_load_all((STUDIES / "workers-job.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    assert job["spec"]["parallelism"] == job["spec"]["completions"]
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["args"][0] == "worker"
    (variable,) = container["env"]
    assert variable["name"] == "AUTOPRUNE_STORAGE"
    assert set(variable["valueFrom"]) == {"secretKeyRef"}
    mounted = {each["name"] for each in container["volumeMounts"]}
    assert mounted == {each["name"] for each in pod["volumes"]}


def test_the_image_names_a_base_for_cpu_and_one_for_cuda() -> None:
    text = (STUDIES / "Dockerfile").read_text()
    assert re.search(r"^ARG BASE=debian", text, re.M)
    assert "--build-arg BASE=nvidia/cuda" in text
    instructions = [line.split()[0] for line in text.splitlines() if re.match("[A-Z]+ ", line)]
    assert instructions[0] == "ARG"
    assert set(instructions) <= {
        "ARG", "FROM", "RUN", "COPY", "USER", "WORKDIR", "ENV", "ENTRYPOINT",
    }  # fmt: skip
    assert not re.search(r"ENV.*STORAGE", text)


def _given(name: str) -> list[str]:
    text = (STUDIES / name).read_text()
    if name.endswith(".yaml"):
        job: dict[str, Any] = yaml.safe_load(text)
        args: list[str] = job["spec"]["template"]["spec"]["containers"][0]["args"]
        return args
    line = next(line for line in text.splitlines() if " autoprune worker" in line)
    line = line.split("autoprune ", 1)[1].rstrip('"').replace("$(printf '%q' \"$study\")", "x")
    return shlex.split(line.rstrip('"'))


@pytest.mark.parametrize("name", ["workers.slurm", "workers.sh", "workers-job.yaml"])
def test_every_option_is_one_that_a_worker_has(name: str) -> None:
    said = CliRunner().invoke(app, ["worker", "--help"], terminal_width=200).output
    options = [each for each in _given(name) if each.startswith("--")]
    assert "--study" in options
    for option in options:
        assert option in said
