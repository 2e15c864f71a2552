"""What `autoprune probe` shows: a table of options, the staircase as text, the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from autoprune.latency.runtimes import RUNTIMES, TIMING_ONLY

if TYPE_CHECKING:
    from autoprune.search.feasibility.probe import ProbeResult
    from autoprune.search.learn.stairs import IndexStairs

_BAR = 30  # characters of the longest bar


def probe_page(result: ProbeResult) -> Group:
    """Everything a probe found, ready to print."""
    place = result.dense.fingerprint
    height, width = result.imgsz
    where = (
        f"One forward pass, batch 1, {height}x{width} px, {place.runtime} {place.runtime_version},"
        f" {place.provider}, {place.precision}, {place.threads} thread(s), {place.cpu}"
    )
    return Group(
        _options(result),
        Text(where, style="dim"),
        Text(),
        _stairs_title(result),
        _stairs(result.stairs, result.dense.median_ms),
        Text(),
        Text(result.verdict.text, style="bold green" if result.verdict.good else "bold yellow"),
        *_better_runtimes(result),
        *_provisos(result),
    )


def _options(result: ProbeResult) -> Table:
    table = Table("", "ms", "95 % interval", "of dense", "M params", "channels", box=None)
    dense = result.dense
    interval = _interval(dense.low_ms, dense.high_ms)
    table.add_row("dense", f"{dense.median_ms:.2f}", interval, "100%")
    for option in result.verdict.options:
        latency = option.latency
        table.add_row(
            escape(option.name),
            f"{latency.median_ms:.2f}",
            _interval(latency.low_ms, latency.high_ms),
            f"{latency.ratio:.0%}",
            f"{option.params / 1e6:.2f}",
            "" if option.removed is None else f"-{option.removed:.0%}",
        )
    for each in result.runtimes:
        if each.latency is not None:
            name = f"dense, {each.name} {each.latency.fingerprint.runtime_version}"
            table.add_row(
                escape(f"{name} {each.precision}"),
                f"{each.latency.median_ms:.2f}",
                _interval(each.latency.low_ms, each.latency.high_ms),
                f"{each.latency.median_ms / dense.median_ms:.0%}",
            )
    return table


def _interval(low: float, high: float) -> str:
    return f"{low:.2f} - {high:.2f}"


def _stairs_title(result: ProbeResult) -> Text:
    index = result.stairs.name.removeprefix("keep_")
    counted = f"channels count in blocks of {result.block} on this target"
    return Text(
        f"The staircase: predicted latency by the width of index {index}, all else dense; {counted}"
        f" (predictions miss by {result.error.mape:.1%} on average)."
    )


def _stairs(stairs: IndexStairs, dense_ms: float) -> Table:
    """One row per width: what the whole model takes, as a bar too, and what is wasted."""
    table = Table("width", "ms", "", "", box=None)
    lowest, highest = min(stairs.ratios), max(stairs.ratios)
    span = max(highest - lowest, 1e-9)
    for width, ratio, wasted in reversed(
        list(zip(stairs.widths, stairs.ratios, stairs.wasted, strict=True))
    ):
        bar = "#" * (1 + round((_BAR - 1) * (ratio - lowest) / span))
        on_step = width in stairs.steps
        note = "step" if on_step else f"wasted: {width + wasted:.0f} cost the same"
        style = "bold" if on_step else "dim"
        table.add_row(str(width), f"{ratio * dense_ms:.2f}", bar, note, style=style)
    return table


def _better_runtimes(result: ProbeResult) -> list[Text]:
    """Runtimes that meet the limit, or are clearly faster, without any pruning."""
    said = []
    for each in result.runtimes:
        found = each.latency
        if found is None:
            continue
        ask = f"--runtime {each.name}"
        if result.limit_ms is not None and found.high_ms <= result.limit_ms < result.dense.high_ms:
            said.append(f"{ask} meets the limit without pruning: {found.median_ms:.2f} ms.")
        elif found.high_ms < result.dense.low_ms:
            share = found.median_ms / result.dense.median_ms
            said.append(f"{ask} runs the dense model in {share:.0%} of the time.")
    return [Text(line, style="bold") for line in said]


def _provisos(result: ProbeResult) -> list[Text]:
    """What the numbers above do not say."""
    said = ["Latency only: what accuracy it costs takes a search to find out."]
    if result.verdict.kind == "no goal":
        said.append("Give --budget-ms or --speedup for a verdict.")
    if any(option.kind == "plan" for option in result.verdict.options):
        said.append("Channels of the plan are ranked by weights alone (l2_bn), without data.")
    if result.verdict.stock_export is not None:
        said.append(
            "The stock export is the dense model without autoprune's rewrites of its graph."
        )
    if not all(
        each.steady for each in (result.dense, *(o.latency for o in result.verdict.options))
    ):
        said.append("Some intervals are wide: a busy machine, or too short a look.")
    if result.runtimes:
        said.append("Other runtimes are timed one after the other, not interleaved with dense.")
    timed = [result.dense, *(each.latency for each in result.runtimes if each.latency)]
    rows = [RUNTIMES.known(each.fingerprint.runtime) for each in timed]
    if quantized := [row.name for row in rows if row is not None and row.quantize is not None]:
        said.append(f"{' and '.join(quantized)} timed in {TIMING_ONLY}.")
    said += [f"Not timed: {each.missing}" for each in result.runtimes if each.missing]
    return [Text(line, style="dim") for line in said]
