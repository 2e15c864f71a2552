from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.cfg import get_cfg

from autoprune.evaluation.checkpoint import model_hash
from autoprune.evaluation.dataset import DataSummary
from autoprune.evaluation.fine_tune import fine_tune, settings_from
from autoprune.evaluation.images import load_labelled_batch
from autoprune.evaluation.inside.distill import DistillationLoss, agreement_losses


def _outputs(seed: int) -> dict[str, torch.Tensor]:
    dice = torch.Generator().manual_seed(seed)
    return {
        "scores": torch.randn(2, 3, 5, generator=dice, dtype=torch.float64),
        "boxes": torch.randn(2, 16, 5, generator=dice, dtype=torch.float64),
    }


def test_the_agreement_is_best_with_the_teacher_itself() -> None:
    teacher = _outputs(0)
    own = agreement_losses(teacher, teacher)
    for seed in (1, 2, 3):
        other = agreement_losses(_outputs(seed), teacher)
        assert other[0] > own[0]
        assert other[1] > own[1]


def test_places_where_the_teacher_sees_nothing_hardly_count_for_boxes() -> None:
    teacher = _outputs(0)
    teacher["scores"][:, :, 0] = -30.0
    student = {name: value.clone() for name, value in teacher.items()}
    student["boxes"][:, :, 0] += torch.arange(16, dtype=torch.float64)[None]
    same = agreement_losses(teacher, teacher)[1]
    assert agreement_losses(student, teacher)[1] == pytest.approx(float(same), rel=1e-6)


def _criterion(module: nn.Module, share: float) -> tuple[Any, DistillationLoss]:
    student: Any = copy.deepcopy(module).train()
    student.args = get_cfg()
    return student, DistillationLoss(student, module, share)


def test_share_zero_is_the_detection_loss_and_gradients_reach_the_student_alone(
    dense: YOLO, data: DataSummary
) -> None:
    batch = load_labelled_batch(list(data.train[:2]), 64, len(data.names))
    student, plain = _criterion(dense.model, 0.0)
    preds = student(batch["img"])
    assert torch.allclose(plain(preds, batch)[0], plain.detection(preds, batch)[0])
    student, taught = _criterion(dense.model, 1.0)
    loss, _ = taught(student(batch["img"]), batch)
    loss.sum().backward()
    assert any(part.grad is not None for part in student.parameters())
    assert all(part.grad is None for part in taught.teacher.parameters())


def test_a_fine_tune_with_a_teacher_differs_and_leaves_the_teacher_as_it_was(
    pruned_module: nn.Module, dense: YOLO, data: DataSummary, tmp_path: Path
) -> None:
    before = model_hash(dense.model)
    yaml = data.training_yaml(tmp_path / "derived")
    hashes = set()
    for share in (0.0, 1.0):
        settings = settings_from({"epochs": 1, "device": "cpu", "distill": share})
        tuned = fine_tune(pruned_module, yaml, 64, settings, tmp_path, teacher=dense.model)
        assert tuned.module.criterion is None  # type: ignore[attr-defined]
        hashes.add(model_hash(tuned.module))
    assert len(hashes) == 2
    assert model_hash(dense.model) == before
