"""What `prune` says: about the images, what was written, how, and what to do with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autoprune.evaluation.inside.pruned_yolo import PrunedYOLO


class Once:
    """A way to print that prints no line twice: two steps may say the same of the images."""

    def __init__(self) -> None:
        self.said: set[str] = set()

    def __call__(self, line: str) -> None:
        """Print a line, unless it was printed before."""
        if line not in self.said:
            self.said.add(line)
            print(line, flush=True)


def print_pruned(pruned: PrunedYOLO, output: Path, how: str, *, tuned: bool) -> None:
    """Print it.

    Args:
        pruned: What was saved.
        output: The file.
        how: How its channels were chosen.
        tuned: Whether it was fine-tuned.
    """
    params = sum(parameter.numel() for parameter in pruned.model.parameters())
    print(f"{output}: {params / 1e6:.2f} M parameters, {how}")
    if pruned.how_saved:
        print(f"Saved with {pruned.how_saved}.")
    if not tuned:
        print("Not fine-tuned yet: give --data my.yaml epochs=50, or train it with")
        print(f"  autoprune.load({str(output)!r}).train(data='my.yaml', epochs=50)")
