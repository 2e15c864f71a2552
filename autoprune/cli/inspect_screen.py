"""What `autoprune inspect` prints: a row for each layer index, and what the columns mean."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table

from autoprune.domain.inspection import InspectedLayer, Inspection


def inspection_page(found: Inspection) -> RenderableType:
    """One row per index; a layer without channels of its own has dashes."""
    table = Table("index", "layer", "ratio counts in", "free", "stay", "why they stay", box=None)
    for layer in found.layers:
        table.add_row(
            str(layer.index),
            layer.kind,
            _widths(layer),
            str(layer.free or "-"),
            str(layer.frozen or "-"),
            "; ".join(layer.reasons[:2]),
        )
    free = sum(layer.free for layer in found.layers)
    every = free + sum(layer.frozen for layer in found.layers)
    return Group(
        table,
        f"{free} of {every} channels can be removed ({free / every:.0%}); family {found.family}.",
        "A plan says null where no ratio counts. --yaml prints one to fill in.",
    )


def _widths(layer: InspectedLayer) -> str:
    if len(layer.widths) > 1:
        return f"[{', '.join(map(str, layer.widths))}]"
    return str(layer.widths[0]) if layer.widths else "-"
