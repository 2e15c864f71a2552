"""LatencyTables: predicted latencies of a profile's plans, looked up instead of worked out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from autoprune.latency.predictor import LatencyPredictor

Array = np.ndarray[Any, Any]

MOST_ROWS = 200_000  # of all tables; a space of finer steps is predicted plan by plan


@dataclass(frozen=True)
class LatencyTables:
    """A latency is a sum over convolutions, each of which few parameters change.

    Convolutions that the same parameters change share a table with one row for each combination
    of these parameters' positions.

    Attributes:
        constant: What no parameter changes.
        values: All tables, one after another, (rows,).
        strides: How far apart the rows of a parameter's positions are, (parameters, tables).
        starts: Where each table begins, (tables,).
        steps: (parameters, positions) of all choices, one after another, each (choices,).
    """

    constant: float
    values: Array
    strides: Array
    starts: Array
    steps: tuple[Array, Array]

    @classmethod
    def of(
        cls,
        predictor: LatencyPredictor,
        least_pruned: Array,
        group_widths: Sequence[Array],
        group_columns: Sequence[Array],
    ) -> LatencyTables | None:
        """Fill the tables; None where they would be too large.

        Args:
            predictor: Of the latencies.
            least_pruned, group_widths, group_columns: As in `Profile`.
        """
        of_group = {int(group): number for number, own in enumerate(group_columns) for group in own}
        alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for place, conv in enumerate(predictor.geometry.convs):
            touching = {
                of_group[group] for group in (*conv.reads, *conv.writes) if group in of_group
            }
            alike[tuple(sorted(touching))].append(place)
        sizes = [len(table) for table in group_widths]
        counts = [int(np.prod([sizes[number] for number in own])) for own in alike]
        if sum(counts) > MOST_ROWS:
            return None
        strides, values = np.zeros((len(sizes), len(alike))), []
        for column, ((own, convs), count) in enumerate(zip(alike.items(), counts, strict=True)):
            every = list(product(*(range(sizes[number]) for number in own)))
            rows = np.array(every, dtype=np.intp).reshape(count, len(own))  # one, of nobody's
            kept = np.repeat(least_pruned[None], count, axis=0)
            for number, positions in zip(own, rows.T, strict=True):
                kept[:, group_columns[number]] = group_widths[number][positions]
            step = 1
            for number in reversed(own):
                strides[number, column] = step
                step *= sizes[number]
            values.append(predictor.by_convolution(kept)[:, convs].sum(axis=1))
        starts = np.cumsum([0, *map(len, values)])[:-1].astype(np.float64)
        return cls(predictor.constant, np.concatenate(values), strides, starts, steps_of(sizes))

    def ratios(self, rows: Array) -> Array:
        """Latency ratios to dense of plans, (plans, parameters) -> (plans,)."""
        places = (rows @ self.strides + self.starts).astype(np.intp)
        found: Array = self.constant + self.values[places].sum(axis=1)
        return found

    def changed(self, rows: Array) -> Array:
        """Latency ratios of all plans that differ in one parameter at most.

        Args:
            rows: Plans, (plans, parameters).

        Returns:
            In the order of `steps`, shape (plans, choices).
        """
        places = rows @ self.strides + self.starts
        now = self.values[places.astype(np.intp)]
        table, stride, position, parameter, begins = self._entries
        moved = places[:, table] + stride * (position - rows[:, parameter])
        differences = self.values[moved.astype(np.intp, copy=False)] - now[:, table]
        found: Array = np.add.reduceat(differences, begins, axis=1)
        found += self.constant + now.sum(axis=1)[:, None]
        return found

    @cached_property
    def _entries(self) -> tuple[Array, Array, Array, Array, Array]:
        """For each choice the tables that its parameter changes, one after another.

        Returns:
            Table, stride, position and parameter of each entry, and where each choice begins.
        """
        touched = [np.flatnonzero(row) for row in self.strides]
        touched = [own if len(own) else np.zeros(1, dtype=np.intp) for own in touched]  # stride 0
        parameters, positions = self.steps
        counts = np.array([len(touched[parameter]) for parameter in parameters])
        table = np.concatenate([touched[parameter] for parameter in parameters])
        parameter, position = np.repeat(parameters, counts), np.repeat(positions, counts)
        begins = np.cumsum([0, *counts[:-1]])
        return table, self.strides[parameter, table], position, parameter, begins


def steps_of(sizes: Sequence[int]) -> tuple[Array, Array]:
    """Parameter and position of every choice, of so many of each parameter."""
    parameters = np.repeat(np.arange(len(sizes)), sizes)
    return parameters, np.concatenate([np.arange(size) for size in sizes])
