"""What a person sees while a search runs: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.text import Text

from autoprune.domain.goal import Standing
from autoprune.domain.record import TrialRecord
from autoprune.domain.stages import STAGES, Stage
from autoprune.search.context.listener import SearchListener
from autoprune.storage.study_folder import StudyFolder

_STAGES = {
    "calibrate": "learning what each channel is worth",
    "prune": "pruning",
    "latency": "measuring latency",
    "recalibrate": "recalibrating batch norm",
    "fine-tune": "fine-tuning",
    "validate": "validating",
}


class Screen(SearchListener):
    """Follows a search. Use as a context manager."""

    def __init__(self, goal: str, demo_notice: str) -> None:
        # Its own reference to the stream: sys.stdout is redirected while Ultralytics works.
        self.console = Console(file=sys.stdout, highlight=False)
        self.goal, self.demo_notice = goal, demo_notice
        self.study: Path | None = None
        self.dense: TrialRecord | None = None
        self.best: Standing | None = None
        self.step = ""
        self.title, self.activity = "starting", ""
        self.stop_at: float | None = None
        self.spinner = Spinner("dots")
        self.live = Live(
            console=self.console,
            get_renderable=self._status,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Screen:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def prepared(self, folder: StudyFolder, demo: bool, metric: str) -> None:
        """Name the study, the demo if it is used, and the main metric of the model's task."""
        self.study = folder.root
        if demo:
            self._print(Text(self.demo_notice, style="yellow"))
        self._print(f"Study [bold]{escape(str(folder.root))}[/]")
        self._print(f"Goal: {self.goal}")
        self._print("[dim]ms: one forward pass, batch 1, without pre- and post-processing[/]")
        self._print(f"[dim]mAP: {metric} on val; %: of the dense latency[/]")

    def say(self, text: str) -> None:
        """Print a sentence."""
        self._print(escape(text))

    def candidate(self, name: str, position: int | None, total: int | None) -> None:
        """Show which candidate is worked on."""
        self.title = name if position is None else f"{name} ({position}{_of(total)})"
        self.activity = ""

    def stage(self, name: str) -> None:
        """Show what is done with it."""
        self.activity = _STAGES.get(name, name)
        if not self.console.is_terminal and name in ("calibrate", "fine-tune"):  # what takes long
            self._print(f"  {escape(self.title)}: {self.activity}")

    def epoch(self, done: int, total: int) -> None:
        """Show the fine-tune's progress."""
        self.activity = f"fine-tuning, epoch {min(done + 1, total)} of {total}"

    def deadline(self, seconds: float | None) -> None:
        """Note when the search will stop by itself."""
        self.stop_at = None if seconds is None else time.monotonic() + seconds

    def begins(self, stage: Stage) -> None:
        """Show how far the search is."""
        self.step = f"{STAGES.index(stage) + 1} of {len(STAGES)}: {stage.does}"

    def result(self, record: TrialRecord, best: Standing | None) -> None:
        """Print one line about a finished candidate."""
        if record.kind == "dense":
            self.dense = record
        self.best = best or self.best
        self.console.print(self._line(record, best), soft_wrap=True)

    def _print(self, text: Text | str) -> None:
        """Wrap between words on a terminal; lines of a log stay whole."""
        self.console.print(text, soft_wrap=not self.console.is_terminal)

    def _line(self, record: TrialRecord, best: Standing | None) -> Text:
        """One candidate in columns that fit 80 characters."""
        line = Text(f"{record.name:<16}")
        line.append(f"{_latency(record):<24}", style="" if record.latency else "dim")
        line.append(f"{self._of_dense(record):>4} ")
        line.append(f"{record.size.params / 1e6:5.2f} M  " if record.size else "")
        if record.same_as is not None:
            line.append(f"same plan as {record.same_as}", style="dim")
        elif record.state == "over_budget":
            line.append("over budget, not trained", style="dim")
        elif record.failure is not None:
            line.append(f"failed: {record.failure.reason}: {record.failure.detail}", style="red")
        else:
            line.append(_accuracy(record))
            if record.taken_from is not None:
                line.append(f", in {record.taken_from}", style="dim")
            if best is not None and best.name == record.name:
                line.append("  best", style="bold green")
        return line

    def _of_dense(self, record: TrialRecord) -> str:
        if record.kind == "dense" or self.dense is None or self.dense.latency is None:
            return ""
        if record.latency is not None:
            return f"{record.latency.ratio:.0%}"
        if record.predicted_ms is not None:
            return f"{record.predicted_ms / self.dense.latency.median_ms:.0%}"
        return ""

    def _status(self) -> Group:
        self.spinner.update(text=Text(f"{self.title}: {self.activity}", style="bold"))
        return Group(self.spinner, Text(self._standing(), style="dim", overflow="ellipsis"))

    def _standing(self) -> str:
        parts = [self.step] if self.step else []
        if self.stop_at is not None:
            left = max(0, int(self.stop_at - time.monotonic()))
            parts.append(f"{left // 60}:{left % 60:02d} left")
        if self.dense is not None:
            best = self.best
            found = f"{best.name} ({best.evidence.words()}): {_short(best.record)}" if best else ""
            parts.append(found or "none within the goal yet")
            parts.append(f"dense: {_short(self.dense)}")
        return " | ".join(parts)


def _of(total: int | None) -> str:
    return "" if total is None else f" of {total}"


def _latency(record: TrialRecord) -> str:
    if record.latency is not None:
        result = record.latency
        return f"{result.median_ms:7.2f} ms [{result.low_ms:.2f}-{result.high_ms:.2f}]"
    return "" if record.predicted_ms is None else f"{record.predicted_ms:7.2f} ms predicted"


def _accuracy(record: TrialRecord) -> str:
    """The mAP and the training it is of: never one without the other."""
    if record.kind == "dense":
        return "" if record.map50_95 is None else f"mAP {record.map50_95:.3f}"
    if record.map50_95 is not None:
        how = "as pruned" if record.untrained_kept else "fine-tuned"  # which made it no better
        return f"mAP {record.map50_95:.3f} {how}"
    untrained = record.untrained_map50_95
    return "" if untrained is None else f"mAP {untrained:.3f} untrained"


def _short(record: TrialRecord) -> str:
    ms = record.latency.median_ms if record.latency else record.predicted_ms or 0.0
    sign = "" if record.latency else "~"
    return f"{sign}{ms:.2f} ms {_accuracy(record)}"
