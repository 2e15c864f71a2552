"""Every way to be wrong reads as one sentence that says what would be right."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from autoprune.domain.config import StudyConfig
from autoprune.domain.space import SearchSpace
from autoprune.domain.validation import config_error, first_problem
from autoprune.errors import ConfigError

GOAL = {"kind": "budget_ms", "value": 5}


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    ratio: float = Field(default=0.5, gt=0, lt=1)
    count: int = Field(default=1, ge=1, le=2**40)
    flag: bool = False
    mode: Literal["fast", "slow"] = "fast"


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=3)
    inner: Inner = Inner()
    rows: tuple[Inner, ...] = ()
    pair: tuple[int, int] = (0, 0)
    table: dict[int, Inner | tuple[Inner, Inner]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _rule(self) -> Outer:
        if self.name == "no":
            raise ValueError("a rule about the whole")
        return self


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"name": 3}, "name: got 3, expected text"),
        ({"name": ""}, "name: got '', expected text of 1 or more characters"),
        ({"name": "long"}, "name: got 'long', expected text of at most 3 characters"),
        ({"name": "no"}, "a rule about the whole"),
        ({"inner": 3}, "inner: got 3, expected a mapping of keys to values"),
        ({"inner": {"ratio": 0}}, "inner.ratio: got 0, expected a value above 0"),
        ({"inner": {"ratio": 1.0}}, "inner.ratio: got 1.0, expected a value below 1"),
        ({"inner": {"ratio": "x"}}, "inner.ratio: got 'x', expected a number"),
        ({"inner": {"ratio": float("nan")}}, "inner.ratio: got nan, expected a finite number"),
        ({"inner": {"count": "x"}}, "inner.count: got 'x', expected a whole number"),
        ({"inner": {"count": 1.5}}, "inner.count: got 1.5, expected a whole number"),
        ({"inner": {"count": 0}}, "inner.count: got 0, expected a value of at least 1"),
        (
            {"inner": {"count": 2**41}},
            "inner.count: got 2199023255552, expected a value of at most 1099511627776",
        ),
        ({"inner": {"flag": "maybe"}}, "inner.flag: got 'maybe', expected true or false"),
        ({"inner": {"mode": "x"}}, "inner.mode: got 'x', expected 'fast' or 'slow'"),
        ({"inner": {"x": 1}}, "inner.x: unknown key, expected one of ratio, count, flag, mode"),
        ({"rows": 3}, "rows: got 3, expected a list"),
        (
            {"rows": [{}, {"x": 1}]},
            "rows.1.x: unknown key, expected one of ratio, count, flag, mode",
        ),
        ({"pair": [1]}, "pair.1: missing"),
        ({"pair": [1, 2, 3]}, "pair: got [1, 2, 3], expected at most 2 items"),
        ({"Pair": 3}, "Pair: unknown key, expected one of name, inner, rows, pair, table"),
        ({"a\nb": 3}, "'a\\nb': unknown key, expected one of name, inner, rows, pair, table"),
        ({"table": {"x": {}}}, "table.x: got 'x', expected a whole number"),
        (
            {"table": {2: {"x": 1}}},
            "table.2.x: unknown key, expected one of ratio, count, flag, mode",
        ),
        (
            {"table": {2: [{}, {"count": 0}]}},
            "table.2.1.count: got 0, expected a value of at least 1",
        ),
    ],
)
def test_what_is_wrong_reads_as_one_line(change: dict[str, Any], line: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"name": "ok", **change})
    assert str(config_error(caught.value, "x.yaml", Outer)) == f"x.yaml: {line}"


def test_a_missing_key_is_called_missing() -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"inner": {}})
    assert str(config_error(caught.value, "x.yaml", Outer)) == "x.yaml: name: missing"
    assert first_problem(caught.value, Outer).got is None


def test_the_first_wrong_key_is_named_though_a_later_one_lies_deeper() -> None:
    wrong = {"name": 3, "table": {2: {"count": 0}}}
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(wrong)
    assert first_problem(caught.value, Outer).key == "name"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"keep": "some"},
            "keep: got 'some', expected 'front' or 'all'",
        ),
        ({"seed": 2**31}, "seed: got 2147483648, expected a value below 2147483648"),
        ({"goal": {"kind": "budget_ms"}}, "goal.value: missing"),
        (
            {"imgsz": 100},
            "imgsz: got 100, expected each side to be a multiple of 32, from 32 to 8192",
        ),
        (
            {"name": "a/b"},
            "name: got 'a/b', expected a name for a folder: not empty, without / \\ : * ? \" < > |",
        ),
    ],
)
def test_a_wrong_wish_reads_as_one_line(change: dict[str, object], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        StudyConfig.of({"goal": GOAL, **change}, "command line")
    assert str(caught.value) == f"command line: {line}"


def test_a_wrong_space_reads_as_one_line(tmp_path: Any) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("layers: {4: [{step: 8}, {kept: [0]}]}")
    with pytest.raises(ConfigError) as caught:
        SearchSpace.load(path, {4: (64, 80)})
    expected = "got {'kept': [0]}, expected kept to list widths of at least 1"
    assert str(caught.value) == f"{path}: layers.4.1: {expected}"
