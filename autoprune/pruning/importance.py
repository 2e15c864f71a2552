"""The table of importance criteria: what ranks channels, and what each needs to know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from autoprune.domain.table import Table, later

if TYPE_CHECKING:
    from torch import Tensor

    from autoprune.pruning.criteria import ScoringContext
    from autoprune.pruning.groups import ChannelGroup

    Score = Callable[[ChannelGroup, ScoringContext], Tensor]

Needs = Literal["weights", "images", "gradients"]


@dataclass(frozen=True)
class Criterion:
    """One way to rank channels.

    Attributes:
        name: What `--importance` says.
        summary: What it is, in one line, with its source.
        score: (group, context) -> one score per channel, float64, shape (group.width,), on the CPU;
            low scores go first.
        needs: "weights" alone; "images" for the moments and the Fisher information that calibration
            collects (`context.calibration`); "gradients" for those of the weights too.
        cumulative: Whether a score is the cost of removing this channel and all with a lower score,
            not of this channel alone.
    """

    name: str
    summary: str
    score: Score
    needs: Needs = "weights"
    cumulative: bool = False

    @property
    def needs_images(self) -> bool:
        """Whether it cannot work without calibration images."""
        return self.needs != "weights"


CRITERIA = Table(
    "autoprune.criteria",
    Criterion,
    [
        Criterion(
            "obs",
            "Second-order cost of removal while the other channels make up for it (optimal brain"
            " surgeon, Hassibi and Stork 1993).",
            later("autoprune.pruning.criteria:obs"),
            needs="images",
            cumulative=True,
        ),
        Criterion(
            "l1",
            "Sum of absolute filter weights (Li et al. 2017).",
            later("autoprune.pruning.criteria:l1"),
        ),
        Criterion(
            "l2",
            "Euclidean norm of the filters that write the channel.",
            later("autoprune.pruning.criteria:l2"),
        ),
        Criterion(
            "bn_scale",
            "Absolute batch-norm weight (Liu et al. 2017).",
            later("autoprune.pruning.criteria:bn_scale"),
        ),
        Criterion(
            "l2_bn",
            "Euclidean norm of the filters with batch norm folded in.",
            later("autoprune.pruning.criteria:l2_bn"),
        ),
        Criterion(
            "taylor",
            "First-order change of the loss (Molchanov et al. 2019).",
            later("autoprune.pruning.criteria:taylor"),
            needs="gradients",
        ),
        Criterion(
            "random",
            "Reproducible noise: the floor any other criterion must beat.",
            later("autoprune.pruning.criteria:random"),
        ),
    ],
)

DEFAULT_IMPORTANCE = "l2_bn"
"""Without images."""

CALIBRATED_IMPORTANCE = "obs"
"""Where calibration images are known."""


def criterion_named(name: str) -> Criterion:
    """Look a criterion up.

    Raises:
        ConfigError: No such criterion; the message lists those there are.
    """
    return CRITERIA.row(name, "--importance")
