"""StudyConfig: everything the user asked for, validated once, frozen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from autoprune.domain.goal import Goal
from autoprune.domain.validation import config_error

GoalKind = Literal["budget_ms", "speedup", "max_drop"]
ALLOW_BROKEN = 5.0  # percent of a split's images that may be broken and left out
ALLOW_UNLABELLED = 90.0  # percent of train's or val's images that may have no labels
USUAL_WORKERS = 4  # processes of one search, at most, where the user names no number
MOST_WORKERS = 64  # where he does
DEFAULT_TARGET_PYTHON = "python3"
PROVIDER_EXPECTED = "1 to 100 printable characters, such as CUDAExecutionProvider or cuda:0"


def is_provider_name(text: str) -> bool:
    """Whether a text can name an ONNX Runtime execution provider or a torch device."""
    return 1 <= len(text) <= 100 and text.isprintable() and not text.isspace()


@dataclass(frozen=True)
class Tolerated:
    """Up to what percent of a split's images may be odd until the work stops.

    Attributes:
        broken: Images that are broken and left out.
        unlabelled: Images of train or val without labels; never all of them.
    """

    broken: float = ALLOW_BROKEN
    unlabelled: float = ALLOW_UNLABELLED


BY_DEFAULT = Tolerated()


class StudyConfig(BaseModel):
    """One search, fully described. `model=None` and `data=None` mean the bundled demo.

    Names of rows (runtime, sampler, importance, target) are text here: the tables they stand in
    are the searching packages' own, and `search.propose.names` checks them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    goal: Goal
    model: Path | None = None
    data: Path | None = None
    imgsz: tuple[int, int] | None = None  # height, width; None: the size the model was trained at
    name: str | None = None
    trials: int | None = Field(default=None, ge=0)
    timeout_s: float | None = Field(default=None, gt=0)
    space: Path | None = None  # None: widths on the target's steps
    runtime: str = "onnxruntime"
    threads: int = Field(default=1, ge=1, le=1024)
    provider: str | None = None  # what the runtime runs on, as it calls it; None: the CPU
    channels_last: bool = False  # memory layout, where the runtime lets it be chosen
    precision: str | None = None  # what the runtime computes in; None: its row's first
    target: str = Field(default="local", min_length=1, max_length=500)
    target_python: str = Field(default=DEFAULT_TARGET_PYTHON, min_length=1, max_length=500)
    sampler: str = "profile"
    seed: int = Field(default=0, ge=0, lt=2**31)
    nms: bool | None = None  # False: an end-to-end head's own branch; None: as the model says
    protect: tuple[int, ...] = ()
    classes: tuple[int | str, ...] | None = Field(default=None, min_length=1)  # None: all
    importance: str = "obs"
    compensate: bool = True
    fine_tune: dict[str, Any] = Field(default_factory=dict)
    keep: Literal["front", "all"] = "front"
    workers_local: int | None = Field(default=None, ge=1, le=MOST_WORKERS)  # None: by idle cores
    devices: tuple[int, ...] = Field(default=(), max_length=MOST_WORKERS)  # GPUs, a worker each
    reuse: bool = True  # trials of earlier studies that differ in the goal alone
    trust_checkpoint: bool = False
    allow_broken: float = Field(default=ALLOW_BROKEN, ge=0, le=100)
    allow_unlabelled: float = Field(default=ALLOW_UNLABELLED, ge=0, le=100)

    @property
    def tolerated(self) -> Tolerated:
        """How odd the images may be."""
        return Tolerated(self.allow_broken, self.allow_unlabelled)

    @field_validator("imgsz", mode="before")
    @classmethod
    def _square_or_pair(cls, value: Any) -> Any:
        """Accept 160, [160] and [160, 320]."""
        if isinstance(value, int) and not isinstance(value, bool):
            return (value, value)
        if isinstance(value, (list, tuple)) and len(value) == 1:
            return (value[0], value[0])
        return value

    @field_validator("imgsz")
    @classmethod
    def _multiple_of_32(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value is not None and any(side < 32 or side % 32 or side > 8192 for side in value):
            raise ValueError("each side to be a multiple of 32, from 32 to 8192")
        return value

    @field_validator("name")
    @classmethod
    def _plain_folder_name(cls, value: str | None) -> str | None:
        if value is not None and (
            not value
            or len(value) > 100
            or value.strip(".") == ""
            or not value.isprintable()
            or set(value) & set('/\\:*?"<>|')
        ):
            raise ValueError('a name for a folder: not empty, without / \\ : * ? " < > |')
        return value

    @field_validator("devices")
    @classmethod
    def _each_once(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) < len(value) or any(number < 0 for number in value):
            raise ValueError("numbers of GPUs from 0, each once")
        return value

    @field_validator("provider")
    @classmethod
    def _provider_name(cls, value: str | None) -> str | None:
        if value is not None and not is_provider_name(value):
            raise ValueError(PROVIDER_EXPECTED)
        return value

    @model_validator(mode="after")
    def _own_model_needs_own_data(self) -> StudyConfig:
        if (self.model is None) != (self.data is None):
            missing = "data" if self.data is None else "model"
            raise ValueError(
                f"give both --model and --data (missing --{missing}), or neither for the demo"
            )
        return self

    @classmethod
    def of(cls, values: dict[str, Any], where: str) -> StudyConfig:
        """Validate plain data; `where` names its origin in the error message.

        Raises:
            ConfigError: The first wrong key, what was got and what was expected.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise config_error(error, where, cls) from None
