"""Commands about files that are there: inspect, measure, export, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from autoprune.cli import exit_codes, options


def inspect(
    model: Annotated[Path, typer.Argument(help="A .pt or model .yaml.")],
    yaml: Annotated[
        bool, typer.Option("--yaml", help="Print a plan that removes nothing, to fill in.")
    ] = False,
    trust_checkpoint: options.Trust = False,
    debug: options.Debug = False,
) -> None:
    """Say which channels can go, index by index, and why the others stay."""
    with exit_codes.exit_codes("inspect", debug=debug):
        from rich.console import Console

        from autoprune import api
        from autoprune.cli.inspect_screen import inspection_page
        from autoprune.evaluation.quiet import prepare_environment
        from autoprune.storage.yaml_io import dump_yaml

        prepare_environment()
        found = api.inspect(model, trust_checkpoint=trust_checkpoint)
        if yaml:
            print(dump_yaml(found.plan.to_mapping()), end="")
        else:
            Console(highlight=False).print(inspection_page(found))


def measure(
    models: Annotated[list[Path], typer.Argument(help=".pt and .onnx files; the first is 1x.")],
    runtime: options.Runtime = "onnxruntime",
    threads: options.Threads = 1,
    provider: options.Provider = None,
    channels_last: options.ChannelsLast = False,
    precision: options.Precision = None,
    imgsz: options.Imgsz = None,
    target: options.Target = "local",
    target_python: options.TargetPython = options.TARGET_PYTHON,
    self_test: Annotated[
        bool,
        typer.Option("--self-test", help="Time one model against itself and against known delays."),
    ] = False,
    debug: options.Debug = False,
) -> None:
    """Time models against the first one, interleaved; or test how far to trust that."""
    with exit_codes.exit_codes("measure", debug=debug):
        from rich.console import Console

        from autoprune import api
        from autoprune.cli.arguments import image_size
        from autoprune.cli.measure_screen import latency_page, trust_page
        from autoprune.cli.screen import Screen
        from autoprune.errors import ConfigError

        size = image_size(imgsz, None)
        how: dict[str, Any] = {
            "runtime": runtime,
            "threads": threads,
            "provider": provider,
            "channels_last": channels_last,
            "precision": precision,
            "imgsz": (size[0], size[-1]) if size else None,
            "target": target,
            "target_python": target_python,
        }
        notes: list[str] = []
        if not self_test:
            page = latency_page(api.measure(models, say=notes.append, **how))
        elif len(models) != 1:
            raise ConfigError.of("--self-test", "models", len(models), "one")
        else:
            with Screen("", "") as screen:
                screen.candidate("self-test", None, None)
                page = trust_page(
                    api.measure_self_test(
                        models[0],
                        heard=lambda done, wanted: screen.stage(f"{done} of {wanted} measured"),
                        **how,
                    )
                )
        Console(highlight=False).print(page, *notes, sep="\n", markup=False)


def export(
    model: Annotated[Path, typer.Argument(help="A .pt or model .yaml.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    imgsz: options.Imgsz = None,
    runtime: options.Runtime = "onnxruntime",
    precision: options.Precision = None,
    data: Annotated[
        Optional[Path], typer.Option(help="Data YAML, whose training images INT8 needs.")
    ] = None,
    nms: options.Nms = None,
    trust_checkpoint: options.Trust = False,
    debug: options.Debug = False,
) -> None:
    """Write the file that is timed, to be deployed; Ultralytics opens a .onnx too."""
    with exit_codes.exit_codes("export", debug=debug):
        from autoprune import api
        from autoprune.cli.arguments import image_size

        size = image_size(imgsz, None)
        made = api.export(
            model,
            output,
            imgsz=(size[0], size[-1]) if size else None,
            runtime=runtime,
            precision=precision,
            data=data,
            nms=nms,
            trust_checkpoint=trust_checkpoint,
        )
        print(f"{made.path}: {made.imgsz[0]}x{made.imgsz[1]} px, for {made.runtime}")


def report(
    folder: Annotated[
        Optional[Path], typer.Argument(metavar="[STUDY]", help="Folder of a study.")
    ] = None,
    storage: options.Storage = None,
    name: Annotated[
        Optional[str], typer.Option("--study", help="Or: a study's name in --storage.")
    ] = None,
    studies: options.Studies = Path("studies"),
    debug: options.Debug = False,
) -> None:
    """Write a study's report again, finished or not; here or from a database."""
    with exit_codes.exit_codes("report", debug=debug) as running:
        from autoprune import api
        from autoprune.errors import ConfigError

        if (folder is None) == (name is None):
            raise ConfigError("report: expected the folder of a study, or --storage and --study")
        if name is not None and storage is None:
            raise ConfigError.of("report", "--storage", None, "where the study is kept")
        if name is not None and storage is not None:
            folder = api.fetch_study(storage, name, studies=studies)
        running.study = study = Path(folder or "")
        from autoprune.report.answer import read_answer
        from autoprune.storage.study_folder import StudyFolder

        page = api.write_report(study)
        for why in StudyFolder(study).broken_records().values():
            print(f"Left out: {why}")
        print(read_answer(StudyFolder(study)).text())
        print(f"Report: {page}")
