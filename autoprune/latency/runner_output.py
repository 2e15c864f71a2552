"""Checks what a runner sent back: bytes from a device are never trusted."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from autoprune.domain.validation import first_problem
from autoprune.errors import ConfigError, TrialFailed
from autoprune.latency.runner import RUNNER_VERSION

MAX_OUTPUT_BYTES = 8 << 20  # 7 models, 400 blocks of 50 runs take 2.3 MB

Milliseconds = Annotated[float, Field(gt=0, lt=1e7)]
Blocks = Annotated[tuple[tuple[Milliseconds, ...], ...], Field(min_length=1)]
Text = Annotated[str, Field(min_length=1, max_length=200)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class ModelTimes(_Part):
    """Times of one model, blocks x runs; `cpu_ms` is None where processor time does not count."""

    wall_ms: Blocks
    cpu_ms: Blocks | None

    @model_validator(mode="after")
    def _same_shape(self) -> ModelTimes:
        lengths = {len(block) for block in self.wall_ms}
        if len(lengths) != 1 or lengths == {0}:
            raise ValueError("equally many runs in every block, at least one")
        if self.cpu_ms is not None and [*map(len, self.cpu_ms)] != [*map(len, self.wall_ms)]:
            raise ValueError("cpu_ms of the same shape as wall_ms")
        return self


class OutputCheck(_Part):
    """How far a model's output is from the expected one; `problem` if they cannot be compared."""

    max_abs_diff: float | None
    max_rel_diff: float | None
    spread_diff: float | None = None  # for INT8 files
    problem: str | None


class MachineState(_Part):
    """Load, degrees Celsius and MHz, where the device tells."""

    load_1min: float | None
    temperature_c: float | None
    frequency_mhz: float | None


class RunnerOutput(_Part):
    """A whole answer of the runner; the fields are described there."""

    runner_version: Annotated[int, Field(ge=RUNNER_VERSION, le=RUNNER_VERSION)]
    runtime: Text
    runtime_version: Text
    provider: Text
    providers: tuple[Text, ...]
    layout: Literal["contiguous", "channels_last"]
    precision: Text = "fp32"
    threads: int
    imgsz: tuple[int, int]
    batch: int
    cpu: Text
    isa: Text
    int8: str = Field(default="", max_length=40)  # instructions that add up products of 8 bits
    system: Text
    python: Text
    models: tuple[ModelTimes, ...]
    stopped: Literal["tight", "max_blocks", "cap", "untimed"]
    checks: tuple[OutputCheck, ...]
    before: MachineState
    after: MachineState
    free_bytes: int | None = None  # of the disk that models are sent to
    cores: int | None = None  # that the runtime may use

    @model_validator(mode="after")
    def _same_blocks(self) -> RunnerOutput:
        if len({len(model.wall_ms) for model in self.models}) > 1:
            raise ValueError("equally many blocks for every model")
        return self


def parse_ended(raw: bytes, returncode: int, complaint: str) -> dict[str, Any]:
    """Read what a runner left behind when it ended.

    Args:
        raw: Its whole stdout.
        returncode: Its exit status, minus the signal's number if it was killed.
        complaint: The end of its stderr.

    Raises:
        ConfigError, TrialFailed: As `parse_output`; "oom" for a process that the system killed.
    """
    if not raw.strip() and returncode == -9:
        raise TrialFailed("oom", "the measuring process was killed, as when memory is out")
    lines = printable_lines(complaint)
    ending = f"exit status {returncode}"
    return parse_output(raw, f"{ending}: {lines[-1]}" if lines else ending)


def printable_lines(text: str) -> list[str]:
    """The lines that say something, at most 300 characters each, fit for a terminal."""
    shown = ("".join(c if c.isprintable() else " " for c in line) for line in text.splitlines())
    return [" ".join(line.split())[:300] for line in shown if line.strip()]


def parse_output(raw: bytes, ended: str) -> dict[str, Any]:
    """Read the JSON object a runner printed.

    Args:
        raw: Its whole stdout.
        ended: How the process ended, in words, for messages about a missing answer.

    Raises:
        ConfigError: The runner lacks the runtime or the provider that was asked for.
        TrialFailed: "oom", or "latency" for a model that does not run and for broken output.
    """
    if len(raw) > MAX_OUTPUT_BYTES:
        raise TrialFailed("latency", f"the runner printed more than {MAX_OUTPUT_BYTES} bytes")
    if not raw.strip():
        raise TrialFailed("latency", f"the runner gave no answer ({ended})")
    try:
        content = json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise TrialFailed("latency", f"the runner's answer is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise TrialFailed("latency", "the runner's answer is not a JSON object")
    if "error" in content:
        raise_error(content["error"])
    return content


def checked_output(content: dict[str, Any], models: int, checks: int) -> RunnerOutput:
    """Validate an answer against what was asked for.

    Args:
        content: What a target returned.
        models: How many models must have been timed.
        checks: How many outputs must have been checked.

    Raises:
        TrialFailed: "latency": a field is missing, of the wrong shape, not positive or not finite.
    """
    try:
        output = RunnerOutput.model_validate(content)
    except ValidationError as error:
        problem = first_problem(error, RunnerOutput)
        shown = "nothing" if problem.kind == "missing" else repr(problem.got)[:60]
        what = f"{problem.key or 'the whole'}: got {shown}, expected {problem.expected}"
        raise TrialFailed("latency", f"the runner's answer is broken: {what}") from None
    if len(output.models) != models or len(output.checks) != checks:
        detail = (
            f"the runner answered for {len(output.models)} models and {len(output.checks)} checks,"
            f" expected {models} and {checks}"
        )
        raise TrialFailed("latency", detail)
    return output


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a time")


def raise_error(error: Any) -> NoReturn:
    """Raise what the runner's {"kind", "message"} stands for.

    Raises:
        ConfigError: The runtime or the provider is not there, or not the precision.
        TrialFailed: "oom", or "latency" for anything else.
    """
    known = isinstance(error, dict)
    kind = error.get("kind") if known else None
    message = " ".join(printable_lines(str(error.get("message") if known else error)))[:500]
    if kind in ("provider", "precision"):
        raise ConfigError(f"--{kind}: {message}")
    if kind == "runtime":
        raise ConfigError(message)
    raise TrialFailed("oom" if kind == "memory" else "latency", message)
