"""docs/models.md, made of what the tests prove: `python -m tests.families.models_page`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ultralytics import YOLO

from autoprune.families import channels_of
from autoprune.pruning.inspection import inspect_model
from autoprune.pruning.prune import uniform_plan, widths_of
from autoprune.pruning.selection import kept_counts
from autoprune.pruning.trace_geometry import model_geometry
from tests.families.test_every_model import MODELS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"
SIZE = (640, 640)
HEAD = """\
# Models

Each of these is pruned by random plans in the tests and compared with the dense model whose removed
channels are silenced: every raw output of every branch, in float64, to 1e-11 of its largest value.
*Free*: channels that a plan can remove, of all that the model's convolutions make; its outputs are
among the others. *MACs left*: the convolutions', with one ratio of 0.5 everywhere, at 640 px.
*Stays*: what cannot go besides the outputs, and why.

Pruned, saved, trained on, and opened by plain Ultralytics, which predicts, validates and exports:
all of them, by `python -m tests.campaign.models`. Calibrated, trained and exported in every run of
the tests: YOLOv8n, 10n, 11n, 26n, v8n-obb, 11n-seg, 26n-seg, 26n-pose. Searched: YOLOv8n, 11n, 26n
and 11n-seg ([how well](../benchmarks/README.md#other-families)).

| model | free | MACs left | stays |
|---|---|---|---|
"""


def row(name: str) -> str:
    """One model's line."""
    model = YOLO(f"{name}.yaml").model
    channels, found = channels_of(model), inspect_model(model)
    free = sum(layer.free for layer in found.layers)
    every = free + sum(layer.frozen for layer in found.layers)
    geometry = model_geometry(model, channels.groups, SIZE)
    kept = [geometry.widths, kept_counts(channels.groups, uniform_plan(widths_of(model), 0.5))]
    dense, half = geometry.macs(np.array(kept))
    reasons: dict[str, int] = {}
    for part in channels.frozen:
        if not part.reasons[0].startswith("the model's output"):
            why = part.reasons[0].split(" @ ")[0]
            reasons[why] = reasons.get(why, 0) + part.width
    stays = "; ".join(f"{count}: {why}" for why, count in reasons.items())
    return f"| {name} | {free / every:.0%} | {half / dense:.1%} | {stays} |"


def page() -> str:
    """The whole page."""
    return HEAD + "\n".join(map(row, MODELS)) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
