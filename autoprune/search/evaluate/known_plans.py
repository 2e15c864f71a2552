"""KnownPlans: whether a plan's channels were scored before."""

from __future__ import annotations

from collections.abc import Iterable

from autoprune.domain.plan import PruningPlan
from autoprune.domain.record import TrialRecord
from autoprune.pruning.prune import Pruner


class KnownPlans:
    """Finds records by the channels that their plans keep, which is worked out once for each.

    Args:
        pruner: Of the model.
    """

    def __init__(self, pruner: Pruner) -> None:
        self._pruner = pruner
        self._signatures: dict[str, object] = {}  # by the record's name: its plan never changes

    def earlier(self, plan: PruningPlan, records: Iterable[TrialRecord]) -> TrialRecord | None:
        """The first result of exactly the same channels that is no copy and did not fail."""
        signature = self._pruner.signature(plan)
        for record in records:
            fresh = record.same_as is None and record.state != "failed"
            if fresh and self._signature(record) == signature:
                return record
        return None

    def _signature(self, record: TrialRecord) -> object:
        if record.name not in self._signatures:
            self._signatures[record.name] = self._pruner.signature(record.pruning_plan())
        return self._signatures[record.name]
