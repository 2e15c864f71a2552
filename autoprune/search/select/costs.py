"""Costs: what a measurement and a fine-tune take here, by those so far or by the dense model."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from autoprune.domain.record import SHORT, RungScore
from autoprune.search.context.budget import Allowance
from autoprune.search.context.workbench import Measured

TRAINING = 3.0  # times what validation takes, per image: forward, backward, and the update
VALIDATIONS = 2.0  # kept free after a fine-tune: to score it, and to save and load


class Costs:
    """What units of work cost in one study.

    Args:
        bench: The study.
    """

    def __init__(self, bench: Measured) -> None:
        self.bench = bench
        self.look_s = 0.0  # the longest measurement so far

    @contextmanager
    def looking(self) -> Iterator[None]:
        """One measurement."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.look_s = max(self.look_s, time.monotonic() - began)

    @property
    def training_s(self) -> float:
        """Seconds of a fine-tune with its validation: the longest so far, else an estimate."""
        known = [score.seconds for score in self._fine_tunes()]
        return max(known, default=self._estimated_s())

    @property
    def shortest_training_s(self) -> float:
        """Seconds of one epoch with its validations: what makes a plan a finished one."""
        epochs = [score.seconds / max(1, score.epochs) for score in self._fine_tunes()]
        one = max(epochs, default=self._estimated_s() / max(1, self.bench.fine_tune.epochs))
        return one + VALIDATIONS * self._validation_s()

    def most_s(self, allowance: Allowance, ends: float) -> float | None:
        """Seconds that a fine-tune may take at the most to be validated by then; None for ever.

        Args:
            allowance: Of the stage.
            ends: By the budget's clock: the stage's own end, or the latest for what is owed.
        """
        if not allowance.budget.limited:
            return None
        left_s = ends - allowance.budget.now()
        return max(0.0, left_s - VALIDATIONS * self._validation_s())

    def _fine_tunes(self) -> list[RungScore]:
        """Those of this study at rung SHORT."""
        return [
            score
            for record in self.bench.records()
            if record.taken_from is None and record.same_as is None
            for score in record.rungs
            if score.rung == SHORT
        ]

    def _estimated_s(self) -> float:
        data = self.bench.data
        images = self.bench.fine_tune.epochs * len(data.train)
        per_image_s = self._validation_s() / max(1, len(data.selection_images))
        return images * TRAINING * per_image_s + self._validation_s()

    def _validation_s(self) -> float:
        """Of the dense model: an upper bound of any plan's."""
        return sum(score.seconds for score in self.bench.dense.rungs)
