"""The layout that the page's plots share."""

from __future__ import annotations

from typing import Any


def frame(height: int, bottom: int) -> dict[str, Any]:
    """Layout common to the plots, heights in px; the page itself colours text and grid."""
    return {
        "height": height,
        "margin": {"l": 10, "r": 10, "t": 40, "b": bottom},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "template": "none",
        "font": {"family": "system-ui, sans-serif", "size": 13},
        "dragmode": False,
    }
