"""Channel counts of a model or a file, held against those that its plan gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autoprune.domain.plan import PruningPlan
from autoprune.errors import AutopruneError
from autoprune.evaluation.inside.trainer import conv_shapes
from autoprune.families import channels_of
from autoprune.latency.file_widths import weight_shapes
from autoprune.pruning.selection import kept_counts


def check_widths(dense: Any, plan: PruningPlan, pruned: Any, what: str) -> int:
    """Compare every group of channels with what the plan leaves of it.

    Args:
        dense: The model that the plan is for.
        plan: The plan.
        pruned: What is looked at.
        what: Its name in the message.

    Returns:
        How many channels there are in all groups.

    Raises:
        AutopruneError: A group has another number of channels.
    """
    groups = channels_of(dense).groups
    counts = kept_counts(groups, plan)
    expected = {name: list(each.shape) for name, each in dense.state_dict().items()}
    for group, kept in zip(groups, counts, strict=True):
        for part in (*group.producers, *group.consumers, *group.riders):
            expected[part.name][part.axis] -= group.width - kept
    found = pruned.state_dict()
    for group in groups:
        for part in (*group.producers, *group.consumers, *group.riders):
            got, wanted = found[part.name].shape[part.axis], expected[part.name][part.axis]
            if got != wanted:
                place = f"{got} channels on axis {part.axis} of {part.name}"
                raise AutopruneError(f"{what}: got {place}, expected the plan's {wanted}")
    return sum(counts)


def check_file_widths(model: Any, path: Path) -> tuple[int, int] | None:
    """Compare the weights in an exported file with those of the model it was made of.

    Args:
        model: As it is deployed: see `latency.export.folded`.
        path: The file.

    Returns:
        How many convolutions have the model's own shape in the file, and how many the model has;
        the others were rewritten, and their outputs are compared. None where the file's kind
        cannot be read.

    Raises:
        AutopruneError: A weight has another shape.
    """
    found = weight_shapes(path)
    if found is None:
        return None
    shapes = conv_shapes(model)
    same = 0
    for name, expected in shapes.items():
        got = found.get(f"{name}.weight")
        if got is None:
            continue
        if got != expected:
            raise AutopruneError(
                f"{path.name}: got {name} of shape {got}, expected the model's {expected}"
            )
        same += 1
    return same, len(shapes)
