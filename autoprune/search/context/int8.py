"""With an INT8 runtime it is the quantized file whose mAP counts, as its runtime answers."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from autoprune.domain.record import DetectionMetrics
from autoprune.evaluation.model_task import model_task
from autoprune.evaluation.validate_file import validate_answers
from autoprune.latency.answers import local_answers
from autoprune.latency.checked_export import first_right
from autoprune.latency.exported_model import ExportedModel
from autoprune.search.context.workbench import Checked


def score_quantized(
    bench: Checked, module: nn.Module, file: Path, images: Sequence[Path]
) -> DetectionMetrics:
    """Quantize a model with the study's training images, keep the file and validate it.

    Args:
        bench: A study with an INT8 runtime.
        module: The model in float.
        file: Where the file is left; its folder is there.
        images: To validate on.

    Raises:
        TrialFailed: No exporter writes a file that runs, or a prediction is not finite.
    """
    with tempfile.TemporaryDirectory(prefix="export-", dir=file.parent) as draft:
        exported, metrics = first_right(
            lambda after: bench.export(module, Path(draft), after, calibrated=True),
            lambda exported: score_file(bench, module, exported.path, images),
        )
        exported.path.replace(file)
    return metrics


def score_file(
    bench: Checked, module: nn.Module, file: Path, images: Sequence[Path]
) -> DetectionMetrics:
    """The mAP of a file of the study's runtime, on this machine.

    Args:
        bench: The study.
        module: The model it was made of, which computes nothing here.
        file: The file.
        images: To validate on.

    Raises:
        TrialFailed: The file does not run, or a prediction is not finite.
        ConfigError: The runtime is not on this machine.
    """
    exported = ExportedModel(file, bench.options.runtime, bench.imgsz, "kept")
    outputs = 2 if model_task(module).name == "segment" else 1
    with local_answers(exported, bench.options, outputs) as answers:
        return validate_answers(module, answers, bench.data, images, bench.imgsz)
