"""What a person sees while a search runs: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.text import Text

from autoprune.record import TrialRecord
from autoprune.search.listener import SearchListener
from autoprune.study_folder import StudyFolder

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
        self.dense: TrialRecord | None = None
        self.best: TrialRecord | None = None
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

    def prepared(self, folder: StudyFolder, demo: bool) -> None:
        """Name the study, and the demo if it is used."""
        if demo:
            self.console.print(Text(self.demo_notice, style="yellow"))
        self.console.print(f"Study [bold]{escape(str(folder.root))}[/]  goal: {self.goal}")
        self.console.print(
            "ms = one forward pass at batch 1 in the runtime, without pre- and post-processing.",
            style="dim",
        )

    def say(self, text: str) -> None:
        """Print a sentence."""
        self.console.print(escape(text))

    def candidate(self, name: str, position: int | None, total: int | None) -> None:
        """Show which candidate is worked on."""
        self.title = name if position is None else f"{name} ({position}{_of(total)})"
        self.activity = ""

    def stage(self, name: str) -> None:
        """Show what is done with it."""
        self.activity = _STAGES.get(name, name)
        if not self.console.is_terminal and name in ("calibrate", "latency", "fine-tune"):
            self.console.print(f"  {self.title}: {self.activity}")

    def epoch(self, done: int, total: int) -> None:
        """Show the fine-tune's progress."""
        self.activity = f"fine-tuning, epoch {min(done + 1, total)} of {total}"

    def deadline(self, seconds: float | None) -> None:
        """Note when the search will stop by itself."""
        self.stop_at = None if seconds is None else time.monotonic() + seconds

    def result(self, record: TrialRecord, best: TrialRecord | None) -> None:
        """Print one line about a finished candidate."""
        if record.kind == "dense":
            self.dense = record
        self.best = best or self.best
        self.console.print(self._line(record, best), soft_wrap=True)

    def _line(self, record: TrialRecord, best: TrialRecord | None) -> Text:
        line = Text(f"{record.name:<14}")
        if record.latency is not None:
            latency = record.latency
            line.append(f"{latency.median_ms:7.2f} ms ")
            line.append(f"[{latency.low_ms:.2f}-{latency.high_ms:.2f}] ", style="dim")
            line.append(f"{latency.ratio:5.0%} of dense " if record.kind != "dense" else " " * 16)
        elif record.predicted_ms is not None:
            line.append(f"{record.predicted_ms:7.2f} ms predicted{'':17}")
        if record.size is not None:
            line.append(f"{record.size.params / 1e6:6.2f} M  ")
        if record.map50_95 is not None:
            line.append(f"mAP50-95 {record.map50_95:.3f}")
        elif record.untrained_map50_95 is not None:
            line.append(f"mAP50-95 {record.untrained_map50_95:.3f} untrained")
        if record.same_as is not None:
            line.append(f"  same plan as {record.same_as}", style="dim")
        elif record.state == "over_budget":
            line.append("over budget, not trained", style="dim")
        elif record.failure is not None:
            line.append(f"failed: {record.failure.reason}: {record.failure.detail}", style="red")
        elif best is not None and best.name == record.name:
            line.append("  best so far", style="bold green")
        return line

    def _status(self) -> Group:
        self.spinner.update(text=Text(f"{self.title}: {self.activity}", style="bold"))
        return Group(self.spinner, Text(self._standing(), style="dim", overflow="ellipsis"))

    def _standing(self) -> str:
        parts = []
        if self.dense is not None:
            parts.append(f"dense {_short(self.dense)}")
            best = self.best
            parts.append(f"best {best.name}: {_short(best)}" if best else "best: none yet")
        if self.stop_at is not None:
            left = max(0, int(self.stop_at - time.monotonic()))
            parts.append(f"{left // 60}:{left % 60:02d} left for trials")
        return "  |  ".join(parts)


def _of(total: int | None) -> str:
    return "" if total is None else f" of {total}"


def _short(record: TrialRecord) -> str:
    if record.map50_95 is None or record.latency is None:
        predicted_ms, untrained = record.predicted_ms or 0.0, record.untrained_map50_95 or 0.0
        return f"{predicted_ms:.2f} ms predicted, mAP50-95 {untrained:.3f} untrained"
    return f"{record.latency.median_ms:.2f} ms, mAP50-95 {record.map50_95:.3f}"
