"""SearchSpace: which kept widths each layer index may take, from a declarative YAML."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from autoprune.domain.plan import PruningPlan, Ratio, as_entry, ratio_for
from autoprune.domain.schema import unstamped
from autoprune.domain.validation import config_error
from autoprune.errors import ConfigError
from autoprune.storage.yaml_io import load_yaml

Suggest = Callable[[str, tuple[int, ...]], int]
"""(parameter name, kept widths in ascending order) -> one of those widths."""

BRANCHES = ("box", "cls", "task")
"""Of a head: boxes, classes, and masks, keypoints or angle."""


class LayerChoices(BaseModel):
    """What one index may lose: whole steps of `step` channels, at most `max_ratio` of them.

    `kept` lists the widths instead. `max_ratio: 0` protects the index.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int = Field(default=16, ge=1, le=1024)
    max_ratio: float = Field(default=0.75, ge=0, lt=1)
    kept: tuple[int, ...] | None = None

    @model_validator(mode="after")
    def _kept_positive(self) -> LayerChoices:
        if self.kept is not None and (not self.kept or min(self.kept) < 1):
            raise ValueError("kept to list widths of at least 1")
        return self

    def widths(self, width: int) -> tuple[int, ...]:
        """The kept widths offered for an axis of `width` channels, ascending; `width` is one."""
        if self.kept is not None:
            return tuple(sorted({min(kept, width) for kept in self.kept}))
        least = max(1, width - int(width * self.max_ratio))
        multiples = (kept for kept in range(self.step, width, self.step) if kept >= least)
        return (*multiples, width)


class _SpaceFile(BaseModel):
    """The YAML as written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    round_to: int = Field(default=8, ge=1, le=1024)
    default: LayerChoices = LayerChoices()
    layers: dict[
        int,
        LayerChoices
        | tuple[LayerChoices, LayerChoices]
        | tuple[LayerChoices, LayerChoices, LayerChoices],
    ] = Field(default_factory=dict)


@dataclass(frozen=True)
class SearchSpace:
    """Kept widths to choose from, for one model.

    Attributes:
        widths: Layer index -> dense reference widths ((), (n,) or Detect's pair).
        choices: Parameter name -> kept widths, ascending. One parameter per width.
        round_to: Written into every plan: widths inside a block are rounded up to it.
    """

    widths: Mapping[int, tuple[int, ...]]
    choices: Mapping[str, tuple[int, ...]]
    round_to: int

    @classmethod
    def load(
        cls,
        path: Path | str,
        widths: Mapping[int, tuple[int, ...]],
        protect: tuple[int, ...] = (),
    ) -> SearchSpace:
        """Read a space YAML and bind it to a model's widths.

        Args:
            path: The space YAML.
            widths: Layer index -> reference widths, as a family gives them.
            protect: Indices that keep all their channels, whatever the file says.

        Raises:
            ConfigError: Wrong key or value, an index the model lacks, or nothing left to choose.
        """
        content = unstamped("space.yaml", load_yaml(path), str(path))
        try:
            file = _SpaceFile.model_validate(content)
        except ValidationError as error:
            raise config_error(error, str(path), _SpaceFile) from None
        for index in [*file.layers, *protect]:
            if index not in widths:
                where = f"layers.{index}" if index in file.layers else "--protect"
                expected = f"a layer index of this model (0 to {max(widths)})"
                raise ConfigError.of(str(path), where, index, expected)
        choices: dict[str, tuple[int, ...]] = {}
        for index, reference in widths.items():
            entry = file.layers.get(index, file.default)
            if isinstance(entry, tuple) and len(reference) != len(entry):
                got = "a pair" if len(entry) == 2 else f"{len(entry)} mappings"
                expected = "one mapping (only Detect takes a pair)"
                if len(reference) > 1:
                    expected = f"one mapping, or {len(reference)}, one for each branch"
                raise ConfigError.of(str(path), f"layers.{index}", got, expected)
            per_width = entry if isinstance(entry, tuple) else (entry,) * len(reference)
            for name, width, choice in zip(
                parameter_names(index, reference), reference, per_width, strict=True
            ):
                choices[name] = (width,) if index in protect else choice.widths(width)
                rounded = [
                    kept for kept in choice.kept or () if kept % file.round_to and kept < width
                ]
                if rounded:
                    got = f"kept {rounded[0]}"
                    expected = f"multiples of round_to ({file.round_to}), or round_to: 1"
                    raise ConfigError.of(str(path), f"layers.{index}", got, expected)
        if all(len(offered) == 1 for offered in choices.values()):
            raise ConfigError.of(str(path), "", "no index with a choice", "at least one")
        return cls(dict(widths), choices, file.round_to)

    def draw(self, suggest: Suggest) -> PruningPlan:
        """Draw a plan: every open parameter is asked for once, in order of the indices."""
        kept = {
            name: offered[0] if len(offered) == 1 else suggest(name, offered)
            for name, offered in self.choices.items()
        }
        return self.plan(kept)

    def plan(self, kept: Mapping[str, int]) -> PruningPlan:
        """The plan that keeps exactly these widths (parameter name -> kept width)."""
        ratios: dict[int, Ratio] = {}
        for index, reference in self.widths.items():
            names = parameter_names(index, reference)
            values = tuple(
                ratio_for(width, kept[name]) for name, width in zip(names, reference, strict=True)
            )
            ratios[index] = as_entry(values)
        return PruningPlan(ratios, round_to=self.round_to)


def parameter_names(index: int, reference: tuple[int, ...]) -> tuple[str, ...]:
    """Optuna's parameter names for one index: `keep_4`, or `keep_22_box`, `keep_22_cls`."""
    if len(reference) > 1:
        return tuple(f"keep_{index}_{branch}" for branch in BRANCHES[: len(reference)])
    return (f"keep_{index}",) * len(reference)
