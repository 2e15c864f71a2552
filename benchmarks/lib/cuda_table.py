"""How benchmarks/README.md shows `results/cuda.json`."""

from __future__ import annotations

from typing import Any

from benchmarks.lib.markdown_table import table

Row = dict[str, Any]


def render(content: dict[str, Any]) -> str:
    """The card's name, a table of latencies, a list of the other parts, and what failed."""
    parts: dict[str, Row] = content["parts"]
    facts: Row = {}
    for row in _rows(parts, "environment"):
        facts |= row
    card = facts.get("card", "no GPU: a small run that shows only that all of it runs")
    versions = [*facts.get("versions", {}).items()]
    versions += [(name, facts.get(key)) for name, key in (("CUDA", "cuda"), ("driver", "driver"))]
    shown = ", ".join(f"{name} {number}" for name, number in versions if number)
    said = [f"**{card}** ({shown})."]
    if timed := [row for row in _rows(parts, "latency") if "ms" in row]:
        said += [
            "One forward pass of the exported model in torch, ms; in brackets how far an output is"
            " from the CPU's in float32, as a share of a channel's largest value.",
            _latencies(timed),
        ]
    lines = [*_measured(parts), *_trained(parts), *_searched(parts), *_others(parts)]
    said.append("\n".join(f"- {line}" for line in lines))
    broken = {name: part["error"] for name, part in parts.items() if "error" in part}
    failed = [f"- {name}: {_first_line(error)}" for name, error in broken.items()]
    failed += [
        f"- {name}: {row.get('model', '')} {row.get('way') or row.get('runtime', '')}:"
        f" {_first_line(row['error'])}"
        for name in parts
        for row in _rows(parts, name)
        if "error" in row
    ]
    if failed:
        said += ["What failed:", "\n".join(failed)]
    return "\n\n".join(said)


def _rows(parts: dict[str, Row], name: str) -> list[Row]:
    rows: list[Row] = parts.get(name, {}).get("rows", [])
    return rows


def _latencies(rows: list[Row]) -> str:
    models = list(dict.fromkeys((row["model"], row["width"], row["imgsz"]) for row in rows))
    ways = list(dict.fromkeys(row["way"] for row in rows))
    known = {(row["model"], row["width"], row["way"]): row for row in rows}

    def cell(model: str, width: str, way: str) -> str:
        row = known.get((model, width, way))
        return "-" if row is None else f"{row['ms']:.3f} ({row['apart']:.0e})"

    header = ("", *(f"{model} {width}, {side} px" for model, width, side in models))
    return table(header, [(way, *(cell(*each[:2], way) for each in models)) for way in ways])


def _measured(parts: dict[str, Row]) -> list[str]:
    lines = []
    for row in _rows(parts, "measure"):
        if "ms" in row:
            lines.append(
                f"measured by autoprune: {row['model']}, {row['runtime']} {row['precision']},"
                f" {row['ms']:.3f} ms, pruned by half {row['half_ratio']:.3f} of it"
                + ("" if row["steady"] else ", not steady")
            )
        elif "self_test" in row:
            rounds, found = row["rounds"], row["found"].items()
            shown = ", ".join(f"{key}: {count} of {rounds}" for key, count in found)
            lines.append(
                f"against itself made slower by a share, called different: {shown}; smallest"
                f" difference found 19 times of 20: {row['smallest_difference']:.1%}"
            )
    return lines


def _trained(parts: dict[str, Row]) -> list[str]:
    lines = []
    for row in [*_rows(parts, "training"), *_rows(parts, "calibration")]:
        if "covariance_apart" in row:
            lines.append(
                f"covariances differ from the CPU's by {row['median']:.1%} in the median,"
                f" {row['covariance_apart']:.1%} at most ({row['of']}; other patches are drawn)"
            )
            continue
        what = row.get("step") or f"calibrate {row['model']} at {row['imgsz']} px"
        about = [f"{row['images']} images"] if "images" in row else []
        about += [f"distill={row['distill']}"] if "distill" in row else []
        about += [f"mAP50-95 {row['map50_95']:.4f}"] if "map50_95" in row else []
        about.append(f"{row['seconds']} s")
        lines.append(f"{what}, {row['device']}: {', '.join(about)}")
    return lines


def _searched(parts: dict[str, Row]) -> list[str]:
    return [
        f"search of the demo: {row['trials']} trials, dense {row['dense_ms']:.3f} ms, stopped by"
        f" {row['outcome'].get('stopped_by')}; {len(row['failures'])} trials failed"
        for row in _rows(parts, "search")
    ]


def _others(parts: dict[str, Row]) -> list[str]:
    lines = [f"tests for a GPU: {row['summary'] or row['status']}" for row in _rows(parts, "tests")]
    lines += [
        f"latency predictor, {row['model']} at {row['imgsz']} px in torch: off by"
        f" {row['mape']:.1%} on {row['unseen']} plans, learned from {row['plans']}; blocks of"
        f" {row['block']}, aligned to {row['align']}"
        for row in _rows(parts, "predictor")
    ]
    return lines


def _first_line(error: str) -> str:
    """The first line, and the last where there are more: where a traceback says what it was."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    shown = lines[0] if len(lines) < 2 else f"{lines[0]}: {lines[-1]}"
    return shown[:200].replace("|", "\\|")
