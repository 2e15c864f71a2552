"""The end of a search: confirm the best plan in fresh processes, score the front on new images."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from torch import nn

from autoprune.domain.front import pareto_front
from autoprune.domain.goal import Evidence, Limit
from autoprune.domain.outcome import Outcome
from autoprune.domain.ranking import best_known, nearest_miss, ranked
from autoprune.domain.record import DetectionMetrics, LatencyResult, TrialRecord
from autoprune.evaluation.checkpoint import load_yolo
from autoprune.evaluation.quiet import quiet
from autoprune.evaluation.validate import validate
from autoprune.latency.processes import Processes
from autoprune.search.context.budget import Allowance
from autoprune.search.context.failures import candidate_failure
from autoprune.search.context.int8 import score_file, score_quantized
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.workbench import ONE, Calibrated, Checked, Informed, Measured
from autoprune.search.select.stand_in import stand_in

MAX_DOUBTFUL = 5
CONFIRMING_PROCESSES = 3  # a ratio differs more between processes than an interval of one says
MORE_PROCESSES = 3  # where those leave it open: all of them together say it more narrowly
CONFIRMING_S = 2.0, 6.0  # in each of them, at least and at most


def confirm_best(
    bench: Informed, records: list[TrialRecord], allowance: Allowance, listener: SearchListener
) -> TrialRecord | None:
    """Re-measure candidates, best first, until one is within the goal beyond doubt.

    For one that is refuted, a scored plan with more room is measured and trained if that promises
    more than the next candidate.
    After MAX_DOUBTFUL misses, those of earlier runs included, only candidates are tried whose first
    measurement left no doubt. One is measured however late it is, further ones as long as they end
    before the report: a plan that is confirmed is worth more than anything that comes later.

    Returns:
        The first record whose upper bound, measured in CONFIRMING_PROCESSES fresh processes (in
        one where time is short), or in MORE_PROCESSES more where the median alone is within, is
        within the latency limit; None when there is none. An accuracy goal sets no latency limit:
        its best record is re-measured and returned.
    """
    limit = bench.limit
    misses = sum(_missed(record, limit) for record in records)
    measured = left_out = 0
    longest_s = 0.0
    candidates = ranked(records, limit)
    with_weights = [each for each in candidates if _weights_of(bench, each).exists()]
    waiting = with_weights or candidates
    while waiting:
        record, *waiting = waiting
        if limit.judge(record) < limit.sure and misses >= MAX_DOUBTFUL:
            continue
        latency = record.confirmed
        if latency is None or not latency.steady:
            left_s = allowance.latest - allowance.budget.now()
            if measured and left_s < longest_s:
                left_out += 1
                continue
            measured, began = measured + 1, allowance.budget.now()
            # the dense model's measurement and validation take longer than one process does
            enough = left_s > (CONFIRMING_PROCESSES - 1) * bench.dense.seconds
            processes = _confirming(limit, allowance, began) if enough else ONE
            latency = _measured_again(bench, record, listener, processes)
            longest_s = max(longest_s, allowance.budget.now() - began)
        if latency is None:
            continue
        confirmed = record.model_copy(update={"confirmed": latency})
        bench.folder.save_record(confirmed)
        if limit.judge_latency(latency) >= Evidence.INTERVAL:
            return confirmed
        misses += 1
        listener.say(
            f"{record.name} is not surely within {limit.latency_ms:.2f} ms (upper bound"
            f" {latency.high_ms:.2f} ms); trying the next one."
        )
        if misses < MAX_DOUBTFUL:
            instead = stand_in(bench, waiting, longest_s, allowance, listener)
            waiting = waiting if instead is None else [instead, *waiting]
    if left_out:
        listener.say(f"No time left to measure {left_out} more again; continue to get them.")
    return None


def _confirming(limit: Limit, allowance: Allowance, began: float) -> Processes:
    """Some processes; more where the limit lies within the interval of those, and time is left."""

    def undecided(found: LatencyResult) -> bool:
        now = allowance.budget.now()
        in_time = now + (now - began) < allowance.latest  # as many take as long again
        return in_time and limit.judge_latency(found) is Evidence.MEASURED

    return Processes(CONFIRMING_PROCESSES, MORE_PROCESSES, undecided)


def _missed(record: TrialRecord, limit: Limit) -> bool:
    """Whether fresh processes found a record too slow, and were steady."""
    again = record.confirmed
    return again is not None and again.steady and limit.refuted(record)


def better_published(bench: Measured, best: TrialRecord) -> TrialRecord:
    """The confirmed record whose weights are the best on val; `best` unless another is better.

    The search compares after the short fine-tune; what an earlier run trained longer and published
    may still be the better model. For an accuracy goal `best`, the fastest, stays.
    """
    if bench.limit.latency_ms is None:
        return best
    rivals = [
        record
        for record in bench.records()
        if bench.limit.judge(record) >= Evidence.CONFIRMED
        and record.kept_score is not None
        and record.same_as is None
        and _weights_of(bench, record).exists()
    ]
    return max([best, *rivals], key=_kept_map)


def kept_trials(bench: Checked, records: list[TrialRecord]) -> list[TrialRecord]:
    """The trials whose weights are kept: of the front, or all of them if that was asked for."""
    kept = records if bench.config.keep == "all" else pareto_front(records)
    return [record for record in kept if record.kind == "trial"]


def score_on_new_images(
    bench: Measured,
    records: list[TrialRecord],
    allowance: Allowance,
    listener: SearchListener,
    *recommended: TrialRecord,
) -> None:
    """Score what is recommended, then others, on images the search never used.

    Their exported files are left beside them. The recommended ones are scored however late it is,
    the others as far as the time goes.

    Args:
        bench: The study.
        records: The others, in this order.
        allowance: Of the stage.
        listener: Hears the stages.
        recommended: What is scored in any case.
    """
    longest_s = sum(each.seconds for each in bench.dense.rungs)  # what its validation took
    left_out = 0
    for record in {each.name: each for each in (*recommended, *records)}.values():
        folder = bench.folder.folder_of(record)
        latest = bench.folder.reread(record)
        if latest.final is not None or not (folder / "model.pt").exists():
            continue
        if record not in recommended and not allowance.allows(longest_s):
            left_out += 1
            continue
        began = time.monotonic()
        listener.candidate(f"final score of {record.name}", None, None)
        listener.stage("validate")
        try:
            with quiet(folder / "log.txt"):
                module = _trained(bench, folder)
                final = _on_new_images(bench, module, folder)
        except Exception as error:
            failure = candidate_failure(error, folder)
            listener.say(f"{record.name}: no final score ({failure.reason}: {failure.detail})")
            continue
        bench.folder.save_record(latest.model_copy(update={"final": final}))
        longest_s = max(longest_s, time.monotonic() - began)
    if left_out:
        listener.say(f"No time left for the final score of {left_out} more; continue to get them.")


def _on_new_images(bench: Measured, module: nn.Module, folder: Path) -> DetectionMetrics:
    """The final score; the exported file is left in the folder, in INT8 the very file scored."""
    images = bench.data.final_images
    if not bench.quantizes:
        final = validate(module, bench.data, images, bench.train_size, bench.device)
        bench.keep_export(module, folder)
        return final
    file = bench.kept_file(folder)
    score = score_file if file.exists() else score_quantized
    return score(bench, module, file, images)


def outcome_of(
    limit: Limit, records: list[TrialRecord], best: TrialRecord | None, stopped_by: str
) -> Outcome:
    """Sum a search up; without a best record, the best so far or the nearest miss is named.

    The best so far meets a latency limit if all of its measured interval does, fine-tuned or not.
    """
    known = None if best else best_known(records, limit)
    named = best or (known.record if known else nearest_miss(records, limit))
    met = best is not None or (known is not None and known.evidence >= Evidence.INTERVAL)
    return Outcome(
        status="finished",
        stopped_by=stopped_by,
        best=named.name if named else None,
        goal_met=met,
        budget_ms=limit.latency_ms,
        finished=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def _weights_of(bench: Checked, record: TrialRecord) -> Path:
    return bench.folder.folder_of(record) / "model.pt"


def _kept_map(record: TrialRecord) -> float:
    return record.kept_score.metrics.map50_95 if record.kept_score else 0.0


def _measured_again(
    bench: Calibrated, record: TrialRecord, listener: SearchListener, processes: Processes
) -> LatencyResult | None:
    """Time a record's model longer, in fresh processes; None when that fails."""
    listener.candidate(f"confirm {record.name}", None, None)
    listener.stage("latency")
    folder = bench.folder.folder_of(record)
    with quiet(folder / "log.txt"):
        if (folder / "model.pt").exists():
            module = _trained(bench, folder)
        else:  # weights dropped: the plan applied afresh takes the same time
            module = bench.pruner.prune(record.pruning_plan(), record.name)
        least_s, most_s = CONFIRMING_S
        timing = replace(bench.timing, dense_s=least_s, cap_s=most_s).for_dense()
        try:
            timed = replace(bench, timing=timing)
            file = bench.kept_file(folder)
            if bench.quantizes and file.exists():  # the one whose mAP counts
                return timed.measure_file(file, processes)
            return timed.measure(module, folder, processes)
        except Exception as error:
            failure = candidate_failure(error, folder)
            listener.say(
                f"{record.name}: could not be measured again ({failure.reason}: {failure.detail})"
            )
            return None


def _trained(bench: Checked, folder: Path) -> nn.Module:
    trust = bench.config.trust_checkpoint
    module: nn.Module = load_yolo(folder / "model.pt", trust=trust).model
    return module
