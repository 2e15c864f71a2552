"""The command line: argv -> config -> one call of api; one function per command."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from autoprune.cli import applying, exit_codes, files, options, working
from autoprune.cli.usage import OneLineUsage
from autoprune.cli.working import on_screen
from autoprune.domain.config import ALLOW_BROKEN, ALLOW_UNLABELLED
from autoprune.storage.database_url import VARIABLE, without_password

app = typer.Typer(
    cls=OneLineUsage,
    help="Find which channels of a YOLO can go: size, measured latency and mAP.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command()
def search(
    overrides: options.Overrides = None,
    budget_ms: options.BudgetMs = None,
    speedup: options.Speedup = None,
    max_drop: Annotated[
        Optional[float], typer.Option(help="Or: fastest plan within this many mAP points of dense.")
    ] = None,
    model: Annotated[Optional[Path], typer.Option(help="Your .pt; the demo's if left out.")] = None,
    data: Annotated[Optional[Path], typer.Option(help="Your data YAML.")] = None,
    imgsz: Annotated[
        Optional[str], typer.Option(help="Image size in pixels: N, or H W. Default: as trained.")
    ] = None,
    trials: Annotated[Optional[int], typer.Option(help="Stop at this many trials in all.")] = None,
    timeout: Annotated[Optional[float], typer.Option(help="Stop after this many seconds.")] = None,
    name: Annotated[Optional[str], typer.Option(help="Name of the study.")] = None,
    recipe: Annotated[Optional[Path], typer.Option(help="YAML with any of these settings.")] = None,
    space: options.Space = None,
    runtime: options.MaybeRuntime = None,
    threads: options.MaybeThreads = None,
    provider: options.Provider = None,
    channels_last: options.MaybeChannelsLast = None,
    precision: options.Precision = None,
    target: options.MaybeTarget = None,
    target_python: options.MaybeTargetPython = None,
    sampler: options.Sampler = None,
    importance: options.Importance = None,
    compensate: options.Compensate = None,
    seed: Annotated[Optional[int], typer.Option(help="Seed of the sampler.")] = None,
    nms: options.Nms = None,
    protect: options.Protect = None,
    classes: options.Classes = None,
    workers_local: options.WorkersLocal = None,
    devices: options.Devices = None,
    keep: Annotated[Optional[str], typer.Option(help="Weights kept: front or all.")] = None,
    reuse: Annotated[
        Optional[bool], typer.Option(help="Start from studies that differ in the goal alone.")
    ] = None,
    studies: options.Studies = Path("studies"),
    storage: options.Storage = None,
    artifacts: options.Artifacts = None,
    trust_checkpoint: options.Trust = False,
    allow_broken: options.MaybeAllowBroken = None,
    allow_unlabelled: options.MaybeAllowUnlabelled = None,
    debug: options.Debug = False,
) -> None:
    """Search for the plan that meets a latency goal at the least loss of mAP."""
    with exit_codes.exit_codes("search", debug=debug) as running:
        from autoprune.cli.arguments import (
            class_list,
            device_numbers,
            image_size,
            layer_indices,
            split_overrides,
        )
        from autoprune.cli.recipe import study_config

        pairs, width = split_overrides(overrides or [])
        config = study_config(
            recipe,
            goals={"budget_ms": budget_ms, "speedup": speedup, "max_drop": max_drop},
            flags={
                "model": model,
                "data": data,
                "imgsz": image_size(imgsz, width),
                "trials": trials,
                "timeout_s": timeout,
                "name": name,
                "space": space,
                "runtime": runtime,
                "threads": threads,
                "provider": provider,
                "channels_last": channels_last,
                "precision": precision,
                "target": target,
                "target_python": target_python,
                "sampler": sampler,
                "importance": importance,
                "compensate": compensate,
                "seed": seed,
                "nms": nms,
                "protect": layer_indices(protect),
                "classes": class_list(classes),
                "workers_local": workers_local,
                "devices": device_numbers(devices),
                "keep": keep,
                "reuse": reuse,
                "trust_checkpoint": trust_checkpoint or None,
                "allow_broken": allow_broken,
                "allow_unlabelled": allow_unlabelled,
            },
            fine_tune=pairs,
        )
        from autoprune import api

        work = partial(api.search, config, studies=studies, storage=storage, artifacts=artifacts)
        on_screen(work, config.goal.text(), running)


@app.command()
def probe(
    model: Annotated[
        Optional[Path], typer.Option(help="Your .pt or model .yaml; the demo's if left out.")
    ] = None,
    budget_ms: options.BudgetMs = None,
    speedup: options.Speedup = None,
    imgsz: options.Imgsz = None,
    target: options.Target = "local",
    target_python: options.TargetPython = options.TARGET_PYTHON,
    runtime: options.Runtime = "onnxruntime",
    threads: options.Threads = 1,
    provider: options.Provider = None,
    channels_last: options.ChannelsLast = False,
    precision: options.Precision = None,
    nms: options.Nms = None,
    protect: options.Protect = None,
    space: options.Space = None,
    write_space: Annotated[
        Optional[Path], typer.Option(help="New file: a space of widths on this target's steps.")
    ] = None,
    trust_checkpoint: options.Trust = False,
    debug: options.Debug = False,
) -> None:
    """Say in two minutes, without data or training, whether pruning can meet a limit."""
    with exit_codes.exit_codes("probe", debug=debug):
        from rich.console import Console

        from autoprune import api
        from autoprune.cli.arguments import image_size, layer_indices
        from autoprune.cli.probe_screen import probe_page
        from autoprune.cli.screen import Screen

        with Screen("", "") as screen:
            result = api.probe(
                model,
                budget_ms=budget_ms,
                speedup=speedup,
                imgsz=image_size(imgsz, None),
                runtime=runtime,
                threads=threads,
                provider=provider,
                channels_last=channels_last,
                precision=precision,
                nms=nms,
                target=target,
                target_python=target_python,
                protect=layer_indices(protect) or (),
                space=space,
                write_space=write_space,
                trust_checkpoint=trust_checkpoint,
                listener=screen,
            )
        print()
        Console(highlight=False).print(probe_page(result))
        if write_space is not None:
            print(f"Space:  {write_space} (search --space {write_space})")
        if not result.verdict.good:
            raise typer.Exit(exit_codes.NOT_MET)


@app.command()
def prune(
    model: Annotated[Path, typer.Argument(help="A .pt or model .yaml.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The pruned .pt to write.")],
    overrides: options.Overrides = None,
    plan: Annotated[Optional[Path], typer.Option(help="A per-index YAML.")] = None,
    ratio: Annotated[Optional[float], typer.Option(help="Or one ratio for every index.")] = None,
    round_to: Annotated[
        Optional[int], typer.Option(help="With --ratio: round kept widths up to a multiple.")
    ] = None,
    importance: options.Importance = None,
    compensate: options.Compensate = None,
    calibration: Annotated[
        Optional[Path], typer.Option(help="Data YAML whose training images are looked at.")
    ] = None,
    data: Annotated[
        Optional[Path], typer.Option(help="Data YAML: fine-tune on it; calibrates too.")
    ] = None,
    classes: options.Classes = None,
    nms: options.Nms = None,
    any_base: options.AnyBase = False,
    trust_checkpoint: options.Trust = False,
    allow_broken: options.AllowBroken = ALLOW_BROKEN,
    allow_unlabelled: options.AllowUnlabelled = ALLOW_UNLABELLED,
    debug: options.Debug = False,
) -> None:
    """Apply a plan to a model, and fine-tune it if --data is given.

    Interrupted, the same command goes on after the last epoch, kept in a folder beside OUTPUT.
    """
    with exit_codes.exit_codes("prune", debug=debug):
        from autoprune import api
        from autoprune.cli.arguments import check_output, class_list, split_overrides
        from autoprune.cli.prune_screen import Once, print_pruned
        from autoprune.errors import ConfigError
        from autoprune.evaluation.quiet import prepare_environment

        prepare_environment()
        pairs, stray = split_overrides(overrides or [])
        if stray is not None:
            raise ConfigError.of("prune", "", str(stray), "key=value settings")
        if pairs and data is None:
            raise ConfigError.of("prune", "--data", None, "a data YAML to fine-tune on")
        if output.suffix != ".pt":
            raise ConfigError.of("prune", "--output", str(output), "a file ending in .pt")
        if output.resolve() == model.resolve():
            raise ConfigError.of("prune", "--output", str(output), "another file than the model")
        check_output(output)
        pruned = api.prune_detection_model(
            str(model),
            prune_ratio=ratio,
            prune_yaml=plan,
            importance=importance,
            compensate=compensate,
            round_to=round_to,
            calibration=calibration or data,
            classes=class_list(classes),
            nms=nms,
            any_base=any_base,
            allow_broken=allow_broken,
            allow_unlabelled=allow_unlabelled,
            trust_checkpoint=trust_checkpoint,
        )
        how, say = pruned.how_pruned, Once()  # a fine-tune returns another object
        for note in pruned.notes:
            say(f"Note: {note}.")
        if data is not None:
            training = output.with_suffix(".training")
            odd = (allow_broken, allow_unlabelled)
            pruned = api.fine_tune_pruned(pruned, data, pairs, training, say, *odd)
            pruned.save(output)
            for done in (training / "fine-tune", training):  # a half removed one must not go on
                shutil.rmtree(done)
        else:
            pruned.save(output)
        print_pruned(pruned, output, how, tuned=data is not None)


for _command in (
    working.worker,
    applying.apply,
    files.inspect,
    files.measure,
    files.export,
    files.report,
):
    app.command()(_command)


def main() -> None:
    """Entry point of the `autoprune` command."""
    _hide_password()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    finally:  # only its temporary files are left to remove: its exit code is what it came to
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


def _hide_password() -> None:
    """Begin again with the database's URL in the environment, where everybody could read it."""
    shown, url = without_password(sys.orig_argv)
    if url is not None and os.name == "posix":
        os.execve(sys.executable, shown, {**os.environ, VARIABLE: url})  # noqa: S606 (ourselves)


def _interrupt(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt
