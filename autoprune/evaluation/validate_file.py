"""Measure the mAP of an exported file: of the answers that its runtime gives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from autoprune.domain.record import DetectionMetrics
from autoprune.evaluation.class_head import check_classes
from autoprune.evaluation.dataset import DataSummary
from autoprune.evaluation.inside.stand_in import Answers, StandIn
from autoprune.evaluation.validate import Scores, validated

__all__ = ["Answers", "scores_of_answers", "validate_answers"]


def validate_answers(
    model: nn.Module,
    answers: Answers,
    data: DataSummary,
    images: Sequence[Path],
    imgsz: int | tuple[int, int],
) -> DetectionMetrics:
    """Compute the mAP of a file, as `validate` does that of a model.

    Args:
        model: What was exported, or a YOLO around it; task, class names and branch are its.
            It computes nothing.
        answers: Image (1, channels, height, width), float32 in [0, 1] -> the raw outputs of the
            file, in their order; `latency.answers.local_answers` runs a file in its runtime.
        data: As for `validate`.
        images: As for `validate`.
        imgsz: Side of the square input of the file in pixels, or its (height, width).

    Raises:
        TrialFailed: As `validate`; and whatever `answers` raises.
        ConfigError: As `validate`.
    """
    return scores_of_answers(model, answers, data, images, imgsz).metrics


def scores_of_answers(
    model: nn.Module,
    answers: Answers,
    data: DataSummary,
    images: Sequence[Path],
    imgsz: int | tuple[int, int],
) -> Scores:
    """As `validate_answers`, with the AP of each class."""
    module: Any = model if isinstance(model.model, nn.Sequential) else model.model
    check_classes(module, len(data.names), str(data.path))
    stand_in = StandIn(module, answers, data.channels).eval()
    return validated(module, stand_in, data, images, imgsz, "cpu", 1)
