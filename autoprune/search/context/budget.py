"""Budget: the one clock of a search. It says when a stage must end and what may still begin."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from autoprune.domain.stages import STAGES, Stage


class Budget:
    """Shares the time limit of a search between its stages.

    When a stage opens, the time left is divided between it and the stages still to come by their
    shares: what earlier ones did not use goes to all of these, what they used too much comes off
    all of them. A stage that is known to need a least time (its floor) gets more than its share,
    if that leaves the later ones their floors; the floors of stages that always come are kept free.

    The promise: no unit of work begins that, by what one costs here, would end after its stage's
    time. A unit that is owed (the first trial, the first fine-tune) begins even so, until only what
    always comes still fits in. So a search ends within its limit and one unit.

    Args:
        limit_s: Seconds from `began` on; None for no limit.
        began: When the limit began to count, by `now`; at once if left out.
        stages: In order.
        now: The clock, in seconds; tests bring their own.
    """

    def __init__(
        self,
        limit_s: float | None,
        began: float | None = None,
        stages: Sequence[Stage] = STAGES,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.now = now
        self._stages = tuple(stages)
        self._floors_s: dict[str, float] = {}
        self.began = now() if began is None else began
        self.ends = math.inf if limit_s is None else self.began + limit_s

    @property
    def limited(self) -> bool:
        """Whether there is a time limit at all."""
        return math.isfinite(self.ends)

    def left_s(self) -> float:
        """Seconds until the limit, at least 0; infinite without one."""
        return max(0.0, self.ends - self.now())

    def expect(self, stage: Stage, seconds: float) -> None:
        """Note that a stage will need at least so long; the most that was noted counts."""
        self._floors_s[stage.name] = max(seconds, self._floors_s.get(stage.name, 0.0))

    def open(self, stage: Stage) -> Allowance:
        """Begin a stage: give it its share of the time that is left now."""
        if not self.limited:
            return Allowance(self, math.inf, math.inf)
        later = self._stages[self._stages.index(stage) + 1 :]
        left_s, shares = self.left_s(), stage.share + sum(each.share for each in later)
        fair_s = left_s * stage.share / shares if shares else left_s
        more_s = min(self._floor_s(stage), left_s - sum(map(self._floor_s, later)))
        kept_free_s = sum(self._floor_s(each) for each in later if each.always)
        given_s = max(0.0, min(max(fair_s, more_s), left_s - kept_free_s))
        return Allowance(self, self.now() + given_s, self.ends - kept_free_s)

    def _floor_s(self, stage: Stage) -> float:
        return self._floors_s.get(stage.name, 0.0)


class Allowance:
    """What one stage may use of the time.

    Args:
        budget: The clock it belongs to.
        ends: When the stage is to be over.
        latest: When a unit that is owed may begin at the latest.
    """

    def __init__(self, budget: Budget, ends: float, latest: float) -> None:
        self.budget, self.ends, self.latest = budget, ends, latest

    def part(self, share: float) -> Allowance:
        """A share of what is left of the stage's time, for a part of the stage; nothing is owed."""
        ends = self.budget.now() + share * self.left_s()
        return Allowance(self.budget, ends, ends)

    def left_s(self) -> float:
        """Seconds left of the stage's time, at least 0; infinite without a limit."""
        return max(0.0, self.ends - self.budget.now())

    def allows(self, cost_s: float, *, owed: bool = False) -> bool:
        """Whether a unit of work may begin.

        Args:
            cost_s: What one costs here, by those so far; 0 where none was made.
            owed: Something has to come of this stage, even beyond its own time.
        """
        return self.left_s() > cost_s or (owed and self.budget.now() < self.latest)
