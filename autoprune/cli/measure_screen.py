"""What `autoprune measure` prints: a table of latencies, or how far to trust them here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table

from autoprune.domain.record import LASTING_CHANGE_ALLOWED, Fingerprint, LatencyResult
from autoprune.latency.self_test import Trustworthiness, smallest_difference


def latency_page(results: Mapping[str, LatencyResult]) -> RenderableType:
    """One row per file; the first is the reference."""
    table = Table("model", "ms", "95 % interval", "of the first", "steady", box=None)
    for position, (file, latency) in enumerate(results.items()):
        share = f"{latency.ratio:.1%} ({latency.ratio_low:.1%} - {latency.ratio_high:.1%})"
        table.add_row(
            Path(file).name,
            f"{latency.median_ms:.3f}",
            f"{latency.low_ms:.3f} - {latency.high_ms:.3f}",
            share if position else "100%",
            _steadiness(latency),
        )
    return Group(table, _how(next(iter(results.values())).fingerprint))


def trust_page(tested: tuple[Trustworthiness, ...]) -> RenderableType:
    """One row per known difference, and the smallest that can be told apart."""
    table = Table(
        "really slower by",
        "measured, median",
        "largest error",
        "called different",
        "interval right",
        box=None,
    )
    for each in tested:
        count = len(each.results)
        ratios = sorted(result.ratio for result in each.results)
        table.add_row(
            f"{each.burden:.0%}" if each.burden else "0% (itself)",
            f"{ratios[count // 2] - 1:+.2%}",
            f"{max(map(abs, each.errors)):.2%}",
            f"{each.found} of {count}",
            f"{each.covered} of {count}",
        )
    first = tested[0].results[0]
    changed = sum(not result.steady for each in tested for result in each.results)
    said = [f"Smallest difference found 19 times of 20 here: {smallest_difference(tested):.1%}."]
    if changed:
        said.append(f"{changed} of the measurements were not steady: the machine is busy.")
    said.append(f"One run of the model takes {first.dense_ms:.3f} ms. {_how(first.fingerprint)}")
    return Group(table, *said)


def _steadiness(latency: LatencyResult) -> str:
    if latency.steady:
        return "yes"
    if latency.lasting_change > LASTING_CHANGE_ALLOWED:
        return f"no: the machine's speed changed by {latency.lasting_change:.0%}"
    return "no: the machine is busy"


def _how(mark: Fingerprint) -> str:
    return (
        f"One forward pass, batch 1, {mark.imgsz[0]}x{mark.imgsz[1]} px, {mark.runtime}"
        f" {mark.runtime_version}, {mark.provider}, {mark.precision}, {mark.threads} thread(s),"
        f" {mark.cpu}"
    )
