"""Colours and marker sizes that the page's plots and the PNG share."""

from __future__ import annotations

import math

from autoprune.domain.progress import Kind
from autoprune.domain.record import TrialRecord

FRONT = "#1f77b4"
CHOSEN = "#d9541e"
BASELINE = "#1b9e77"
DENSE = "#8a5cc2"
OTHER = "#9aa3ad"
BUDGET = "#c0392b"
EVIDENCE: dict[Kind, str] = {
    "predicted": OTHER,
    "measured": FRONT,
    "fine-tuned": FRONT,
    "confirmed": CHOSEN,
}
"""Of the best so far."""


def marker_diameter(record: TrialRecord, dense: TrialRecord | None) -> float:
    """Diameter in px: its square grows with the parameters, relative to dense."""
    if record.size is None or dense is None or dense.size is None or dense.size.params == 0:
        return 10.0
    return 5.0 + 13.0 * math.sqrt(record.size.params / dense.size.params)
