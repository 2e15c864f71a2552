"""The search space shipped for a model whose user named none."""

from __future__ import annotations

from pathlib import Path

from autoprune.errors import AutopruneError


def default_space() -> Path:
    """The space shipped for YOLOv8: inside the installed package, or in the source checkout."""
    package = Path(__file__).resolve().parents[2]
    for folder in (package / "search_spaces", package.parent / "search_spaces"):
        if (folder / "yolov8.yaml").exists():
            return folder / "yolov8.yaml"
    raise AutopruneError("the installation lacks search_spaces/yolov8.yaml; install it again")
