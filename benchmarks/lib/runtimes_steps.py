"""The steps of `claims/runtimes_table.py`, and how the page shows what they found."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from autoprune.storage.yaml_io import write_atomic
from benchmarks.lib import cheapest_plans as cheapest
from benchmarks.lib.cheapest_plans import CHEAPEST, cheapest_plans
from benchmarks.lib.markdown_table import table

MODELS = {"demo": 192, "yolov8s": 320}  # name -> image size in pixels
DENSE = "dense"
PROBE_S = 70.0  # of one, its learning cut short; every plan is timed by itself afterwards
Rows = list[dict[str, Any]]


def file_of(folder: Path, step: list[str]) -> Path:
    """Where a step leaves what it found."""
    return folder / f"{'-'.join(step)}.json"


def run(folder: Path, step: list[str], search_s: float) -> None:
    """Do one step and keep what it found."""
    kind, model, *more = step
    if kind == "plan":
        share, runtime = float(more[0]), more[1]
        found = (
            _searched(folder, share, runtime, search_s)
            if model == "demo"
            else _probed(folder, model, share, runtime)
        )
    elif kind == CHEAPEST:
        found = cheapest_plans(folder, MODELS[model])
    elif kind == "times":
        found = _times(folder, model, more[0])
    else:
        found = _scores(folder, more[0], more[1])
    write_atomic(file_of(folder, step), json.dumps(found, indent=1) + "\n")


def plan_file(folder: Path, model: str, share: str, runtime: str) -> Path:
    """Where the plan lies that was found for a share and a runtime; the weights beside it."""
    return folder / "plans" / f"{model}-{share}-{runtime}.yaml"


def _searched(folder: Path, share: float, runtime: str, search_s: float) -> dict[str, Any]:
    """A search of the demo as a user runs it; its best plan and weights are kept."""
    from benchmarks.claims.first_run import PROGRAM, ROOT
    from benchmarks.lib.first_run import read_run

    studies = folder / "studies" / f"{share:g}-{runtime}"
    began = datetime.now(timezone.utc)
    asked = ["--runtime", runtime, "--speedup", f"{1 / share:.4f}", "--timeout", f"{search_s:g}"]
    command = [sys.executable, "-c", PROGRAM, "search", *asked, "--studies", str(studies)]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL)
    (study,) = studies.iterdir()
    plan = plan_file(folder, "demo", f"{share:g}", runtime)
    plan.parent.mkdir(exist_ok=True)
    if (study / "best.yaml").exists():
        plan.write_text((study / "best.yaml").read_text())
    if (study / "best.pt").exists():
        plan.with_suffix(".pt").write_bytes((study / "best.pt").read_bytes())
    found = read_run(studies, began)
    return {"exit_code": done.returncode} | {
        key: found[key] for key in ("dense", "best", "uniform", "scored", "fine_tuned")
    }


def _probed(folder: Path, model: str, share: float, runtime: str) -> dict[str, Any]:
    """The plan that a probe finds for a share; nothing where pruning cannot reach it."""
    import yaml

    from autoprune import api
    from autoprune.search.feasibility import alternatives, probe

    limit_s = min(probe.LIMIT_S, PROBE_S)
    plans_alone = partial(alternatives.timed_options, worth=lambda cost_s: False)
    with (  # what could be run instead is not timed: the table is of plans
        patch.object(probe, "LIMIT_S", limit_s),
        patch.object(probe, "timed_options", plans_alone),
        patch.object(probe, "other_runtimes", lambda *_: ()),
        patch.object(probe, "likely_here", lambda options: 0),
        patch.object(probe, "SIBLINGS", 0),
        patch.object(probe, "SIZES", 0),
        tempfile.TemporaryDirectory() as scratch,
    ):
        file = Path(scratch) / f"{model}.yaml"
        file.write_text(_recipe(model))
        probed = api.probe(file, speedup=1 / share, imgsz=MODELS[model], runtime=runtime)
    options = [each for each in probed.verdict.options if each.kind == "plan"]
    if options and options[0].plan is not None:
        plan = plan_file(folder, model, f"{share:g}", runtime)
        plan.parent.mkdir(exist_ok=True)
        plan.write_text(yaml.safe_dump(options[0].plan))
    return {
        "verdict": probed.verdict.kind,
        "block": probed.block,
        "mape": probed.error.mape,
        "ratio": options[0].latency.ratio if options else None,
    }


def _recipe(model: str) -> str:
    import ultralytics

    found = Path(ultralytics.__file__).parent.rglob(f"{model.rstrip('nsmlx')}.yaml")
    return next(found).read_text()


def _modules(folder: Path, model: str, wanted: str = "*") -> dict[str, Any]:
    """Label -> module: the dense model and every plan found so far, with its weights if trained."""
    from autoprune.evaluation.quiet import prepare_environment

    prepare_environment()
    import torch
    from ultralytics.nn.tasks import DetectionModel

    from autoprune.demo.bundle import demo_checkpoint
    from autoprune.domain.plan import PruningPlan
    from autoprune.evaluation.checkpoint import load_yolo
    from autoprune.pruning.prune import Pruner

    torch.manual_seed(0)
    if model == "demo":
        dense = load_yolo(demo_checkpoint()).model
    else:
        dense = DetectionModel(f"{model}.yaml", verbose=False).eval()
    found, pruner = {DENSE: dense}, Pruner(dense, "l2_bn")
    for file in sorted((folder / "plans").glob(f"{model}-{wanted}.yaml")):
        label = file.stem.removeprefix(f"{model}-")
        weights = file.with_suffix(".pt")
        found[label] = (
            load_yolo(weights).model if weights.exists() else pruner.prune(PruningPlan.load(file))
        )
    return found


def _times(folder: Path, model: str, runtime: str) -> dict[str, Any]:
    """Dense and all plans in one runtime, interleaved in one process."""
    from autoprune.latency.export import export_model
    from autoprune.latency.local_target import LocalTarget
    from autoprune.latency.measure import compare
    from autoprune.latency.options import RuntimeOptions

    size = (MODELS[model], MODELS[model])
    options = RuntimeOptions(runtime, size)
    modules = _modules(folder, model)
    with tempfile.TemporaryDirectory() as scratch:
        exported = [
            export_model(one, Path(scratch) / label / f"m{options.row.suffix}", size, runtime)
            for label, one in modules.items()
        ]
        timed = compare(LocalTarget(), exported, options)
    return {
        label: {"ms": one.median_ms, "ratio": one.ratio, "low": one.ratio_low,
                "high": one.ratio_high, "steady": one.steady}
        for label, one in zip(modules, timed, strict=True)
    }  # fmt: skip


def _scores(folder: Path, label: str, runtime: str) -> dict[str, Any]:
    """mAP of one model of the demo on val: torch's in float, and its file's."""
    from autoprune.demo.dataset import demo_data_yaml
    from autoprune.evaluation.dataset import inspect_data
    from autoprune.evaluation.pictures import Pictures, sampled
    from autoprune.evaluation.validate import validate
    from autoprune.evaluation.validate_file import validate_answers
    from autoprune.latency.answers import local_answers
    from autoprune.latency.export import export_model
    from autoprune.latency.options import RuntimeOptions
    from autoprune.latency.quantizing import IMAGES, Quantizing
    from autoprune.latency.runner import describe_machine

    module, size = _modules(folder, "demo", label)[label], (MODELS["demo"],) * 2
    data = inspect_data(demo_data_yaml())
    pictures = Pictures(sampled(data.train, IMAGES, 0), size, data.channels)
    quantizing = Quantizing(pictures, bool(describe_machine()["int8"]))
    options = RuntimeOptions(runtime, size)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / f"m{options.row.suffix}"
        exported = export_model(module, path, size, runtime, quantizing=quantizing)
        with local_answers(exported, options) as answers:
            of_file = validate_answers(module, answers, data, data.val, size)
    in_float = validate(module, data, data.val, size)
    return {"float": in_float.map50_95, "file": of_file.map50_95, "images": of_file.images}


def collected(
    folder: Path, models: list[str], shares: list[float], runtimes: list[str]
) -> dict[str, Any]:
    """What the steps found: a row per model, share, plan and runtime; None for what is missing."""

    def found(*step: str) -> dict[str, Any]:
        file = file_of(folder, list(step))
        content: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        return content

    rows: Rows = []
    for model in models:
        times = {runtime: found("times", model, runtime) for runtime in runtimes}
        cases = [(1.0, None, DENSE)] + [
            (share, runtime, f"{share:g}-{runtime}") for share in shares for runtime in runtimes
        ]
        for share, found_for, label in cases:
            for runtime in runtimes:
                timed = times[runtime].get(label)
                if timed is not None:
                    scores = found("scores", model, label, runtime)
                    rows.append(
                        {"model": model, "share": share, "found_for": found_for,
                         "runtime": runtime, **timed, "float_map": scores.get("float"),
                         "file_map": scores.get("file")}
                    )  # fmt: skip
    plans = {
        f"{model} {share:g} {runtime}": step
        for model in models
        for share in shares
        for runtime in runtimes
        if (step := found("plan", model, f"{share:g}", runtime))
    }
    times = {runtime: found("times", "demo", runtime) for runtime in runtimes}
    before_trials = cheapest.rows_of(found(CHEAPEST, "demo"), times, shares)
    return {"rows": rows, "plans": plans, CHEAPEST: before_trials}


def render(content: dict[str, Any]) -> str:
    """Two tables: each runtime with its own plan; every plan in every runtime."""
    rows: Rows = content["rows"]
    runtimes: list[str] = content["runtimes"]
    own = [
        (
            row["model"],
            DENSE if row["found_for"] is None else f"{row['share']:g}",
            row["runtime"],
            f"{row['ms']:.2f}",
            f"{row['ratio']:.3f} ({row['low']:.3f} to {row['high']:.3f})",
            _map(row["float_map"]),
            _map(row["file_map"]),
            _tried(content["plans"], row),
        )
        for row in rows
        if row["found_for"] in (None, row["runtime"])
    ]
    parts = [
        f"The demo (192 px) was searched for {content['search_s']:g} s for each runtime and share"
        " (a later search of a runtime knows its predictor);"
        " yolov8s (320 px) has random weights and the plans of `autoprune probe`. One thread, all"
        " models of a runtime interleaved in one process; in brackets the 95 % interval. mAP50-95"
        " on val: of torch in float, and of the file through its runtime.",
        table(
            (
                "model",
                "share asked for",
                "runtime",
                "ms",
                "of dense",
                "float mAP",
                "the file's",
                "plans scored, fine-tuned",
            ),
            own,
        ),
        "Each plan in every runtime, as a share of the dense model there:",
    ]
    labels = dict.fromkeys(
        (row["model"], row["share"], row["found_for"]) for row in rows if row["found_for"]
    )
    matrix = []
    for model, share, found_for in labels:
        cells = {
            row["runtime"]: f"{row['ratio']:.3f}"
            + ("" if row["file_map"] is None else f", {row['file_map']:.3f}")
            for row in rows
            if (row["model"], row["share"], row["found_for"]) == (model, share, found_for)
        }
        matrix.append(
            (model, f"{share:g}", found_for, *(cells.get(each, "-") for each in runtimes))
        )
    parts.append(table(("model", "share", "plan found for", *runtimes), matrix))
    parts += [sentence for each in runtimes[1:] if (sentence := _worth(rows, each, runtimes[0]))]
    dense_map = next((row["float_map"] for row in rows if row["found_for"] is None), None)
    if content[CHEAPEST] and dense_map is not None:
        parts += [
            "Before any trial: the demo's cheapest plan, by what channels are worth, that each"
            " runtime's predictor puts within the share. Untrained, as a share of dense:",
            cheapest.render(content[CHEAPEST], runtimes, dense_map),
            "The mAP of the other runtime's plans is interpolated between them and dense.",
        ]
    return "\n\n".join(parts)


def _worth(rows: Rows, runtime: str, first: str) -> str:
    """What a search of its own is worth: its plans against those found for another runtime."""
    said = []
    in_it = [row for row in rows if row["runtime"] == runtime]
    for one in (row for row in in_it if row["found_for"] == runtime):
        other = next(
            (
                row
                for row in in_it
                if (row["model"], row["share"]) == (one["model"], one["share"])
                and row["found_for"] == first
            ),
            None,
        )
        if other is not None:
            maps = [row["file_map"] for row in (one, other)]
            with_map = "" if None in maps else f" with {maps[0]:.3f} against {maps[1]:.3f}"
            said.append(
                f"{one['model']} at {one['share']:g}: {one['ratio']:.3f} against"
                f" {other['ratio']:.3f}{with_map}"
            )
    return f"In {runtime}, its own plan against {first}'s: {'; '.join(said)}." if said else ""


def _tried(plans: dict[str, Any], row: dict[str, Any]) -> str:
    """Of a search: how many plans it came to."""
    step = plans.get(f"{row['model']} {row['share']:g} {row['runtime']}", {})
    return f"{step['scored']}, {step['fine_tuned']}" if "scored" in step else "-"


def _map(score: float | None) -> str:
    return "-" if score is None else f"{score:.3f}"
