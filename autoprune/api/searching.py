"""search and probe: which plan meets a limit, and whether pruning can get there at all."""

from __future__ import annotations

import os
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from autoprune.api.reporting import write_report
from autoprune.domain.config import DEFAULT_TARGET_PYTHON, StudyConfig
from autoprune.domain.outcome import Outcome
from autoprune.domain.stages import REPORT
from autoprune.errors import ConfigError, StorageFailed
from autoprune.evaluation.traces import no_traces
from autoprune.storage.study_folder import StudyFolder

if TYPE_CHECKING:
    from autoprune.latency.targets import LatencyTarget
    from autoprune.search.context.listener import SearchListener
    from autoprune.search.feasibility.probe import ProbeResult


@dataclass(frozen=True)
class SearchResult:
    """A finished search.

    Attributes:
        folder: The study's files: `folder.best_plan`, `folder.trial_records()` ...
        outcome: How it ended.
        report: Path of report.html.
    """

    folder: StudyFolder
    outcome: Outcome
    report: Path


@no_traces()
def search(
    config: StudyConfig,
    *,
    studies: Path | str = "studies",
    storage: str | None = None,
    artifacts: str | None = None,
    listener: SearchListener | None = None,
    target: LatencyTarget | None = None,
) -> SearchResult:
    """Search for plans that meet `config.goal` at the least loss of mAP.

    Calling it again with the same configuration continues an interrupted study.

    Args:
        config: What is asked; `StudyConfig(goal=Goal(kind="budget_ms", value=5))` runs the demo.
        studies: Folder in which the study gets a folder of its own.
        storage: URL of a PostgreSQL database, in which workers in other folders and on other
            machines share the study; by default its folder is all there is.
        artifacts: With `storage`, where trained weights go for all workers: a folder, or
            "s3://bucket/prefix"; by default they stay with the worker that trained them.
        listener: Hears progress; silent by default.
        target: Where latency is measured, instead of what `config.target` names.

    Returns:
        The study's folder, its outcome and the report.

    Raises:
        ConfigError: Wrong input, before any work.
        UnsupportedModel: The model cannot be pruned.
        StudyMismatch: The study exists with other settings or widths.
        TargetUnreachable: The device does not answer; repeat the call to continue.
        StorageFailed: The disk is full, or the database cannot be reached; likewise.
        TooManyFailures: Several candidates failed one after another.
        TrialFailed: The target cannot run even a network of one layer.
        KeyboardInterrupt: After the report of what is finished has been written.
    """
    began = time.monotonic()  # importing torch counts too
    from autoprune.search.propose.names import check_names

    check_names(config)
    from autoprune.search.evaluate.storage import Storage

    place = Storage.asked(storage, artifacts)
    if config.devices:  # before torch looks for GPUs; each process of ours gets one of them
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, config.devices))
    from autoprune.search.evaluate.workers import check_workers

    check_workers(config)
    from autoprune.search.context.listener import SearchListener
    from autoprune.search.run import prepare_search, run_search
    from autoprune.search.select.stopped import note_stop

    listener = listener or SearchListener()
    prepared = prepare_search(config, Path(studies), listener, target, began, place)
    folder = prepared.checked.folder
    with closing(folder):
        try:
            outcome = run_search(prepared, listener, partial(write_report, folder.root))
        except BaseException as error:
            note_stop(prepared.checked, error)
            if folder.dense_record() is not None:
                write_report(folder.root)
            raise
        with prepared.journal.stage(REPORT):
            page = write_report(folder.root)
        with suppress(StorageFailed):  # no part of the result
            folder.show()
    return SearchResult(StudyFolder(folder.root), outcome, page)


@no_traces()
def probe(
    model: str | Path | None = None,
    *,
    budget_ms: float | None = None,
    speedup: float | None = None,
    imgsz: int | tuple[int, ...] | None = None,
    runtime: str = "onnxruntime",
    threads: int = 1,
    provider: str | None = None,
    channels_last: bool = False,
    precision: str | None = None,
    nms: bool | None = None,
    target: LatencyTarget | str = "local",
    target_python: str = DEFAULT_TARGET_PYTHON,
    protect: tuple[int, ...] = (),
    space: str | Path | None = None,
    write_space: str | Path | None = None,
    trust_checkpoint: bool = False,
    listener: SearchListener | None = None,
) -> ProbeResult:
    """Find out in two minutes, without data or training, whether pruning can meet a limit.

    Args:
        model: A .pt or model .yaml; the bundled demo by default.
        budget_ms: Latency limit in ms; give this, `speedup` or neither.
        speedup: Or: this many times faster than the dense model.
        imgsz: Side, or (height, width), in pixels; by default what the model was trained at.
        runtime: A name in the table of runtimes: "onnxruntime", "torch", or one of a package.
        threads: Threads of one forward pass.
        provider: What the runtime runs on, as it calls it; None for the CPU.
        channels_last: Memory layout, where the runtime lets it be chosen.
        precision: What the runtime computes in, one of its row's; None for the first of them.
        nms: False for the end-to-end branch of a head that has one; None: as the model says.
        target: Where: "local", "ssh://user@host[:port]", a form that a package adds, or an object
            that measures.
        target_python: The interpreter on an ssh target.
        protect: Layer indices that keep all their channels.
        space: Search space YAML; by default widths on this target's steps, within the shipped one.
        write_space: New file for a search space of only those widths that are on this target's
            steps.
        trust_checkpoint: Load a .pt that holds more than torch and Ultralytics classes.
        listener: Hears progress; silent by default.

    Returns:
        Dense latency, floor, stairs, alternatives and the verdict.

    Raises:
        ConfigError: Wrong input, before anything is measured.
        UnsupportedModel: The model cannot be pruned.
        TrialFailed: The model cannot be exported or measured.
        TargetUnreachable: The device does not answer.
    """
    if budget_ms is not None and speedup is not None:
        expected = "one of --budget-ms and --speedup, or neither"
        raise ConfigError(f"arguments: goal: got budget_ms and speedup, expected {expected}")
    limit = {"budget_ms": budget_ms, "speedup": speedup}
    given = [{"kind": kind, "value": value} for kind, value in limit.items() if value is not None]
    settings = {
        "goal": given[0] if given else {"kind": "max_drop", "value": 100},  # no latency limit
        "imgsz": imgsz,
        "space": space,
        "runtime": runtime,
        "threads": threads,
        "provider": provider,
        "channels_last": channels_last,
        "precision": precision,
        "nms": nms,
        "protect": protect,
        **({"target": target, "target_python": target_python} if isinstance(target, str) else {}),
        "trust_checkpoint": trust_checkpoint,
    }
    config = StudyConfig.of(settings, "arguments")
    if model is not None:  # without data, which a search would ask for
        config = config.model_copy(update={"model": Path(model)})
    from autoprune.search.propose.names import check_names

    check_names(config)
    from autoprune.search.context.listener import SearchListener
    from autoprune.search.feasibility.probe import probe as run_probe

    return run_probe(
        config,
        config.goal if given else None,
        listener or SearchListener(),
        None if isinstance(target, str) else target,
        None if write_space is None else Path(write_space),
    )
