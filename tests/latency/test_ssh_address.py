import pytest

from autoprune.domain.config import StudyConfig
from autoprune.domain.goal import Goal
from autoprune.errors import ConfigError
from autoprune.latency.local_target import LocalTarget
from autoprune.latency.ssh_address import SshAddress
from autoprune.latency.ssh_target import SshTarget
from autoprune.latency.targets import target_from
from autoprune.search.context.prepare import default_name


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("ssh://pi", ["--", "pi"]),
        ("ssh://pi@raspberrypi.local", ["-l", "pi", "--", "raspberrypi.local"]),
        ("ssh://pi@10.0.0.7:2222", ["-p", "2222", "-l", "pi", "--", "10.0.0.7"]),
        ("ssh://a_b@[fe80::1]:22", ["-p", "22", "-l", "a_b", "--", "fe80::1"]),
    ],
)
def test_an_address_becomes_arguments_of_ssh(text, arguments):
    address = SshAddress.parse(text)
    assert address.arguments() == arguments
    assert SshAddress.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "ssh://",
        "ssh://-oProxyCommand=touch x",
        "ssh://-oProxyCommand=x",
        "ssh://-l@host",
        "ssh://user@-host",
        "ssh://user@host;reboot",
        "ssh://user@$(reboot)",
        "ssh://user@`reboot`",
        "ssh://user@host reboot",
        "ssh://user@host\n",
        "ssh://user@host\nHost *",
        "ssh://user@ho\0st",
        "ssh://user@hést",
        "ssh://user@%h",
        "ssh://user:secret@host",
        "ssh://a@b@host",
        "ssh://user@host:",
        "ssh://user@host:0",
        "ssh://user@host:65536",
        "ssh://user@host:-1",
        "ssh://user@host:\N{FULLWIDTH DIGIT TWO}",
        "ssh://user@host/path",
        "ssh://user@host?x",
        "ssh://user@[::g]",
        "ssh://user@[1.2.3.4]",
        "ssh://user@" + "h" * 300,
        "SSH://user@host",
        "user@host",
        "adb://host",
        "local://host",
        "remote",
        "",
    ],
)
def test_odd_targets_are_refused_in_one_line(text):
    with pytest.raises(ConfigError) as caught:
        target_from(text)
    message = str(caught.value)
    assert message.startswith("--target: got ")
    assert "expected" in message
    assert message.isprintable()


@pytest.mark.parametrize("python", ["", "-c", "--version", "~", "~root/python", "a\nb", "\0"])
def test_odd_interpreters_are_refused_in_one_line(python):
    with pytest.raises(ConfigError, match="--target-python: got"):
        target_from("ssh://host", python)


def test_the_home_folder_may_be_written_as_a_tilde():
    assert SshTarget("ssh://host", "~/venv/bin/python").python == "venv/bin/python"


def test_local_is_this_machine_with_its_own_python():
    assert isinstance(target_from("local"), LocalTarget)
    with pytest.raises(ConfigError, match="--target-python: got '/usr/bin/python3'"):
        target_from("local", "/usr/bin/python3")


def test_another_ssh_client_can_be_named(monkeypatch):
    monkeypatch.setenv("AUTOPRUNE_SSH", "ssh -F 'my config'")
    made = target_from("ssh://host")
    assert isinstance(made, SshTarget)
    assert made.ssh_command == ("ssh", "-F", "my config")
    monkeypatch.setenv("AUTOPRUNE_SSH", "ssh 'unfinished")
    with pytest.raises(ConfigError, match="AUTOPRUNE_SSH"):
        target_from("ssh://host")


@pytest.mark.parametrize(
    ("target", "ending"),
    [
        ("local", "-1t"),
        ("ssh://pi@raspberrypi.local:2222", "-1t-on-pi-raspberrypi.local-2222"),
        ("ssh://pi@[fe80::1]", "-1t-on-pi-fe80-1-"),
    ],
)
def test_a_study_is_named_after_its_device_too(target, ending):
    config = StudyConfig(goal=Goal(kind="budget_ms", value=5), target=target)
    name = default_name(config)
    assert name.endswith(ending)
    StudyConfig.model_validate({"goal": config.goal, "name": name})
