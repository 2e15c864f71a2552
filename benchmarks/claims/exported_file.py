"""Claim: the exported file is faster than Ultralytics' own, with the same numbers.

    python benchmarks/claims/exported_file.py [--models yolov8n ...] [--imgsz 320 640]
        [--ratios 0 0.5] [--threads 1 2] [--runtime onnxruntime] [--each]

The demo's checkpoint at 192 px and stock models are exported without rewrites, as autoprune exports
for the runtime, and by Ultralytics, not simplified and simplified (where onnxslim is installed);
with --each also with each rewrite alone and with all of them. All files are timed interleaved in
one process. Pruned models lose the same share of channels at every index, rounded to 8: latency
depends on shapes alone, so nothing is trained.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import checkout  # noqa: F401
import torch
from rich.console import Console
from rich.table import Table

from autoprune.api.pruning import prune_detection_model
from autoprune.demo.bundle import demo_checkpoint
from autoprune.domain.record import LatencyResult
from autoprune.evaluation.checkpoint import load_yolo
from autoprune.evaluation.quiet import prepare_environment, quiet
from autoprune.latency.export import ExportedModel, export_model, folded
from autoprune.latency.local_target import LocalTarget
from autoprune.latency.measure import compare
from autoprune.latency.options import RuntimeOptions, TimingSettings
from autoprune.latency.rewrites import REWRITES, rewrite_in_place
from benchmarks.lib.provenance import provenance, save_results

ROUND_TO = 8
DEMO_PX = 192
BASE = "without rewrites"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--models", nargs="*", default=["yolov8n"])
    arguments.add_argument("--imgsz", nargs="+", type=int, default=[640])
    arguments.add_argument("--ratios", nargs="+", type=float, default=[0.0, 0.5])
    arguments.add_argument("--threads", nargs="+", type=int, default=[1])
    arguments.add_argument("--runtime", default="onnxruntime")
    arguments.add_argument("--seconds", type=float, default=20.0, help="per measurement, at most")
    arguments.add_argument("--each", action="store_true", help="each rewrite alone, too")
    arguments.add_argument("--save", action="store_true", help="write the results file")
    asked = arguments.parse_args()
    prepare_environment()
    console = Console()
    made = provenance("torch", "ultralytics", "onnxruntime")
    cases = [(str(demo_checkpoint()), DEMO_PX)]
    cases += [(f"{name}.yaml", side) for name in asked.models for side in asked.imgsz]
    rows: list[dict[str, Any]] = []
    for model, side in cases:
        for ratio in asked.ratios:
            with tempfile.TemporaryDirectory() as folder:
                files = dict(exported(model, ratio, (side, side), asked, Path(folder)))
                for threads in asked.threads:
                    options = RuntimeOptions(asked.runtime, (side, side), threads)
                    rows.append(
                        {"model": Path(model).stem, "imgsz": side, "ratio": ratio}
                        | {"threads": threads, "files": timed(files, options, asked.seconds)}
                    )
                    show(rows[-1], console)
            if asked.save:
                content = {"claim": "exported file", "runtime": asked.runtime, "rows": rows, **made}
                console.print(f"written: {save_results('exported_file', content).name}")


def exported(
    model: str, ratio: float, imgsz: tuple[int, int], asked: argparse.Namespace, folder: Path
) -> Iterator[tuple[str, ExportedModel]]:
    """What is compared -> its file."""
    runtime = asked.runtime
    yolo = load_yolo(model)
    if ratio:
        yolo = prune_detection_model(yolo, ratio, round_to=ROUND_TO)
    ours = export_model(yolo.model, folder / f"ours{suffix(runtime)}", imgsz, runtime)
    write = dict(RuntimeOptions(runtime, imgsz).row.writers)[ours.exporter]
    alone = {f"{row.name} alone": (row,) for row in REWRITES}
    choices = {BASE: ()} | (alone | {"all rewrites": REWRITES} if asked.each else {})
    for name, rewrites in choices.items():
        path = folder / f"{name.replace(' ', '_')}{suffix(runtime)}"
        with quiet(folder / "log.txt"), torch.no_grad():
            write(rewrite_in_place(folded(yolo.model), rewrites), torch.rand(1, 3, *imgsz), path)
        yield name, replace(ours, path=path)
    yield "as exported", ours
    if runtime != "onnxruntime":
        return
    for simplify in (False, True):
        if simplify and importlib.util.find_spec("onnxslim") is None:
            continue
        name = f"ultralytics{', simplified' if simplify else ''}"
        weights = folder / f"{name.replace(', ', '_')}.pt"
        with quiet(folder / "log.txt"):
            yolo.save(weights)
            path = load_yolo(weights).export(
                format="onnx", simplify=simplify, imgsz=list(imgsz), device="cpu"
            )
        yield name, ExportedModel.of_file(Path(path), imgsz)


def suffix(runtime: str) -> str:
    return RuntimeOptions(runtime, (64, 64)).row.suffix


def timed(
    files: dict[str, ExportedModel], options: RuntimeOptions, seconds: float
) -> dict[str, dict[str, Any]]:
    """What is compared -> its time and its ratio to the file without rewrites."""
    settings = replace(TimingSettings(), dense_s=seconds / 2, cap_s=seconds)
    results = compare(LocalTarget(), list(files.values()), options, settings)
    return {name: told(result) for name, result in zip(files, results, strict=True)}


def told(result: LatencyResult) -> dict[str, Any]:
    return {
        "ms": result.median_ms,
        "ratio": result.ratio,
        "low": result.ratio_low,
        "high": result.ratio_high,
        "steady": result.steady,
    }


def show(row: dict[str, Any], console: Console) -> None:
    pruned = f", {row['ratio']:.0%} of the channels removed" if row["ratio"] else ""
    title = f"{row['model']} at {row['imgsz']} px{pruned}, {row['threads']} thread(s)"
    table = Table("file", "ms", "ratio", "95 %", "", title=title)
    for name, found in row["files"].items():
        interval = f"{found['low']:.3f} to {found['high']:.3f}"
        table.add_row(
            name,
            f"{found['ms']:.2f}",
            f"{found['ratio']:.3f}",
            interval,
            "" if found["steady"] else "not steady",
        )
    console.print(table)


if __name__ == "__main__":
    main()
