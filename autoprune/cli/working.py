"""A search on the screen, and the command that joins one on another machine."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from autoprune.cli import exit_codes, options

if TYPE_CHECKING:
    from autoprune.api.searching import SearchResult


def on_screen(
    work: Callable[..., SearchResult],
    goal: str,
    running: exit_codes.Running,
) -> None:
    """Search, or help to, and end with the answer."""
    from autoprune.cli.ending import print_ending, print_so_far
    from autoprune.cli.screen import Screen
    from autoprune.demo.bundle import NOTICE

    screen = Screen(goal, NOTICE)
    try:
        with screen:
            result = work(listener=screen)
    except KeyboardInterrupt:
        print_so_far(screen.study)
        raise
    finally:
        running.study = screen.study
    if not print_ending(result):
        raise typer.Exit(exit_codes.NOT_MET)


def worker(
    study: Annotated[str, typer.Option(help="Name of the study, as a search began it.")],
    storage: options.Storage = None,
    model: Annotated[
        Optional[Path], typer.Option(help="The dense model, where its path differs here.")
    ] = None,
    data: Annotated[
        Optional[Path], typer.Option(help="The data YAML, where its path differs here.")
    ] = None,
    studies: options.Studies = Path("studies"),
    artifacts: options.Artifacts = None,
    timeout: Annotated[Optional[float], typer.Option(help="Stop after this many seconds.")] = None,
    workers_local: options.WorkersLocal = None,
    trust_checkpoint: options.Trust = False,
    debug: options.Debug = False,
) -> None:
    """Work on a study in a database, beside its search and other workers, until it is done."""
    with exit_codes.exit_codes("worker", debug=debug) as running:
        from autoprune import api
        from autoprune.errors import ConfigError
        from autoprune.storage.database_url import EXPECTED

        if storage is None:
            raise ConfigError.of("worker", "--storage", None, EXPECTED)
        work = partial(
            api.join_study,
            storage,
            study,
            model=model,
            data=data,
            studies=studies,
            artifacts=artifacts,
            timeout_s=timeout,
            workers_local=workers_local,
            trust_checkpoint=trust_checkpoint,
        )
        on_screen(work, f"study {study}", running)
