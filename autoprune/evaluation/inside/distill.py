"""DistillationLoss: a pruned detector learns from what the dense one says about the same images."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_TAUGHT = ("box_loss", "cls_loss", "dfl_loss", "l1_loss")  # parts of Ultralytics' losses


class DistillationLoss:
    """A blend of the task's loss and agreement with a teacher's raw outputs.

    Scores are compared by binary cross entropy with the teacher's probabilities, box distributions
    by cross entropy, each place counting by the teacher's highest score there (Hinton et al. 2015,
    arXiv 1503.02531; for distributed boxes Zheng et al. 2022, arXiv 2102.12252). No projection of
    features is learned, which a few epochs would not suffice for.

    Args:
        student: The DetectionModel in training; gives the loss its gains.
        teacher: The dense DetectionModel of the same classes and strides.
        share: Of the teacher's part, in (0, 1].
    """

    def __init__(self, student: nn.Module, teacher: nn.Module, share: float) -> None:
        detector: Any = student
        self.detection: Any = detector.init_criterion()
        self.gains: Any = getattr(self.detection, "one2many", self.detection).hyp
        self.share = share
        device = next(student.parameters()).device
        frozen: Any = copy.deepcopy(teacher).to(device).float().eval()
        for parameter in frozen.parameters():
            parameter.requires_grad_(False)
        frozen.model[-1].training = True  # the head alone: raw outputs, not decoded boxes
        self.teacher = frozen

    def __call__(self, preds: Any, batch: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """The loss's parts, scaled as Ultralytics does, and its items to log.

        What a task has beyond boxes and classes, such as masks, is learned from the labels alone.
        """
        loss, items = self.detection(preds, batch)
        with torch.no_grad():
            wanted = self.teacher(batch["img"])
        gains, images = self.gains, len(batch["img"])
        branches = [key for key in ("one2many", "one2one") if key in preds]
        pairs = [(preds[key], wanted[key]) for key in branches] or [(preds, wanted)]
        both = [torch.stack(agreement_losses(*pair)) for pair in pairs]
        scores, boxes = torch.stack(both).mean(dim=0)
        parts = list(items)
        taught, own = torch.zeros_like(loss), torch.ones_like(loss)
        own[[parts.index(name) for name in parts if name in _TAUGHT]] = 1 - self.share
        taught[parts.index("box_loss")] = (gains.dfl + gains.box / 5) * boxes
        taught[parts.index("cls_loss")] = gains.cls * scores
        return own * loss + self.share * images * taught, items

    def update(self) -> None:
        """An epoch is over: an end-to-end head's loss shifts from one branch to the other."""
        if hasattr(self.detection, "update"):
            self.detection.update()


def agreement_losses(
    preds: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """How far raw outputs are from the teacher's.

    Args:
        preds: "scores" of shape (images, classes, places), logits; "boxes" of shape
            (images, 4 * bins, places), logits of each side's distribution. With a single bin
            there is none to agree on.
        wanted: The teacher's, in the same shapes.

    Returns:
        Class loss per expected object, and box loss per side of one.
    """
    probabilities = wanted["scores"].sigmoid()
    confidence = probabilities.amax(dim=1)  # (images, places)
    scores = functional.binary_cross_entropy_with_logits(
        preds["scores"], probabilities, reduction="sum"
    ) / probabilities.sum().clamp(min=1)
    images, _, places = wanted["boxes"].shape
    target = wanted["boxes"].view(images, 4, -1, places).softmax(dim=2)
    log_likely = preds["boxes"].view(images, 4, -1, places).log_softmax(dim=2)
    differing = -(target * log_likely).sum(dim=2).mean(dim=1)
    return scores, (differing * confidence).sum() / confidence.sum().clamp(min=1)
