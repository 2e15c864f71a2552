"""The checkpoint that ships with autoprune, and the words the screen says about it."""

from __future__ import annotations

from pathlib import Path

from autoprune.errors import AutopruneError

CHECKPOINT = "yolov8n-shapes.pt"
NOTICE = (
    "No --model given: using the bundled DEMO, a yolov8n trained on generated pictures of"
    " coloured shapes. For your own detector:\n"
    "  autoprune search --budget-ms 5 --model best.pt --data my.yaml"
)


def demo_checkpoint() -> Path:
    """Path of the bundled yolov8n (fp16, trained by `autoprune.demo.train_checkpoint`)."""
    path = Path(__file__).with_name(CHECKPOINT)
    if not path.exists():
        raise AutopruneError(f"the installation lacks {CHECKPOINT}; install it again")
    return path
