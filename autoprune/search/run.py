"""The search: its stages in order, each made from what the one before found out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from autoprune.domain import stages
from autoprune.domain.config import StudyConfig
from autoprune.domain.goal import Standing
from autoprune.domain.outcome import Outcome
from autoprune.domain.ranking import best_known
from autoprune.domain.record import TrialRecord
from autoprune.domain.stages import Stage
from autoprune.errors import AutopruneError, StorageFailed
from autoprune.latency.targets import LatencyTarget
from autoprune.search.context.budget import Allowance, Budget
from autoprune.search.context.database_study import DatabaseStudy
from autoprune.search.context.journal import Journal
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.prepare import check
from autoprune.search.context.workbench import Calibrated, Checked, Informed, Measured
from autoprune.search.evaluate.best_so_far import BestSoFar, publish
from autoprune.search.evaluate.cross_check import cross_check
from autoprune.search.evaluate.open_study import database_errors, open_study
from autoprune.search.evaluate.storage import Storage
from autoprune.search.evaluate.trials import TrialLoop
from autoprune.search.evaluate.workers import Workers, workers_for
from autoprune.search.feasibility.reasonable import easy_goal, short_of_time
from autoprune.search.feasibility.report_verdict import say_verdict
from autoprune.search.learn.calibration import calibrated
from autoprune.search.learn.dense import measured
from autoprune.search.learn.predicting import informed
from autoprune.search.propose.names import check_names
from autoprune.search.select.already_met import already_met
from autoprune.search.select.costs import Costs
from autoprune.search.select.finish import (
    better_published,
    confirm_best,
    kept_trials,
    outcome_of,
    score_on_new_images,
)
from autoprune.search.select.float_twin import time_in_float
from autoprune.search.select.lengthen import lengthen
from autoprune.search.select.promote import Promotions, drop_weights
from autoprune.search.select.stopped import ended_early
from autoprune.storage.leftovers import tidy
from autoprune.storage.locks import Held
from autoprune.storage.study_folder import StudyFolder

REPORT_S = 5.0  # kept free at the end
FINISH_COSTS = 2.0  # times what measuring and validating the dense model took: three measurements


@dataclass(frozen=True)
class Searched(Informed):
    """The trials are over.

    Attributes:
        stopped_by: What ended them, in words.
        workers: Where candidates are evaluated.
    """

    stopped_by: str
    workers: Workers


@dataclass(frozen=True)
class Confirmed(Searched):
    """The best plan is measured again and published.

    Attributes:
        best: Its record; None where nothing meets the goal.
        outcome: The search's, as written down.
        compared: The records it was chosen from.
    """

    best: TrialRecord | None
    outcome: Outcome
    compared: tuple[TrialRecord, ...]


@dataclass(frozen=True)
class Step:
    """One stage as the search runs it.

    Attributes:
        stage: Its name, its share of the time and what it leaves.
        needs: What must be known.
        makes: What is known afterwards; an Outcome ends the search.
        run: (what is known, the stage's time, listener) -> what is known afterwards.
        lock: File in the study's folder that one search at a time holds; "" where several may work.
        shown: Whether a report is worth writing afterwards.
    """

    stage: Stage
    needs: type
    makes: type
    run: Callable[[Any, Allowance, SearchListener], Any]
    lock: str = ""
    shown: bool = False


def _dense(bench: Checked, allowance: Allowance, listener: SearchListener) -> Measured | Outcome:
    found = measured(bench, listener)
    allowance.budget.expect(stages.FINISH, FINISH_COSTS * found.dense.seconds)
    if (met := already_met(found, listener)) is not None:
        return met
    for sentence in (easy_goal(found.limit), short_of_time(found, allowance.budget)):
        if sentence is not None:
            listener.say(sentence)
    return found


def _calibration(
    bench: Measured, allowance: Allowance, listener: SearchListener
) -> Calibrated | Outcome:
    return _too_late(bench, allowance) or calibrated(bench, allowance, listener)


def _predictor(
    bench: Calibrated, allowance: Allowance, listener: SearchListener
) -> Informed | Outcome:
    return _too_late(bench, allowance) or informed(bench, allowance, listener)


def _too_late(bench: Measured, allowance: Allowance) -> Outcome | None:
    """The search's outcome where its time is over before the first trial; None where it is not."""
    if allowance.allows(0.0, owed=True):
        return None
    reason = (
        f"--timeout {bench.config.timeout_s:g} is over before the first trial; the same command"
        " with a longer one continues"
    )
    return ended_early(bench, reason)


def _verdict(bench: Informed, allowance: Allowance, listener: SearchListener) -> Informed:
    bench = say_verdict(bench, allowance, listener)
    one_round_s = bench.dense.seconds + Costs(bench).training_s
    allowance.budget.expect(stages.PROMOTION, one_round_s)
    with database_errors(bench):
        # once, under the lock: its proposals, what is taken over, what disagrees
        cross_check(bench, open_study(bench, listener), listener)
    return bench


def _trials(bench: Informed, allowance: Allowance, listener: SearchListener) -> Searched:
    workers = workers_for(bench, listener)
    try:
        with database_errors(bench):
            loop = TrialLoop(bench, open_study(bench, listener), allowance, listener, workers)
            return bench.grown(Searched, stopped_by=loop.run(), workers=workers)
    except BaseException:
        workers.close()
        raise


def _promotion(bench: Searched, allowance: Allowance, listener: SearchListener) -> Searched:
    with closing(bench.workers):
        Promotions(bench, allowance, listener, bench.workers).run()
    return bench


def _finish(bench: Searched, allowance: Allowance, listener: SearchListener) -> Confirmed:
    records = bench.records()
    for record in records:  # whose weights other workers have
        bench.folder.fetch_weights(record)
    best = confirm_best(bench, records, allowance, listener)
    records = bench.records()
    outcome = outcome_of(bench.limit, records, best, bench.stopped_by)
    outcome.save(bench.folder.outcome)
    BestSoFar(bench).update()
    baselines = [record for record in records if record.kind == "baseline"]
    recommended = [record for record in records if record.name == outcome.best]
    score_on_new_images(bench, baselines, allowance, listener, *recommended)
    for record in recommended:
        time_in_float(bench, bench.folder.reread(record), allowance, listener)
    publish(bench, best_known(bench.records(), bench.limit))  # its exported file is there now
    return bench.grown(Confirmed, best=best, outcome=outcome, compared=tuple(records))


def _longer(bench: Confirmed, allowance: Allowance, listener: SearchListener) -> Outcome:
    outcome, best, compared = bench.outcome, bench.best, list(bench.compared)
    if best is not None:
        best = lengthen(bench, bench.folder.reread(best), allowance, listener)
        best = better_published(bench, best)
        BestSoFar(bench).show(Standing(best, bench.limit.judge(best)))
        outcome = outcome.model_copy(update={"best": best.name})
        outcome.save(bench.folder.outcome)
    score_on_new_images(bench, kept_trials(bench, compared), allowance, listener)
    if bench.config.keep == "front":
        drop_weights(bench, compared, [] if best is None else [best])
    return outcome


_PREPARE, _FINISH = ".prepare.lock", ".finish.lock"

STEPS = (
    Step(stages.DENSE, Checked, Measured, _dense, _PREPARE),
    Step(stages.CALIBRATION, Measured, Calibrated, _calibration, _PREPARE),
    Step(stages.PREDICTOR, Calibrated, Informed, _predictor, _PREPARE),
    Step(stages.VERDICT, Informed, Informed, _verdict, _PREPARE),
    Step(stages.TRIALS, Informed, Searched, _trials, shown=True),
    Step(stages.PROMOTION, Searched, Searched, _promotion, shown=True),
    Step(stages.FINISH, Searched, Confirmed, _finish, _FINISH),
    Step(stages.LONGER, Confirmed, Outcome, _longer, _FINISH),
)


@dataclass(frozen=True)
class Prepared:
    """A study ready to run; nothing has been measured yet."""

    checked: Checked
    journal: Journal


def prepare_search(
    config: StudyConfig,
    studies: Path,
    listener: SearchListener,
    target: LatencyTarget | None = None,
    began: float | None = None,
    storage: Storage | None = None,
) -> Prepared:
    """Load and check everything, and open the study's folder.

    Args:
        config: What the user asked.
        studies: Folder that holds one folder per study.
        listener: Hears what happens.
        target: Where latency is measured, instead of what `config.target` names.
        began: When the time limit began to count, by `time.monotonic`; now if left out.
        storage: Where workers share the study; None for its folder alone.

    Raises:
        ConfigError, UnsupportedModel, StudyMismatch, StorageFailed: As `check`.
        TargetUnreachable, TrialFailed: Likewise.
    """
    began = time.monotonic() if began is None else began
    check_names(config)
    listener.begins(stages.CHECK)
    with ExitStack() as opened:
        share = None if storage is None else partial(_opened, storage, opened)
        checked = check(config, studies, listener, target, share)
        opened.pop_all()  # closed by whoever runs the search
    budget = Budget(checked.config.timeout_s, began)
    budget.expect(stages.REPORT, REPORT_S)
    journal = Journal(checked.folder, listener, budget)
    journal.note(stages.CHECK, budget.now() - began)
    return Prepared(checked, journal)


def _opened(storage: Storage, opened: ExitStack, name: str) -> DatabaseStudy:
    return opened.enter_context(closing(storage.study(name)))


def run_search(
    prepared: Prepared, listener: SearchListener, report: Callable[[], object] = lambda: None
) -> Outcome:
    """Run or continue a search until it stops by itself.

    Args:
        prepared: What `prepare_search` returned.
        listener: Hears what happens.
        report: Writes a report of what is known; called now and then.

    Raises:
        KeyboardInterrupt: Passed on; the study can be continued by the same command.
        TargetUnreachable: The device is gone; likewise.
        StorageFailed: The disk is full, or another search holds the study.
        StudyMismatch: The study's space.yaml was changed since it began.
        TooManyFailures: Trials fail one after another.
    """
    known: Any = prepared.checked
    folder, journal = known.folder, prepared.journal
    Outcome(status="running").save(folder.outcome)
    folder.send(folder.outcome)
    if known.data.overlap:
        listener.say(f"Note: {known.data.overlap} of the val images are in train too.")
    if journal.budget.limited:
        listener.deadline(journal.budget.left_s())
    try:
        for lock, steps in groupby(STEPS, key=lambda step: step.lock):
            with _alone(folder, lock, journal.budget, listener):
                folder.fetch()
                for step in steps:
                    with journal.stage(step.stage) as allowance:
                        known = step.run(known, allowance, listener)
                        folder.send()
                    if step.shown:
                        with journal.stage(stages.REPORT), suppress(OSError, AutopruneError):
                            report()  # the last one will say what is wrong
                    if isinstance(known, Outcome):
                        return known
    finally:
        if isinstance(known, Searched):
            known.workers.close()
        tidy(folder, sorted({step.lock for step in STEPS if step.lock}))
    raise AssertionError("the last stage makes the outcome")


@contextmanager
def _alone(
    folder: StudyFolder, name: str, budget: Budget, listener: SearchListener
) -> Iterator[None]:
    """Hold a study-wide lock; says so when another search of this study holds it.

    Raises:
        StorageFailed: It holds it for longer than this search has time.
    """
    if not name:
        yield
        return
    waiting = "Another search works on this study; waiting for its part to finish."
    most_s = budget.left_s() if budget.limited else None
    try:
        with folder.alone(name, partial(listener.say, waiting), most_s):
            yield
    except Held:
        raise StorageFailed(
            f"{folder.root}: another search works on it, and --timeout is over"
        ) from None
