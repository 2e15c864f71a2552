"""What `apply` is asked, completed by the study that the plan is from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoprune.domain.config import StudyConfig
from autoprune.domain.goal import Goal
from autoprune.errors import ConfigError
from autoprune.storage.study_folder import StudyFolder

_OF_THE_STUDY = (
    "runtime", "threads", "provider", "channels_last", "precision", "target", "target_python",
    "trust_checkpoint", "allow_broken", "allow_unlabelled",
)  # fmt: skip
_OF_THE_RUNTIME = ("provider", "channels_last", "precision")
_OF_THE_TARGET = ("target_python",)
_NO_GOAL = {"kind": "max_drop", "value": 100}  # stands for none


@dataclass(frozen=True)
class Asked:
    """What the user said; None where the study or the default decides.

    Attributes:
        plan: A per-index YAML: a study's best.yaml, a trial's plan.yaml, or any other.
        output: The folder to make.
        settings: Of StudyConfig: model, data, imgsz, runtime, target ...
        budget_ms: Latency limit.
        max_drop: mAP50-95 points that may be lost.
        fine_tune: Ultralytics' training settings; empty: no training.
    """

    plan: Path
    output: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    budget_ms: float | None = None
    max_drop: float | None = None
    fine_tune: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """What the shipped file has to keep; None where nothing was asked."""

    budget_ms: float | None = None
    speedup: float | None = None
    max_drop: float | None = None

    def latency_ms(self, dense_ms: float) -> float | None:
        """The latency limit, once the dense model is timed."""
        return dense_ms / self.speedup if self.speedup is not None else self.budget_ms


@dataclass(frozen=True)
class Request:
    """What is asked, complete and of the right kinds; no file but the study's was opened.

    Attributes:
        config: Model, data, runtime, target ...; its goal stands for nothing.
        study: The folder of the study that the plan is from, if it is from one.
        weights: Where the weights lie that the study trained for this plan, if it did.
    """

    asked: Asked
    config: StudyConfig
    limits: Limits
    study: Path | None
    weights: Path | None


def completed(asked: Asked) -> Request:
    """Fill in what the user left open.

    Raises:
        ConfigError: A wrong value, no such plan, or no model or data where no study names them.
    """
    if not asked.plan.is_file():
        expected = "a per-index YAML, as best.yaml"
        if asked.plan.name == "best.yaml" and (asked.plan.parent / "study.yaml").is_file():
            expected = "a plan; the study has none within its goal, others are in its trials/"
        raise ConfigError.of("--plan", "", str(asked.plan), expected)
    given = {key: value for key, value in asked.settings.items() if value is not None}
    study, weights = _study_of(asked.plan)
    known = {} if study is None else _settings_of(study)
    if given.get("runtime", known.get("runtime")) != known.get("runtime"):
        known = {key: value for key, value in known.items() if key not in _OF_THE_RUNTIME}
    if given.get("target", known.get("target")) != known.get("target"):
        known = {key: value for key, value in known.items() if key not in _OF_THE_TARGET}
    values = {**known, **given}
    for key in ("model", "data"):
        if key not in values:
            expected = "a file, as no study.yaml lies beside the plan"
            raise ConfigError.of("apply", f"--{key}", None, expected)
    config = StudyConfig.of({**values, "goal": _NO_GOAL}, "arguments")
    return Request(asked, config, _limits(asked, study), study, weights)


def _study_of(plan: Path) -> tuple[Path | None, Path | None]:
    """The study's folder, and the place of the weights that go with the plan."""
    if plan.name == "best.yaml" and (plan.parent / "study.yaml").is_file():
        return plan.parent, plan.with_name("best.pt")
    parents = plan.resolve().parents
    if plan.name == "plan.yaml" and len(parents) > 2 and (parents[2] / "study.yaml").is_file():
        return Path(*plan.parent.parts[:-2]), plan.with_name("model.pt")
    return None, None


def _settings_of(study: Path) -> dict[str, Any]:
    content = StudyFolder(study).load_settings()
    where = str(StudyFolder(study).settings)
    try:
        asked = content["asked"]
        found = {key: asked[key] for key in _OF_THE_STUDY if asked.get(key) is not None}
        found |= {"model": content["model"]["file"], "data": content["data"]["file"]}
        found["imgsz"] = content["imgsz"]
    except (KeyError, TypeError, AttributeError):
        raise ConfigError.of(where, "", "no settings of a search", "a study.yaml") from None
    return found


def _limits(asked: Asked, study: Path | None) -> Limits:
    for name, value in (("--budget-ms", asked.budget_ms), ("--max-drop", asked.max_drop)):
        if value is not None and not 0 < value < 1e9:
            raise ConfigError.of(name, "", value, "a number above 0")
    if asked.budget_ms is not None or asked.max_drop is not None:
        return Limits(budget_ms=asked.budget_ms, max_drop=asked.max_drop)
    if study is None:
        return Limits()
    goal = Goal.model_validate(StudyFolder(study).load_settings()["asked"]["goal"])
    return Limits(**{goal.kind: goal.value})


def check_folder(output: Path) -> None:
    """Refuse a place that cannot become a bundle, before anything is loaded.

    Raises:
        ConfigError: A file, or a folder with other things in it.
    """
    if output.exists() and not output.is_dir():
        raise ConfigError.of("--output", "", str(output), "a folder to make")
    if output.is_dir():
        found = {file.name for file in output.iterdir()}
        if found and not found & {"card.json", ".work"}:
            expected = "a new or empty folder, or one that apply made"
            raise ConfigError.of(f"--output {output}", "", "other files in it", expected)
