"""What pydantic refuses, as one line that names file, key, what was got and what is expected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic import BaseModel, ValidationError

from autoprune.errors import ConfigError

_MAPPING, _LIST = "a mapping of keys to values", "a list"

# kind of error -> what is expected, filled in from the error's context
_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "path_type": "a path",
    "literal_error": "{expected}",
    "greater_than": "a value above {gt:.15g}",
    "greater_than_equal": "a value of at least {ge:.15g}",
    "less_than": "a value below {lt:.15g}",
    "less_than_equal": "a value of at most {le:.15g}",
    "string_too_short": "text of {min_length} or more characters",
    "string_too_long": "text of at most {max_length} characters",
    "too_short": "at least {min_length} items",
    "too_long": "at most {max_length} items",
    "dict_type": _MAPPING,
    "mapping_type": _MAPPING,
    "model_type": _MAPPING,
    "list_type": _LIST,
    "tuple_type": _LIST,
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: A value is wrong, a key is missing, or a key is unknown.
        key: Its dotted path; empty for the whole.
        got: The value that is wrong, or stands under the unknown key.
        expected: What would be right, as words that follow "expected".
    """

    kind: Literal["wrong", "missing", "unknown"]
    key: str
    got: Any
    expected: str


def first_problem(error: ValidationError, model: type[BaseModel]) -> Problem:
    """The first thing that is wrong.

    Args:
        error: What validation raised.
        model: What was to be made; its keys are named where one is unknown.
    """
    found = _most_telling(error.errors(include_url=False))
    place, got = found["loc"], found["input"]
    if found["type"] == "extra_forbidden":
        known = f"one of {', '.join(_model_at(model, place[:-1]).model_fields)}"
        return Problem("unknown", _dotted((*_without_tags(place[:-1]), place[-1])), got, known)
    key = _dotted(_without_tags(place))
    if found["type"] == "missing":
        return Problem("missing", key, None, "a value")
    if found["type"] in _EXPECTED:
        expected = _EXPECTED[found["type"]].format(**found.get("ctx", {}))
    else:
        expected = found["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return Problem("wrong", key, got, expected)


def config_error(error: ValidationError, where: str, model: type[BaseModel]) -> ConfigError:
    """One line about the first thing that is wrong, such as `where: key: got X, expected Y`.

    Args:
        error: What validation raised.
        where: The file, or whatever else was read.
        model: What was to be made of it.
    """
    problem = first_problem(error, model)
    if problem.kind == "missing":
        return ConfigError(f"{where}: {problem.key}: missing")
    if problem.kind == "unknown":
        return ConfigError(f"{where}: {problem.key}: unknown key, expected {problem.expected}")
    if not problem.key:  # a rule about several keys says what it wants as a sentence
        return ConfigError(f"{where}: {problem.expected}")
    return ConfigError.of(where, problem.key, problem.got, problem.expected)


def _most_telling(errors: list[Any]) -> Any:
    """The first error; of several ways to read its value, the way that got furthest."""
    place = errors[0]["loc"]
    start = next((at for at, part in enumerate(place) if _is_tag(part)), len(place))
    alike = [each for each in errors if each["loc"][:start] == place[:start]]
    return max(alike, key=lambda each: len(each["loc"]))


def _is_tag(part: int | str) -> bool:
    """Whether a part of an error's place is pydantic's name of a type and no key."""
    return isinstance(part, str) and (part[:1].isupper() or "[" in part)


def _without_tags(place: tuple[int | str, ...]) -> tuple[int | str, ...]:
    return tuple(part for part in place if not _is_tag(part))


def _dotted(place: tuple[int | str, ...]) -> str:
    shown = (str(part) for part in place)
    return ".".join(text if text.isprintable() else repr(text) for text in shown)


def _model_at(model: type[BaseModel], place: tuple[int | str, ...]) -> type[BaseModel]:
    """The model whose keys stand at a place; indices and keys of plain mappings lead nowhere."""
    for part in place:
        field = model.model_fields.get(str(part))
        model = (_model_in(field.annotation) if field else None) or model
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The first model that an annotation names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)
