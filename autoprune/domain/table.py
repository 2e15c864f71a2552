"""Table: rows by name, those autoprune ships and those that installed packages add."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, Protocol, TypeVar

from autoprune.errors import ConfigError


class Row(Protocol):
    """What every row says about itself."""

    @property
    def name(self) -> str:
        """What the user writes to choose it."""
        ...

    @property
    def summary(self) -> str:
        """What it is, in one line."""
        ...


RowT = TypeVar("RowT", bound=Row)


class Table(Generic[RowT]):
    """Rows by name.

    An installed package adds a row through the table's entry-point group. The entry point's name
    is the row's name; it points to the row, or to a function without arguments that makes it. Its
    module is imported when that row is looked up, not before.

    Args:
        group: The entry-point group, such as "autoprune.samplers".
        kind: The class of the rows.
        rows: Those autoprune ships; their names differ.

    Example:
        >>> table = Table("autoprune.fruits", Fruit, [Fruit("apple", "Keeps a winter.")])
        >>> table.row("apple", "--fruit").summary
        'Keeps a winter.'
    """

    def __init__(self, group: str, kind: type[RowT], rows: Iterable[RowT]) -> None:
        self.group, self._kind = group, kind
        self._shipped = {row.name: row for row in rows}

    def names(self) -> tuple[str, ...]:
        """All names, the shipped ones first; no package's module is imported."""
        return tuple(dict.fromkeys([*self._shipped, *(each.name for each in self._added())]))

    def __iter__(self) -> Iterator[RowT]:
        """All rows, in the order of `names`.

        Raises:
            ConfigError: As `row`.
        """
        return (self.row(name, self.group) for name in self.names())

    def row(self, name: str, where: str) -> RowT:
        """Look a row up.

        Args:
            name: What the user wrote.
            where: Where it was written, such as "--runtime", for the message.

        Raises:
            ConfigError: No such row; or a package adds it that cannot be loaded, gives something
                else, or uses a name that is taken.
        """
        added = [each for each in self._added() if each.name == name]
        if name not in self._shipped and not added:
            raise ConfigError.of(where, "", name, f"one of {', '.join(self.names())}")
        if len(added) + (name in self._shipped) > 1:
            others = " and ".join(sorted(_package(each) for each in added))
            raise ConfigError(
                f"{self.group}: {name!r} is added by {others}, but a name stands for one row:"
                " uninstall what you do not need"
            )
        return self._shipped[name] if not added else self._loaded(added[0])

    def known(self, name: str) -> RowT | None:
        """The row of that name; None where there is none, as for a package uninstalled since.

        Raises:
            ConfigError: There is one, and it cannot be used.
        """
        return self.row(name, self.group) if name in self.names() else None

    def listed(self) -> str:
        """The names in a sentence: "a", "a or b", "a, b or c"."""
        *first, last = self.names()
        return f"{', '.join(first)} or {last}" if first else last

    def markdown(self) -> str:
        """The shipped rows as a Markdown table of names and summaries."""
        lines = [f"| `{row.name}` | {row.summary} |" for row in self.shipped()]
        return "\n".join(["| name | what it is |", "|---|---|", *lines])

    def shipped(self) -> tuple[RowT, ...]:
        """The rows autoprune ships."""
        return tuple(self._shipped.values())

    def _added(self) -> tuple[EntryPoint, ...]:
        return _entry_points(self.group, tuple(sys.path))

    def _loaded(self, entry: EntryPoint) -> RowT:
        place = f"{self.group}: {entry.name!r} of {_package(entry)}"
        try:
            found: Any = entry.load()
            row = found if isinstance(found, self._kind) or not callable(found) else found()
        except Exception as error:  # a package's own code: whatever it raises
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise ConfigError(f"{place}: cannot be loaded: {reason}") from error
        if not isinstance(row, self._kind):
            raise ConfigError.of(place, "", type(row).__name__, f"a {self._kind.__name__}")
        if row.name != entry.name:
            raise ConfigError.of(place, "name", row.name, f"{entry.name!r}, as the entry point")
        return row


def later(reference: str) -> Callable[..., Any]:
    """A function that is imported when it is called, so that a table is light to import.

    Args:
        reference: "module:function".
    """

    def call(*given: Any, **named: Any) -> Any:
        module, _, function = reference.partition(":")
        return getattr(importlib.import_module(module), function)(*given, **named)

    return call


@lru_cache(maxsize=64)
def _entry_points(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """The group's entry points among the packages on `path`, which is sys.path."""
    return tuple(sorted(entry_points(group=group), key=lambda entry: entry.name))


def _package(entry: EntryPoint) -> str:
    return f"the package {entry.dist.name}" if entry.dist is not None else entry.value
