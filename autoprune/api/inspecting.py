"""inspect: what can be pruned in a model, without data and without a measurement."""

from __future__ import annotations

from pathlib import Path

from autoprune.domain.inspection import Inspection
from autoprune.evaluation.traces import no_traces


@no_traces()
def inspect(model: str | Path, *, trust_checkpoint: bool = False) -> Inspection:
    """Say index by index which channels a plan can remove, and why the others stay.

    Args:
        model: A .pt or model .yaml.
        trust_checkpoint: Load a .pt that may run code of its own.

    Raises:
        ConfigError: The file is no model.
        UnsupportedModel: It is of another task, or none of its channels can be removed.
    """
    from autoprune.evaluation.checkpoint import load_yolo
    from autoprune.evaluation.sync_norms import without_sync_norms
    from autoprune.pruning.inspection import inspect_model

    return inspect_model(without_sync_norms(load_yolo(model, trust=trust_checkpoint).model))
