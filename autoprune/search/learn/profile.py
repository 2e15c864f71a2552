"""Profile: what each kept width costs in accuracy and in latency, known before any trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from autoprune.domain.schema import stamped
from autoprune.domain.space import SearchSpace
from autoprune.latency.predictor import LatencyPredictor
from autoprune.pruning.importance import criterion_named
from autoprune.pruning.prune import Pruner
from autoprune.search.learn.latency_tables import LatencyTables, steps_of

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Profile:
    """Sensitivity and latency of every choice of a search space.

    A plan is a row of positions into `choices`, one per parameter, in the order of `names`.

    Attributes:
        names: Parameter names.
        choices: Kept widths on offer per parameter, ascending.
        costs: Per parameter, the estimated loss of accuracy of each choice (0 for all channels,
            falling with the width), in units of the training loss; all parameters add up.
        predictor: Latency ratio of any plan.
        group_widths: Per parameter, kept channels of its groups by choice, (choices, groups).
        group_columns: Per parameter, which columns of the predictor's input those are.
        least_pruned: Kept channels per group of the plan that keeps everything on offer, (groups,).
    """

    names: tuple[str, ...]
    choices: tuple[tuple[int, ...], ...]
    costs: tuple[Array, ...]
    predictor: LatencyPredictor
    group_widths: tuple[Array, ...]
    group_columns: tuple[Array, ...]
    least_pruned: Array

    @classmethod
    def of(cls, pruner: Pruner, space: SearchSpace, predictor: LatencyPredictor) -> Profile:
        """Read the costs off the importance scores and tabulate the widths of every choice."""
        dense = {name: offered[-1] for name, offered in space.choices.items()}
        least_pruned = np.array(pruner.signature(space.plan(dense)))
        cumulative = criterion_named(pruner.importance).cumulative
        removed = [_removal_costs(pruner.scores[group.name], cumulative) for group in pruner.groups]
        names, choices, costs, widths, columns = [], [], [], [], []
        for name, offered in space.choices.items():
            rows = np.array(
                [pruner.signature(space.plan({**dense, name: width})) for width in offered]
            )
            own = np.nonzero((rows != least_pruned).any(axis=0))[0]
            names.append(name)
            choices.append(offered)
            widths.append(rows[:, own])
            columns.append(own)
            costs.append(
                np.array(
                    [
                        sum(
                            removed[group][pruner.groups[group].width - row[group]] for group in own
                        )
                        for row in rows
                    ],
                    dtype=np.float64,
                )
            )
        return cls(
            names=tuple(names),
            choices=tuple(choices),
            costs=tuple(costs),
            predictor=predictor,
            group_widths=tuple(widths),
            group_columns=tuple(columns),
            least_pruned=least_pruned,
        )

    def to_mapping(self) -> dict[str, Any]:
        """Names, kept widths and costs as plain data: the content of profile.json."""
        content = {
            "names": list(self.names),
            "choices": [list(offered) for offered in self.choices],
            "costs": [table.tolist() for table in self.costs],
        }
        return stamped("profile.json", content)

    @property
    def dense(self) -> Array:
        """Positions of the plan that keeps everything on offer."""
        return np.array([len(offered) - 1 for offered in self.choices])

    def kept(self, positions: Sequence[int] | Array) -> dict[str, int]:
        """Parameter name -> kept width."""
        return {
            name: offered[int(position)]
            for name, offered, position in zip(self.names, self.choices, positions, strict=True)
        }

    def positions(self, kept: Mapping[str, int]) -> Array:
        """The inverse of `kept`; parameters left out keep everything."""
        return np.array(
            [
                offered.index(kept[name]) if name in kept else len(offered) - 1
                for name, offered in zip(self.names, self.choices, strict=True)
            ]
        )

    def latency_ratios(self, rows: Array) -> Array:
        """Predicted latency ratios to dense of plans, (plans, parameters) -> (plans,)."""
        if self._tables is not None:
            return self._tables.ratios(rows)
        # groups that no parameter changes (a protected index) keep what they have
        widths = np.repeat(self.least_pruned[None], len(rows), axis=0)
        for parameter, (table, columns) in enumerate(
            zip(self.group_widths, self.group_columns, strict=True)
        ):
            widths[:, columns] = table[rows[:, parameter]]
        return self.predictor.predict(widths)

    @cached_property
    def steps(self) -> tuple[Array, Array]:
        """Parameter and position of every choice, one after another, each (choices,)."""
        return steps_of([len(offered) for offered in self.choices])

    def changed_ratios(self, rows: Array) -> Array:
        """`latency_ratios` of all plans that differ from these in one parameter at most.

        Args:
            rows: Plans, (plans, parameters).

        Returns:
            In the order of `steps`, shape (plans, choices).
        """
        if self._tables is not None:
            return self._tables.changed(rows)
        parameters, positions = self.steps
        changed = np.repeat(rows[:, None], len(parameters), axis=1)
        changed[:, np.arange(len(parameters)), parameters] = positions
        ratios = self.latency_ratios(changed.reshape(-1, rows.shape[1]))
        return ratios.reshape(len(rows), len(parameters))

    @cached_property
    def _tables(self) -> LatencyTables | None:
        predictor: object = self.predictor
        if not isinstance(predictor, LatencyPredictor):
            return None  # a law of its own, as in tests
        return LatencyTables.of(predictor, self.least_pruned, self.group_widths, self.group_columns)

    def cost_rows(self, rows: Array) -> Array:
        """Costs by parameter of plans, (plans, parameters) -> the same shape."""
        return np.stack([table[rows[:, i]] for i, table in enumerate(self.costs)], axis=1)


def _removal_costs(scores: torch.Tensor, cumulative: bool) -> Array:
    """Cost of removing r channels, shape (width,) for r = 0 .. width - 1.

    A cumulative criterion scores a channel by the total cost up to its removal; the others score
    one channel at a time, and the scores add up.
    """
    ascending = np.sort(scores.numpy())
    totals = ascending if cumulative else np.cumsum(ascending)
    return np.concatenate([[0.0], totals[:-1]])
