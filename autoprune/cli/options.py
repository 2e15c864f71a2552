"""Options that several commands share, as types for typer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from autoprune.domain.config import DEFAULT_TARGET_PYTHON
from autoprune.search.propose.names import choices
from autoprune.storage.database_url import VARIABLE

CHOICES = choices()

Overrides = Annotated[
    Optional[list[str]],
    typer.Argument(
        metavar="[KEY=VALUE ...]", help="Settings of the fine-tune, Ultralytics style: epochs=3."
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show where an unexpected error came from.")]
Trust = Annotated[bool, typer.Option(help="Load a .pt that may run code of its own.")]
AnyBase = Annotated[
    bool, typer.Option("--any-base", help="Apply a plan that was written for another model.")
]
AllowBroken = Annotated[
    float, typer.Option(help="Percent of a split's images that may be broken and left out.")
]
MaybeAllowBroken = Annotated[
    Optional[float],
    typer.Option(help="Percent of a split's images that may be broken and left out. Default: 5."),
]
AllowUnlabelled = Annotated[
    float, typer.Option(help="Percent of train's or val's images that may have no labels.")
]
MaybeAllowUnlabelled = Annotated[
    Optional[float],
    typer.Option(help="Percent of train's or val's images that may have no labels. Default: 90."),
]

# The goal
BudgetMs = Annotated[Optional[float], typer.Option(help="Latency limit, ms.")]
Speedup = Annotated[Optional[float], typer.Option(help="Or: this much faster than dense.")]

Imgsz = Annotated[
    Optional[str], typer.Option(help="Image size in pixels: N or HxW. Default: as trained.")
]

Nms = Annotated[
    Optional[bool],
    typer.Option(
        help="Which branch of an end-to-end head (YOLO10, 26) is deployed: --nms is Ultralytics'"
        " default, --no-nms needs no NMS. Default: as the model says."
    ),
]

# Several machines
Storage = Annotated[
    Optional[str],
    typer.Option(
        envvar=VARIABLE,
        show_default=False,
        help="PostgreSQL database that workers share the study in:"
        " postgresql+psycopg://user:password@host/database. Default: a file in its folder.",
    ),
]
Artifacts = Annotated[
    Optional[str],
    typer.Option(help="Where trained weights go for all workers: a folder or s3://bucket/prefix."),
]
Studies = Annotated[Path, typer.Option(help="Folder that holds the studies.")]

# What is pruned, and how
Classes = Annotated[
    Optional[str],
    typer.Option(help="Classes to keep, ids or names: 0,2 or person,car. Default: all."),
]
Protect = Annotated[Optional[str], typer.Option(help="Indices to leave alone: 0,22.")]
Space = Annotated[
    Optional[Path],
    typer.Option(help="Search space YAML; widths on the target's steps if left out."),
]
Importance = Annotated[
    Optional[str], typer.Option(help=f"How channels are ranked: {CHOICES['importance']}.")
]
Sampler = Annotated[Optional[str], typer.Option(help=f"What draws plans: {CHOICES['sampler']}.")]
WorkersLocal = Annotated[
    Optional[int],
    typer.Option(
        "--workers-local",
        "--workers",
        help="Processes that score and train side by side, as far as cores and memory allow."
        " Default: idle cores, 4 at most.",
    ),
]
Devices = Annotated[
    Optional[str], typer.Option(help="GPUs, a process on each: 0,1,2. Default: the first, if any.")
]
Compensate = Annotated[
    Optional[bool], typer.Option(help="Let the channels that stay take over for those removed.")
]

# What measures latency; None where a recipe may say it
TARGET_PYTHON = DEFAULT_TARGET_PYTHON
_RUNTIME = f"What runs the model: {CHOICES['runtime']}."
MaybeRuntime = Annotated[Optional[str], typer.Option(help=_RUNTIME)]
Runtime = Annotated[str, typer.Option(help=_RUNTIME)]
MaybeThreads = Annotated[Optional[int], typer.Option(help="Threads of the runtime.")]
Threads = Annotated[int, typer.Option(help="Threads of the runtime.")]
Provider = Annotated[
    Optional[str],
    typer.Option(
        help="What the runtime runs on, as it calls it: CUDAExecutionProvider, cuda:0."
        " Default: the CPU."
    ),
]
_LAYOUT = f"Memory layout, for --runtime {CHOICES['channels_last']}."
MaybeChannelsLast = Annotated[Optional[bool], typer.Option(help=_LAYOUT)]
ChannelsLast = Annotated[bool, typer.Option(help=_LAYOUT)]
Precision = Annotated[
    Optional[str],
    typer.Option(help="What the runtime computes in: fp32, fp16, bf16. Default: its own."),
]
_WHERE = f"Where latency is measured: {CHOICES['target']}."
MaybeTarget = Annotated[Optional[str], typer.Option(help=_WHERE)]
Target = Annotated[str, typer.Option(help=_WHERE)]
_PYTHON = "The Python on an ssh target: python3, or a path there."
MaybeTargetPython = Annotated[Optional[str], typer.Option(help=_PYTHON)]
TargetPython = Annotated[str, typer.Option(help=_PYTHON)]
