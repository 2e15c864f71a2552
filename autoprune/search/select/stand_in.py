"""A stand-in for a plan that fresh processes found too slow: the best scored one with more room."""

from __future__ import annotations

from collections.abc import Sequence

from autoprune.domain.goal import Evidence, Limit
from autoprune.domain.ranking import promising
from autoprune.domain.record import TrialRecord
from autoprune.search.context.budget import Allowance
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.workbench import Informed
from autoprune.search.evaluate.best_so_far import BestSoFar
from autoprune.search.evaluate.candidate import Candidate, measure_candidate, train_candidate
from autoprune.search.select.costs import Costs
from autoprune.storage.locks import Held

LOOKS = 3  # plans measured for one stand-in at the most


def stand_in(
    bench: Informed,
    rivals: Sequence[TrialRecord],
    confirming_s: float,
    allowance: Allowance,
    listener: SearchListener,
) -> TrialRecord | None:
    """Measure and train the best plan with room enough, where it is better than what is left.

    The refuted plans say how much slower fresh processes are than the predictor. The fine-tune is
    cut short to leave time for a confirmation; what it does not improve keeps its weights.

    Args:
        bench: The study; one of its records is refuted.
        rivals: What would be confirmed next.
        confirming_s: What a confirmation takes.
        allowance: Of the stage; a stand-in may take the time of later ones that need not come.
        listener: Hears the stages.

    Returns:
        Its record, "complete" and measured to be within the limit; None where there is none.

    Raises:
        TargetUnreachable, StudyMismatch, ConfigError, StorageFailed: As `measure_candidate`.
    """
    costs, best, held = Costs(bench), BestSoFar(bench), set[str]()
    least_map = max((_kept_map(rival) for rival in rivals), default=0.0)
    for _ in range(LOOKS):
        hopeful = [
            record
            for record in with_room(bench.records(), bench.limit)
            if record.name not in held and (record.untrained_map50_95 or 0.0) > least_map
        ]
        # a confirmation follows, and one process takes no longer than the three of that
        needed_s = 2 * confirming_s + costs.shortest_training_s
        if not hopeful or allowance.budget.now() + needed_s > allowance.latest:
            return None
        record = hopeful[0]
        listener.say(f"{record.name} has more room and stands in.")
        candidate = Candidate.of(record)
        listener.candidate(candidate.name, None, None)
        try:
            with bench.folder.hold(candidate.folder(bench.folder)):
                if record.latency is None:
                    record = measure_candidate(bench, candidate, listener, record)
                    listener.result(record, best.update())
                if record.state == "scored":
                    most_s = costs.most_s(allowance, allowance.latest - confirming_s)
                    record = train_candidate(bench, candidate, listener, record, most_s)
                    listener.result(record, best.update())
        except Held:
            held.add(candidate.name)
            continue
        if record.state == "complete":
            return record
    return None


def with_room(records: Sequence[TrialRecord], limit: Limit) -> list[TrialRecord]:
    """Scored plans that fit even if they turn out as slow as the slowest did, the best first.

    Args:
        records: All of the study.
        limit: Its goal, a latency.
    """
    if limit.latency_ms is None:
        return []
    slower = max((_times_slower(record, limit) for record in records), default=1.0)
    return [
        record
        for record in promising(records, limit)
        if record.state == "scored"
        and limit.judge_predicted((record.predicted_ms or 0.0) * slower)
        and (record.latency is None or limit.judge_latency(record.latency) >= Evidence.INTERVAL)
    ]


def _times_slower(record: TrialRecord, limit: Limit) -> float:
    """The upper bound of a plan that missed the limit, relative to its prediction; at least 1."""
    seen = record.confirmed or record.latency
    if seen is None or record.predicted_ms is None or not seen.steady:
        return 1.0
    missed = limit.judge_latency(seen) < Evidence.INTERVAL
    return max(1.0, seen.high_ms / record.predicted_ms) if missed else 1.0


def _kept_map(record: TrialRecord) -> float:
    return record.kept_score.metrics.map50_95 if record.kept_score else 0.0
