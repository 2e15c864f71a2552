"""How numbers are written: few digits, one unit, the same everywhere in the report."""

from __future__ import annotations

from datetime import datetime

from autoprune.domain.record import LONG, SHORT, UNTRAINED, LatencyResult, TrialRecord

RUNGS = {
    UNTRAINED: "without training",
    SHORT: "short fine-tune",
    LONG: "longer fine-tune",
}
BRANCHES = {"box": "box", "cls": "class", "task": "task"}
"""Entries of a head, as parameters call them, in words."""


def state(record: TrialRecord) -> str:
    """What became of a record, e.g. `scored without training`."""
    if record.state == "over_budget":
        return "measured over budget" if record.latency else "predicted over budget"
    return {
        "scored": "scored without training",
        "complete": "measured and fine-tuned" if record.kind != "dense" else "measured",
        "failed": "failed",
    }[record.state]


def milliseconds(value: float) -> str:
    """`4.82 ms`, three significant digits or more."""
    return f"{_milliseconds(value)} ms"


def latency(result: LatencyResult) -> str:
    """`4.82 ms (95 % interval 4.76 to 4.88)`."""
    return f"{milliseconds(result.median_ms)} ({named_interval(result)})"


def named_interval(result: LatencyResult) -> str:
    """`95 % interval 4.76 to 4.88`, or `4.76 to 4.93 over 3 processes`, which is wider."""
    if result.processes == 1:
        return f"95 % interval {interval(result)}"
    return f"{interval(result)} over {result.processes} processes"


def interval(result: LatencyResult) -> str:
    """`4.76 to 4.88`, in milliseconds."""
    return f"{_milliseconds(result.low_ms)} to {_milliseconds(result.high_ms)}"


def half_width(result: LatencyResult) -> str:
    """Half of the 95 % interval, as a share of the median: `±1.3 %`."""
    return f"±{50 * (result.high_ms - result.low_ms) / result.median_ms:.1f} %"


def speed_up(ratio: float) -> str:
    """`1.72x`, from the ratio to the dense model's latency."""
    return f"{1 / ratio:.2f}x"


def score(value: float) -> str:
    """An mAP in [0, 1]: `0.681`."""
    return f"{value:.3f}"


def points(lost: float) -> str:
    """mAP points below (or above) dense: `1.9 points below dense`."""
    if abs(lost) < 0.05:
        return "equal to dense"
    unit = "point" if f"{abs(lost):.1f}" == "1.0" else "points"
    return f"{abs(lost):.1f} {unit} {'below' if lost > 0 else 'above'} dense"


def count(value: int) -> str:
    """Parameters or multiply-accumulates: `3.01 M`, `1.24 G`, `850 k`."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 100 * size:
            return f"{value / size:.0f} {unit}"
        if value >= size:
            return f"{value / size:#.3g} {unit}"
    return str(value)


def share(value: float) -> str:
    """A share as percent with two digits or more: `1.7 %`, `0.35 %`, `12 %`."""
    percent = 100 * value
    digits = 0 if abs(percent) >= 9.95 else 1 if abs(percent) >= 0.95 else 2
    return f"{percent:.{digits}f} %"


def duration(seconds: float) -> str:
    """`48 s`, `6 min 12 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def moment(iso: str) -> str:
    """An ISO 8601 time to the minute, `2026-01-05 10:21 UTC`; other text as it is."""
    try:
        return datetime.fromisoformat(iso).strftime("%Y-%m-%d %H:%M %Z").strip()
    except ValueError:
        return iso


def short(name: str, limit: int = 26) -> str:
    """A name that fits into a legend; line breaks and the like become spaces."""
    printable = "".join(letter if letter.isprintable() else " " for letter in name)
    return printable if len(printable) <= limit else printable[: limit - 1] + "…"


def plural(number: int, thing: str) -> str:
    """`1 trial`, `3 trials`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _milliseconds(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:.0f}"
