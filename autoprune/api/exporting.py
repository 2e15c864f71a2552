"""export: a model as the file that is timed and deployed."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoprune.errors import ConfigError
from autoprune.evaluation.traces import no_traces

if TYPE_CHECKING:
    from autoprune.latency.exported_model import ExportedModel
    from autoprune.latency.quantizing import Quantizing


@no_traces()
def export(
    model: str | Path,
    output: str | Path,
    *,
    imgsz: int | tuple[int, int] | None = None,
    runtime: str = "onnxruntime",
    precision: str | None = None,
    data: str | Path | None = None,
    nms: bool | None = None,
    trust_checkpoint: bool = False,
) -> ExportedModel:
    """Write a model's file for a runtime at batch 1, as `search` and `measure` time it.

    The graph is rewritten where that makes it faster. Before the file is called written it is run
    once on this machine; its output must be the model's. A .onnx file also carries what Ultralytics
    reads, so that `YOLO(output, task=...)` predicts and validates.

    Args:
        model: A .pt, dense or pruned, or a model .yaml.
        output: The file to write, with the runtime's suffix; its folder is created.
        imgsz: Side, or (height, width), in pixels; by default what the model was trained at.
        runtime: A name in the table of runtimes.
        precision: What the file is run in before it counts; the file itself is the same.
        data: Data YAML whose training images an INT8 runtime's file is calibrated on; needed for
            those runtimes, and of no use for others.
        nms: False for the end-to-end branch of a head that has one; None: as the model says.
        trust_checkpoint: Load a .pt that may run code of its own.

    Returns:
        The file, with its image size and the exporter that wrote it.

    Raises:
        ConfigError: A file or setting is wrong, or the runtime is not installed here.
        TrialFailed: No exporter can write the model, or no file answers as the model does; an
            `output` that was there before stays as it was.
        TargetUnreachable: Measurements of latency keep this machine busy for long.
    """
    from autoprune.latency.options import RuntimeOptions

    size = (imgsz, imgsz) if isinstance(imgsz, int) else imgsz
    options = RuntimeOptions(  # checked before loading
        runtime=runtime, imgsz=size or (640, 640), precision=precision
    )
    target = Path(output)
    if target.suffix.lower() != options.row.suffix:
        expected = f"a {options.row.suffix} file for --runtime {runtime}"
        raise ConfigError.of("--output", "", target.name, expected)
    options.row.refuse_without_makers()
    if (options.row.quantize is None) != (data is None):
        expected = "none: only INT8 runtimes look at images"
        if data is None:
            expected = f"a data YAML: --runtime {runtime} is calibrated on its training images"
        raise ConfigError.of("--data", "", None if data is None else str(data), expected)
    from autoprune.evaluation.checkpoint import load_yolo, trained_image_size
    from autoprune.latency.checked_export import first_right
    from autoprune.latency.export import export_model
    from autoprune.latency.local_target import LocalTarget
    from autoprune.latency.measure import check_answers

    yolo = load_yolo(model, trust=trust_checkpoint, nms=nms)
    options = replace(options, imgsz=size or trained_image_size(yolo))
    quantizing = None if data is None else _quantizing(yolo, data, options.imgsz)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="export-", dir=target.parent) as draft:
        path = Path(draft) / target.name
        made, _ = first_right(
            lambda after: export_model(
                yolo.model, path, options.imgsz, runtime, after, quantizing=quantizing
            ),
            lambda exported: check_answers(LocalTarget(), exported, options),
        )
        os.replace(made.path, target)
    return replace(made, path=target, reference=None)


def _quantizing(yolo: Any, data: str | Path, imgsz: tuple[int, int]) -> Quantizing:
    """Training images of a data YAML, the same ones each time; weights fit for any CPU."""
    from autoprune.evaluation.dataset import inspect_data
    from autoprune.evaluation.images import check_channels
    from autoprune.evaluation.model_task import model_task
    from autoprune.evaluation.pictures import Pictures, sampled
    from autoprune.latency.quantizing import IMAGES, Quantizing

    found = inspect_data(Path(data), task=model_task(yolo.model).name)
    check_channels(yolo.model, found.channels, str(found.path))
    return Quantizing(Pictures(sampled(found.train, IMAGES, 0), imgsz, found.channels))
