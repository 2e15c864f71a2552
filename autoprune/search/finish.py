"""The end of a search: confirm the best plan in a fresh process, score the front on new images."""

from __future__ import annotations

import shutil
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from torch import nn

from autoprune.errors import TrialFailed
from autoprune.evaluation.checkpoint import load_yolo
from autoprune.evaluation.quiet import quiet
from autoprune.evaluation.validate import validate
from autoprune.front import pareto_front
from autoprune.outcome import Outcome
from autoprune.record import TrialRecord
from autoprune.search.candidates import nearest_miss, ranked
from autoprune.search.listener import SearchListener
from autoprune.search.workbench import Workbench

MAX_CONFIRMATIONS = 5


def confirm_best(
    bench: Workbench, records: list[TrialRecord], dense: TrialRecord, listener: SearchListener
) -> TrialRecord | None:
    """Re-measure candidates, best first, until one is within the goal beyond doubt.

    Returns:
        The first record whose upper confidence bound, measured in a fresh process now, is within
        the latency budget; None when the best MAX_CONFIRMATIONS all miss. An accuracy goal sets
        no latency limit: its best record is re-measured and returned.
    """
    assert dense.latency is not None
    budget_ms = bench.config.goal.budget_ms(dense.latency.median_ms)
    for record in ranked(records, bench.config.goal, dense)[:MAX_CONFIRMATIONS]:
        listener.candidate(f"confirm {record.name}", None, None)
        listener.stage("latency")
        confirmed = record
        if record.confirmed is None:
            folder = bench.folder.folder_of(record)
            with quiet(folder / "log.txt"):
                try:
                    latency = bench.measure(_weights(bench, record), folder)
                except TrialFailed as failure:
                    listener.say(f"{record.name}: could not be measured again ({failure})")
                    continue
            confirmed = record.model_copy(update={"confirmed": latency})
            bench.folder.save_record(confirmed)
        assert confirmed.confirmed is not None
        if budget_ms is None or confirmed.confirmed.high_ms <= budget_ms:
            return confirmed
        listener.say(
            f"{record.name} is not surely within {budget_ms:.2f} ms (upper bound"
            f" {confirmed.confirmed.high_ms:.2f} ms); trying the next one."
        )
    return None


def score_on_new_images(
    bench: Workbench, records: list[TrialRecord], listener: SearchListener
) -> None:
    """Validate the front and the baselines on images the search never used."""
    wanted = [record for record in records if record.kind == "baseline" and record.rungs]
    wanted += [record for record in pareto_front(records) if record.kind == "trial"]
    for record in wanted:
        folder = bench.folder.folder_of(record)
        if record.final is not None or not (folder / "model.pt").exists():
            continue
        listener.candidate(f"final score of {record.name}", None, None)
        listener.stage("validate")
        with quiet(folder / "log.txt"):
            module = load_yolo(folder / "model.pt").model
            final = validate(
                module, bench.data, bench.data.final_images, bench.train_size, bench.device
            )
        latest = TrialRecord.load(folder / "record.json")
        bench.folder.save_record(latest.model_copy(update={"final": final}))


def publish_best(bench: Workbench, best: TrialRecord | None) -> None:
    """Write best.yaml and best.pt, or remove those of an earlier run when nothing qualifies."""
    if best is None:
        bench.folder.best_plan.unlink(missing_ok=True)
        bench.folder.best_model.unlink(missing_ok=True)
        return
    source = bench.folder.folder_of(best)
    _copy(source / "plan.yaml", bench.folder.best_plan)
    if (source / "model.pt").exists():
        _copy(source / "model.pt", bench.folder.best_model)


def outcome_of(
    bench: Workbench,
    records: list[TrialRecord],
    dense: TrialRecord,
    best: TrialRecord | None,
    stopped_by: str,
    status: Literal["finished", "interrupted"] = "finished",
) -> Outcome:
    """Sum a search up; without a best record, the nearest miss is named."""
    assert dense.latency is not None
    named = best or nearest_miss(records, bench.config.goal, dense)
    return Outcome(
        status=status,
        stopped_by=stopped_by,
        best=named.name if named else None,
        goal_met=best is not None,
        budget_ms=bench.config.goal.budget_ms(dense.latency.median_ms),
        finished=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def _weights(bench: Workbench, record: TrialRecord) -> nn.Module:
    """The record's own fine-tuned weights, or the plan applied afresh: latency is the same."""
    path = bench.folder.folder_of(record) / "model.pt"
    if path.exists():
        module: nn.Module = load_yolo(path).model
        return module
    return bench.pruner.prune(record.pruning_plan(), record.name)


def _copy(source: Path, target: Path) -> None:
    draft = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, draft)
    draft.replace(target)
