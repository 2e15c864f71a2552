"""`autoprune apply`: argv -> one call of api -> what the bundle is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from autoprune.cli import exit_codes, options


def apply(
    plan: Annotated[Path, typer.Option(help="A study's best.yaml, or another per-index YAML.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to make: the bundle.")],
    overrides: options.Overrides = None,
    model: Annotated[Optional[Path], typer.Option(help="The dense .pt; the study's.")] = None,
    data: Annotated[Optional[Path], typer.Option(help="Data YAML; the study's.")] = None,
    budget_ms: options.BudgetMs = None,
    max_drop: Annotated[
        Optional[float], typer.Option(help="mAP points the file may lose on the final images.")
    ] = None,
    imgsz: options.Imgsz = None,
    runtime: options.MaybeRuntime = None,
    threads: options.MaybeThreads = None,
    provider: options.Provider = None,
    channels_last: options.MaybeChannelsLast = None,
    precision: options.Precision = None,
    target: options.MaybeTarget = None,
    target_python: options.MaybeTargetPython = None,
    nms: options.Nms = None,
    trust_checkpoint: options.Trust = False,
    allow_broken: options.MaybeAllowBroken = None,
    allow_unlabelled: options.MaybeAllowUnlabelled = None,
    debug: options.Debug = False,
) -> None:
    """From the best plan to the model that ships: weights, fine-tune, export, checks, card.

    What is not given is the study's that the plan is from. Interrupted, the same command goes on.
    """
    with exit_codes.exit_codes("apply", debug=debug):
        from autoprune import api
        from autoprune.cli.arguments import image_size, split_overrides
        from autoprune.cli.prune_screen import Once
        from autoprune.errors import ConfigError
        from autoprune.evaluation.quiet import prepare_environment

        prepare_environment()
        pairs, stray = split_overrides(overrides or [])
        if stray is not None:
            raise ConfigError.of("apply", "", str(stray), "key=value settings")
        size = image_size(imgsz, None)
        card = api.apply(
            plan,
            output,
            model=model,
            data=data,
            budget_ms=budget_ms,
            max_drop=max_drop,
            imgsz=(size[0], size[-1]) if size else None,
            runtime=runtime,
            threads=threads,
            provider=provider,
            channels_last=channels_last,
            precision=precision,
            target=target,
            target_python=target_python,
            nms=nms,
            trust_checkpoint=trust_checkpoint or None,
            allow_broken=allow_broken,
            allow_unlabelled=allow_unlabelled,
            fine_tune=pairs,
            say=Once(),
        )
        dense, shipped = card.dense, card.shipped
        print(f"{output}: {', '.join(card.files)}, card.json")
        print(
            f"{shipped.latency.median_ms:.3f} ms ({shipped.latency.ratio:.2f} of dense),"
            f" {shipped.final.metric} {shipped.final.map50_95:.3f} on {shipped.final.split}"
            f" (dense: {dense.final.map50_95:.3f}); see {output / 'card.md'}"
        )
        if not card.met:
            print(f"MISSED: {'; '.join(card.missed)}")
            raise typer.Exit(exit_codes.NOT_MET)
