"""StudySettings: the part of study.yaml that the report shows; what is missing stays None."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from autoprune.domain.goal import Goal
from autoprune.domain.validation import config_error
from autoprune.storage.study_folder import StudyFolder


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Asked(_Part):
    """What the user asked for (a StudyConfig as plain data)."""

    goal: Goal | None = None
    imgsz: tuple[int, int] | None = None
    trials: int | None = None
    timeout_s: float | None = None
    sampler: str | None = None
    seed: int | None = None
    importance: str | None = None
    compensate: bool | None = None
    target: str | None = None


class ModelFacts(_Part):
    """The dense model. `classes` is a list of names, an index -> name mapping, or their count."""

    file: str | None = None
    hash: str | None = None
    family: str | None = None
    branch: str | None = None  # of an end-to-end head, the one that is deployed
    classes: list[Any] | dict[Any, Any] | int | None = None

    @property
    def class_names(self) -> list[str]:
        """The names, when they are known."""
        names = self.classes
        if isinstance(names, dict):
            names = list(names.values())
        return [str(name) for name in names] if isinstance(names, list) else []


class DataFacts(_Part):
    """The images. `overlap`: val images also found in train, as a count, a list or a sentence."""

    file: str | None = None
    train_images: int | None = None
    val_images: int | None = None
    final_images: int | None = None
    final_split: str | None = None
    overlap: Any = None
    notes: list[str] = Field(default_factory=list)


class StudySettings(_Part):
    """study.yaml as the report reads it."""

    asked: Asked = Field(default_factory=Asked)
    demo: bool = False
    model: ModelFacts = Field(default_factory=ModelFacts)
    data: DataFacts = Field(default_factory=DataFacts)
    fine_tune: dict[str, Any] = Field(default_factory=dict)
    importance: str | None = None  # in effect, where `asked` has what was asked for
    compensate: bool | None = None
    space: dict[str, Any] = Field(default_factory=dict)
    train_size: Any = None
    device: str | None = None
    budget_ms: float | None = None
    versions: dict[str, Any] = Field(default_factory=dict)
    machine: dict[str, Any] = Field(default_factory=dict)
    started: str | None = None

    @field_validator("started", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        """YAML reads an unquoted ISO time as a datetime."""
        return value.isoformat() if isinstance(value, datetime) else value


def load_settings(folder: StudyFolder) -> StudySettings:
    """Read study.yaml.

    Raises:
        ConfigError: There is none, or a value has the wrong type.
    """
    given = {key: value for key, value in folder.load_settings().items() if value is not None}
    try:
        return StudySettings.model_validate(given)
    except ValidationError as error:
        raise config_error(error, str(folder.settings), StudySettings) from None
