"""PlanRows: trials' plans as positions of a profile's choices, each worked out once."""

from __future__ import annotations

from typing import Any

from optuna.trial import FrozenTrial

from autoprune.search.learn.profile import Profile

Row = tuple[int, ...]


class PlanRows:
    """The plans of trials that offer what a profile does.

    Args:
        profile: Parameters and their choices.
    """

    def __init__(self, profile: Profile) -> None:
        self._offered = [
            (name, {width: place for place, width in enumerate(widths)}, len(widths) - 1)
            for name, widths in zip(profile.names, profile.choices, strict=True)
        ]
        self._names = set(profile.names)
        self._known: dict[int, tuple[dict[str, Any], Row | None]] = {}

    def of(self, trial: FrozenTrial) -> Row | None:
        """Positions of a trial's plan, one per parameter; None where its plan is another space's.

        A parameter that it leaves out keeps everything.
        """
        params, known = trial.params, self._known.get(trial.number)
        if known is not None and known[0] is params:  # as it was: a plan that is there stays
            return known[1]
        row = self._row(params)
        self._known[trial.number] = params, row
        return row

    def _row(self, params: dict[str, Any]) -> Row | None:
        if not self._names.issuperset(params):
            return None
        row = tuple(
            places.get(params[name], -1) if name in params else widest
            for name, places, widest in self._offered
        )
        return row if min(row) >= 0 else None
