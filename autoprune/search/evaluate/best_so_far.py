"""The best so far: published whenever it changes, so that it is there however a search ends."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from autoprune.domain.front import untrained_volume
from autoprune.domain.goal import Evidence, Standing
from autoprune.domain.progress import Moment, append_moment
from autoprune.domain.ranking import best_known
from autoprune.domain.record import TrialRecord
from autoprune.search.context.workbench import Checked, Measured
from autoprune.storage.yaml_io import write_atomic


class BestSoFar:
    """Follows the best record of a study: publishes it, and notes in progress.jsonl when it came.

    Args:
        bench: The study.
    """

    def __init__(self, bench: Measured) -> None:
        self.bench = bench
        self._shown: tuple[str, str, float] | None = None
        self._best: Standing | None = None
        self._judged: dict[int, TrialRecord] = {}  # by identity: a record never changes
        self._spent_s = sum(bench.folder.stage_seconds().values())  # in stages that are over
        self._began = time.monotonic()

    def update(self, records: Iterable[TrialRecord] | None = None) -> Standing | None:
        """Show what is best now; None where nothing is yet.

        Args:
            records: All there are; None to look at them again.
        """
        best = self._best_of(list(self.bench.records() if records is None else records))
        if best is not None:
            self.show(best)
        return best

    def _best_of(self, every: list[TrialRecord]) -> Standing | None:
        """The best known; of records judged before, only what was the best can be it.

        Of two that are equal it stays what was it first.
        """
        judged, self._judged = self._judged, {id(record): record for record in every}
        if self._best is not None and id(self._best.record) in self._judged:
            news = [record for record in every if id(record) not in judged]
            every = [self._best.record, *news]
        self._best = best_known(every, self.bench.limit)
        return self._best

    def show(self, best: Standing) -> None:
        """Publish and note a record, unless it was shown already with the same evidence."""
        shown = (best.name, best.words(), best.map50_95)
        if shown == self._shown:
            return
        publish(self.bench, best)
        self._shown = shown
        with suppress(OSError):  # a full disk: the search itself will say so
            self._note(best)

    def _note(self, best: Standing) -> None:
        folder = self.bench.folder
        if folder.shared is None:
            append_moment(folder.progress, self._moment(best))
            return
        with folder.alone(".progress.lock"):
            folder.fetch()
            append_moment(folder.progress, self._moment(best))
            folder.send(folder.progress)

    def _moment(self, best: Standing) -> Moment:
        trials, limit = self.bench.folder.trial_records(), self.bench.limit
        fresh = [record for record in trials if record.same_as is None]
        evidence: Literal["predicted", "measured", "confirmed"] = "predicted"
        if best.record.latency is not None:
            evidence = "confirmed" if best.evidence == Evidence.CONFIRMED else "measured"
        return Moment(
            at_s=self._spent_s + time.monotonic() - self._began,
            name=best.name,
            evidence=evidence,
            trained=best.trained,
            latency_ms=best.latency_ms,
            map50_95=best.map50_95,
            hypervolume=untrained_volume(fresh, limit.dense_ms, limit.dense_map or 1.0),
            scored=sum(record.untrained_map50_95 is not None for record in fresh),
            fine_tuned=sum(record.map50_95 is not None for record in fresh),
        )


def publish(bench: Checked, best: Standing | None) -> None:
    """Write best.yaml, best.pt and the exported best.onnx (or the runtime's own kind of file).

    best.yaml begins with what is known of the plan. Weights and exported file are there once it is
    fine-tuned. What an earlier best left is removed.
    """
    suffix = bench.options.row.suffix
    published = {
        "model.pt": bench.folder.best_model,
        f"model{suffix}": bench.folder.best_export(suffix),
    }
    folder = None if best is None else bench.folder.folder_of(best.record)
    if folder is None or best is None:
        bench.folder.best_plan.unlink(missing_ok=True)
    else:
        bench.folder.fetch_weights(best.record)
        if not (folder / "plan.yaml").exists():  # scored by another worker
            best.record.pruning_plan().save(folder / "plan.yaml")
        plan = (folder / "plan.yaml").read_text("utf-8")
        write_atomic(bench.folder.best_plan, f"# {described(best)}\n{plan}")
        bench.folder.send(bench.folder.best_plan)
    for name, target in published.items():
        source = None if folder is None else folder / name
        if source is not None and source.exists():
            _copy(source, target)
        else:
            target.unlink(missing_ok=True)


def described(best: Standing) -> str:
    """One line about a plan: `trial 7 (measured, fine-tuned): 4.81 ms, mAP50-95 0.712 on val`."""
    numbers = f"{best.latency_ms:.2f} ms, {best.record.metric} {best.map50_95:.3f} on val"
    return f"{best.name} ({best.words()}): {numbers}"


def _copy(source: Path, target: Path) -> None:
    draft = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, draft)
    draft.replace(target)
