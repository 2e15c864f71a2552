"""Write benchmarks/README.md from the committed JSON: `python -m benchmarks.lib.make_readme`."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.lib import cuda_table, exported_file, first_run_table, runtimes_steps
from benchmarks.lib.markdown_table import table
from benchmarks.search_quality import tables as quality_tables

BENCHMARKS = Path(__file__).resolve().parents[1]
INTRO = """\
# Benchmarks

One script per published claim, in `claims/`; the package `search_quality/` compares the search with
other methods. Run them from the checkout's root. Each prints a table and writes
`results/<name>.json` with machine, versions and date; this page is generated from those files by
`lib/make_readme.py`, and a test compares the two. Speeds are comparable within one table only.
"""


def main() -> None:
    (BENCHMARKS / "README.md").write_text(page())


def page() -> str:
    """The whole page."""
    sections = [INTRO]
    for name, (title, command, render) in SECTIONS.items():
        path = BENCHMARKS / "results" / f"{name}.json"
        if path.exists():
            content = json.loads(path.read_text())
            sections.append(f"## {title}\n\n`{command}`\n\n{render(content)}\n\n{_made(content)}\n")
    return "\n".join(sections)


def _made(content: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in content["versions"].items())
    machine = content["machine"]
    load = content["state"].get("load_1min")
    shown_load = "" if load is None else f", load {load:.1f}"
    return f"_{content['date'][:10]}, {machine['cpu']}{shown_load}, {versions}._"


def _prune_speed(content: dict[str, Any]) -> str:
    rows = [
        (
            row["model"],
            *(f"{row[key]:.3f}" for key in ("plain_s", "new_s", "again_s")),
            f"{row['first_s']:.1f}",
        )
        for row in content["rows"]
    ]
    header = (
        "model",
        "not compensated",
        "compensated, new widths",
        "compensated, widths of an earlier plan",
        "compensated, the very first, with all factors",
    )
    about = (
        f"Seconds of processor time, {content['threads']} thread, median of"
        f" {content['repeats']}, deep copy included."
    )
    return f"{about}\n\n{table(header, rows)}"


def _extreme_plans(content: dict[str, Any]) -> str:
    rows = [
        (row["model"], row["plans"], row["crashed"], row["not finite"], row["wrong width"])
        for row in content["rows"]
    ]
    return table(("model", "plans", "crashes", "outputs not finite", "wrong widths"), rows)


def _demo_question(content: dict[str, Any]) -> str:
    rows = [
        (
            f"{row['ratio']:.2f}",
            f"{row['recalibrated']:.3f}",
            f"{row['fine_tuned']:.3f}",
            f"{100 * (content['dense'] - row['fine_tuned']):.1f}",
        )
        for row in content["rows"]
    ]
    header = ("uniform ratio", "recalibrated only", "after the short fine-tune", "points lost")
    about = f"Dense mAP50-95 on val: {content['dense']:.3f}. Importance {content['importance']}."
    pair = [
        (row["plan"], f"{row['share_of_dense']:.3f}", f"{row['fine_tuned']:.3f}")
        for row in content["pair"]
    ]
    names = ("block-aligned plan (benchmarks/plans)", "share of dense latency", "mAP50-95")
    return f"{about}\n\n{table(header, rows)}\n\n{table(names, pair)}"


def _search_demo(content: dict[str, Any]) -> str:
    rows = [
        (
            row["seed"],
            row["trials"],
            f"{row['dense_map']:.3f}",
            f"{row['uniform_name']}: {row['uniform_map']:.3f} at {row['uniform_ratio']:.2f}",
            f"{row['best_name']}: {row['best_map']:.3f} at {row['best_ratio']:.2f}",
            f"{100 * (row['best_map'] - row['uniform_map']):+.1f}",
            f"{row['uniform_final']:.3f} / {row['best_final']:.3f}",
        )
        for row in content["rows"]
    ]
    header = (
        "seed",
        "trials",
        "dense mAP50-95",
        "best uniform: mAP at share of dense latency",
        "best.yaml: mAP at share of dense latency",
        "gain, points",
        "uniform / best on unused images",
    )
    about = (
        f"Goal: {content['speedup']:g}x faster than dense, {content['timeout_s']:.0f} s per search."
    )
    return f"{about}\n\n{table(header, rows)}"


def _latency_repeatability(content: dict[str, Any]) -> str:
    parts = [
        f"The model {content['model']} at {content['imgsz'][0]}x{content['imgsz'][1]} px, ONNX"
        f" Runtime, 1 thread: {content['pairs']} measurements against itself (A/A), and as many"
        f" against itself made {content['burden']:.0%} slower. **Bold**: what autoprune uses."
    ]
    for row in content["rows"]:
        beside = ("as it is", "beside one busy process", "beside two busy processes")
        rows = []
        for each in row["estimators"]:
            mark = "**" if each["name"] == content["product"] else ""
            shares = [
                "-" if each[key] is None else f"{each[key]:.0%}"
                for key in ("found", "false_alarms")
            ]
            error, bias = f"{mark}{each['error_95']:.2%}{mark}", f"{each['bias']:+.2%}"
            rows.append((f"{mark}{each['name']}{mark}", error, bias, *shares))
        header = (
            "estimator",
            "error of 95 % of A/A ratios is below",
            "median error",
            f"{content['burden']:.0%} difference found",
            "false alarms",
        )
        parts.append(
            f"The machine {beside[row['neighbours']]}: {row['seconds']:.1f} s per measurement, at"
            f" most {row['seconds_most']:.1f} s. Recorded times after a random moment multiplied by"
            f" {content['slower']:g}: noticed in {row['change_noticed']:.0%}; suspected in"
            f" {row['change_suspected']:.0%} as recorded."
        )
        parts.append(table(header, rows))
    return "\n\n".join(parts)


def _latency_predictor(content: dict[str, Any]) -> str:
    rows = [
        (
            row["model"],
            f"{row['fingerprint']['runtime']}, {row['fingerprint']['threads']} thread(s)",
            f"**{100 * row['predictor_mape']:.1f} %**, {row['predictor_spearman']:.4f}",
            f"{100 * row['aligned_mape']:.1f} / {100 * row['unaligned_mape']:.1f} %",
            *(
                f"{100 * row[f'{rival}_mape']:.1f} %, {row[f'{rival}_spearman']:.4f}"
                for rival in ("constant_macs", "macs", "params")
            ),
            f"+- {100 * row['timing_half_width']:.1f} %",
            f"{row['block']}, {row['align']}",
            f"{row['plans']} / {row['unseen']}",
            f"{row['seconds_to_learn']:.0f}",
            f"{row['plans_per_s']:,}",
        )
        for row in content["rows"]
    ]
    header = (
        "model",
        "runtime",
        "predictor: MAPE, Spearman",
        "aligned / unaligned",
        "constant plus MACs",
        "proportional to MACs",
        "proportional to params",
        "timing of a plan",
        "block, alignment found",
        "plans learned from / asked about",
        "s to learn",
        "plans per s",
    )
    about = (
        f"Error on up to {content['unseen']} plans not seen, at {content['imgsz']} px, half of them"
        f" rounded to 8 or 16 channels; learned from up to {content['plans']} others, as many as"
        " time allowed. The errors include the noise of timing the unseen plans (median half-width"
        " of their 95 % intervals). With as many threads as the machine has cores, whatever else"
        " runs is part of the wall time: those rows differ from run to run."
    )
    return f"{about}\n\n{table(header, rows)}"


def _pruning_quality(content: dict[str, Any]) -> str:
    ratios = list(content["rows"][0]["map50_95"])
    rows = [
        (
            row["method"],
            "yes" if row["recalibrated"] else "no",
            *(f"{row['map50_95'][ratio]:.3f}" for ratio in ratios),
        )
        for row in content["rows"]
    ]
    shown = [f"ratio {float(ratio):.2f}" for ratio in ratios]
    changed_ratios = list(content["ablations"][0]["map50_95"])
    changes = [
        (row["change"], *(f"{row['map50_95'][ratio]:.3f}" for ratio in changed_ratios))
        for row in content["ablations"]
    ]
    about = (
        f"mAP50-95 on {content['val_images']} val images of the demo, no training at all, the same"
        f" ratio at every index; dense {content['dense']:.3f}. Calibrated on"
        f" {content['calibration_images']} training images. One seed: differences below about"
        " 0.01 mean nothing."
    )
    about += "".join(
        f" In sequence: every convolution fitted again to the dense one's output on"
        f" {row['images']} images, layer after layer, which takes {row['seconds']:.0f} s a plan."
        for row in content["rows"]
        if "seconds" in row
    )
    first = table(("importance", "batch norms recalibrated", *shown), rows)
    names = ("obs, compensated", *(f"ratio {float(ratio):.2f}" for ratio in changed_ratios))
    return f"{about}\n\n{first}\n\nWhat one change does:\n\n{table(names, changes)}"


def _calibration_cost(content: dict[str, Any]) -> str:
    rows = [
        (
            row["model"],
            f"{row['seconds_per_image']:.2f}",
            row["seconds_for_default"],
            f"{row['extra_mb']:.0f}",
        )
        for row in content["rows"]
    ]
    header = (
        "model",
        "s per image",
        f"s for {content['default_images']} images, the default at this size",
        "peak memory beyond the model's, MB",
    )
    about = (
        f"{content['imgsz_px']} px, {content['threads']} thread, seconds of processor time,"
        f" measured on {content['images']} images and extrapolated. Done once per model and data"
        " set."
    )
    return f"{about}\n\n{table(header, rows)}"


def _latency_wander(content: dict[str, Any]) -> str:
    rows = [
        (
            row["plan"],
            row["times"],
            f"{row['mean_ratio']:.3f}",
            f"{row['deviation_percent']:.1f} %",
            f"{row['range_percent']:.1f} %",
            f"+- {row['stated_half_width_percent']:.1f} %",
            f"{row['mean_inside_percent']} %",
        )
        for row in content["rows"]
    ]
    header = (
        "plan",
        "measurements",
        "mean ratio to dense",
        "standard deviation",
        "highest less lowest",
        "stated 95 % interval, median",
        "intervals that hold the mean",
    )
    about = (
        f"Each in a fresh process, {content['every_s']:.0f} s apart. An interval holds what"
        " happened during its own seconds. Where fewer than 95 % of the intervals hold the mean,"
        " the machine's own state moved the ratio in between (on a virtual machine: its"
        " neighbours' use of the shared cache and memory)."
    )
    return f"{about}\n\n{table(header, rows)}"


def _training_speed(content: dict[str, Any]) -> str:
    rows = [
        (way, f"{statistics.median(taken):.1f}", f"{min(taken):.1f} to {max(taken):.1f}")
        for way, taken in content["seconds"].items()
    ]
    ratios = content["time_ratios"]
    about = (
        f"{content['epochs']} epoch of the demo at {content['imgsz_px']} px, uniform plan"
        f" {content['ratio']}, {content['threads']} threads; {len(ratios)} turns each, taken by"
        f" turns. Time with the second over time with the first:"
        f" {statistics.median(ratios):.2f} (median; {min(ratios):.2f} to {max(ratios):.2f})."
    )
    return f"{about}\n\n{table(('training', 'median s', 'range'), rows)}"


_SETS = {"demo": "the demo", "second": "the second data set"}
# part of benchmarks.search_quality, title, options, what makes its section
_QUALITY: tuple[tuple[str, str, str, Callable[[dict[str, Any]], str]], ...] = (
    ("replay", "Fine-tunes needed", "", quality_tables.replay),
    ("samplers", "Samplers without any fine-tune", " --seeds 2", quality_tables.samplers),
    ("confirm", "The final plans against other methods", "", quality_tables.confirm),
    (
        "longer",
        "The final plans after a longer fine-tune",
        " --levels 0.6 0.45",
        quality_tables.longer,
    ),
    (
        "distilled",
        "The dense model as a teacher",
        " --levels 0.6 0.45 0.3",
        quality_tables.distilled,
    ),
    ("sequential", "Compensation in sequence", " --levels 0.45 0.3", quality_tables.sequential),
)


def _following_speed(content: dict[str, Any]) -> str:
    rows = [
        (
            row["model"],
            f"{row['params'] / 1e6:.1f}",
            str(row["groups"]),
            f"{row['followed_s']:.2f}",
            f"{row['proved_s']:.2f}",
        )
        for row in content["rows"]
    ]
    header = ("model", "M parameters", "groups", "followed, s", "proved, s")
    return (
        "Processor time on one thread, of stock models; the proof is of one cut, when a model is"
        " first seen.\n\n" + table(header, rows)
    )


def _side_by_side(content: dict[str, Any]) -> str:
    rows = [
        (
            str(row["processes"]),
            f"{row['start_s']:.1f}",
            f"{row['trials_s']:.1f}",
            f"{row['speed']:.2f}",
            "yes" if row["same"] else "**no**",
        )
        for row in content["rows"]
    ]
    header = ("processes", "s to start", "s for the trials", "times as fast", "same results")
    return (
        f"The first {content['trials']} trials of a search on the demo, `--speedup"
        f" {content['speedup']:g}`, scored without training by processes of one thread each. Same"
        " results: every plan and every mAP50-95 equal to those of one process.\n\n"
        + table(header, rows)
    )


def _throughput(content: dict[str, Any]) -> str:
    numbers = (
        *("median_ms", "p99_ms", "last_median_ms", "last_p99_ms", "last_cpu_ms"),
        *("last_database_ms", "statements", "commits", "server_cpu_ms"),
    )
    rows = [
        (
            row["kept_in"],
            str(row["workers"]),
            f"{row['evaluation_s']:.2g}",
            f"{row['trials_per_s']:.1f}",
            *(f"{row[key]:.0f}" for key in numbers),
        )
        for row in content["rows"]
    ]
    header = (
        *("kept in", "workers", "evaluation, s", "trials/s", "median ms", "p99"),
        *("last: median ms", "p99"),
        *("its CPU, ms", "database, ms", "statements", "commits", "server's CPU, ms"),
    )
    return (
        f"{content['trials']} trials of an evaluation that only waits, on the demo's space, so long"
        " that all workers together ask for their number divided by its seconds; server and"
        " workers on this machine. The time between the end of one evaluation and the beginning of"
        f" the next in one worker: of all trials, and of the last {content['last']:.0%}, of which"
        " the medians of its parts are told. The server's time is per trial.\n\n"
        + table(header, rows)
    )


def _many_workers(content: dict[str, Any]) -> str:
    rows = [
        (
            str(row["workers"]),
            str(row["batch"]),
            str(row["connections"]),
            f"{row['wanted_per_s']:.1f}",
            f"{row['trials_per_s']:.1f}",
            f"{row['median_ms']:.0f}",
            f"{row['p99_ms']:.0f}",
            f"{row['server_busy']:.1%}",
            f"{row['row_held']:.1%}",
        )
        for row in content["rows"]
    ]
    header = (
        *("workers", "trials made at once", "connections", "trials/s wanted", "reached"),
        *("overhead: median ms", "p99", "server busy", "study's row held"),
    )
    measured = ", ".join(map(str, content["measured_with"]))
    return (
        "A simulation of discrete events, not a measurement: costs of a trial as straight lines"
        f" through those measured with {measured} workers (above), an evaluation of"
        f" {content['evaluation_s']:g} s, a server of {content['cores']} cores,"
        f" {content['round_trip_ms']:g} ms for a round trip.\n\n" + table(header, rows)
    )


def _renormalized_norms(content: dict[str, Any]) -> str:
    rows = [
        (
            row["plan"],
            *(
                " ".join(f"{each[split]:.3f}" for each in row[kind])
                for split in ("val", "test")
                for kind in ("without", "with")
            ),
            " / ".join(_points(row[f"{split}_gain_points"]) for split in ("val", "test")),
        )
        for row in content["rows"]
    ]
    header = (
        "plan",
        *(f"{split}, {kind}" for split in ("val", "test") for kind in ("as pruned", "own")),
        "mean gain, val / test",
    )
    return (
        f"mAP50-95 after the short fine-tune, {content['seeds']} seeds, on the"
        f" {'second data set' if content.get('set') == 'second' else 'demo'}: from batch norms as"
        " pruning with compensation leaves them, and from the network's own mean and"
        " variance with which it computes the same. Gains in points.\n\n" + table(header, rows)
    )


def _points(gain: float | None) -> str:
    return "-" if gain is None else f"{gain:+.2f}"


def _falling_rate(content: dict[str, Any]) -> str:
    return (
        "mAP50-95 after the short fine-tune, a number for each seed: with a rate that falls"
        " after each epoch, as Ultralytics has it, and with one that falls batch by batch from the"
        f" middle on, which the search has.\n\n{_two_ways(content, 'by_epoch', 'by_batch')}"
    )


def _frozen_norms(content: dict[str, Any]) -> str:
    return (
        "mAP50-95 after the short fine-tune, a number for each seed: with batch norms that go by"
        " each batch, and with frozen ones, which keep their mean and variance. By batch: of the"
        " untrained network with the statistics of batches of 8; the search freezes them where"
        f" more than a tenth is lost.\n\n{_two_ways(content, 'moving', 'frozen', 'by_batch')}"
    )


def _two_ways(content: dict[str, Any], one: str, other: str, *more: str) -> str:
    def told(scores: list[dict[str, float]], split: str) -> str:
        return " ".join(f"{each[split]:.3f}" for each in scores)

    rows = [
        (
            f"{model['model']} ({model['dense']:.3f})",
            row["plan"],
            f"{row['epochs']}",
            f"{row['untrained']:.3f}",
            *(f"{row[key]:.3f}" for key in more),
            *(told(row[kind], split) for split in ("val", "test") for kind in (one, other)),
        )
        for model in content["models"]
        for row in model["plans"]
    ]
    header = (
        "model (dense on val)",
        "plan",
        "epochs",
        "untrained, val",
        *(key.replace("_", " ") for key in more),
        *(
            f"{split}, {kind.replace('_', ' ')}"
            for split in ("val", "test")
            for kind in (one, other)
        ),
    )
    return table(header, rows)


_SEARCHED = ("plans scored", "fine-tuned", "best.yaml", "best uniform", "dense")


def _told(record: dict[str, Any] | None) -> str:
    """Share of the dense latency and mAP of what a search found."""
    if record is None:
        return "-"
    split = "test" if record["test"] is not None else "val"
    share = "predicted only" if record["ratio"] is None else f"{record['ratio']:.2f}"
    return f"{share}, {record[split]:.3f}{'' if split == 'test' else ' (val)'}"


def _real_photographs(content: dict[str, Any]) -> str:
    rows = [
        (row["share"], row["seed"], row["scored"], row["fine_tuned"],
         *(_told(row[kind]) for kind in ("best", "uniform", "dense")))
        for row in content["rows"]
    ]  # fmt: skip
    header = ("share asked", "seed", *_SEARCHED)
    return (
        f"{content['source']}. A yolov8n at {content['imgsz']} px, trained for"
        f" {content['epochs']} epochs from the demo's checkpoint; each search has"
        f" {content['timeout_s']:g} s. Share of the dense latency as measured, mAP50-95 on test"
        f" images.\n\n{table(header, rows)}"
    )


def _as_long(search: dict[str, Any]) -> str:
    """The plan found, where it was trained again for as many epochs as the uniform plan."""
    again = search.get("as_long")
    return "" if again is None else f"{again['test']:.3f} ({again['epochs']} epochs)"


def _other_families(content: dict[str, Any]) -> str:
    def kept(scores: dict[str, float], dense: float) -> Iterator[str]:
        for ratio in ("0.15", "0.3", "0.45"):
            yield f"{scores[ratio]:.3f} ({scores[ratio] / dense:.0%})"

    rows = [
        (row["model"], row["metric"], each["method"], f"{row['dense_map50_95']:.3f}",
         *kept(each["map50_95"], row["dense_map50_95"]))
        for row in content["rows"]
        for each in row.get("untrained", ())
    ]  # fmt: skip
    header = ("model", "metric", "without training", "dense", "ratio 0.15", "0.30", "0.45")
    searches = [
        (row["model"], search["share"], f"{search['timeout_s']:g}", search["scored"],
         search["fine_tuned"], *(_told(search[kind]) for kind in ("best", "uniform", "dense")),
         _as_long(search))
        for row in content["rows"]
        for search in row.get("searches", ())
    ]  # fmt: skip
    shown = table(header, rows)
    if searches:
        shown += "\n\n" + table(
            ("model", "share asked", "limit, s", *_SEARCHED, "found, trained as long as uniform"),
            searches,
        )
    trained = "; ".join(
        f"{row['model']}: {row['epochs']} epochs on {row['train_images']} images"
        for row in content["rows"]
    )
    return (
        f"Trained from random weights on the demo's generated images, those of -seg with outlines,"
        f" at 128 px ({trained}), then for 4 epochs at {content['imgsz']} px. The task's metric on"
        f" val, and the share of dense that is left; of searches the share of the dense latency as"
        f" measured, and the metric on test images (val: where there was no time for those); where"
        f" the uniform plan saw more images in its fine-tune, the plan found trained as long. An"
        f" hour on one core leaves networks that are not done: what can be compared is the share"
        f" that is left, not the level.\n\n{shown}"
    )


SECTIONS: dict[str, tuple[str, str, Callable[[dict[str, Any]], str]]] = {
    "first_run": (
        "The first run",
        "python benchmarks/claims/first_run.py",
        first_run_table.render,
    ),
    "real_photographs": (
        "Real photographs",
        "python benchmarks/claims/real_photographs.py DATA.yaml --source TEXT --save",
        _real_photographs,
    ),
    "other_families": (
        "Other families",
        "python benchmarks/claims/other_families.py yolov8n yolo11n yolo26n yolo11n-seg --save",
        _other_families,
    ),
    "runtimes_table": (
        "A search per runtime",
        "python benchmarks/claims/runtimes_table.py --folder DIR --save",
        runtimes_steps.render,
    ),
    "cuda": ("On a GPU", "python benchmarks/claims/cuda.py", cuda_table.render),
    "prune_speed": ("Time of one prune", "python benchmarks/claims/prune_speed.py", _prune_speed),
    "following_speed": (
        "Time to follow a model's channels",
        "python benchmarks/claims/following_speed.py",
        _following_speed,
    ),
    "side_by_side": (
        "Plans scored side by side",
        "python benchmarks/claims/side_by_side.py",
        _side_by_side,
    ),
    "throughput": (
        "What a trial costs besides its evaluation",
        "python benchmarks/claims/throughput.py",
        _throughput,
    ),
    "many_workers": (
        "A thousand workers, simulated",
        "python benchmarks/claims/many_workers.py",
        _many_workers,
    ),
    "renormalized_norms": (
        "Batch norms before the fine-tune",
        "python benchmarks/claims/renormalized_norms.py",
        _renormalized_norms,
    ),
    "renormalized_norms_second": (
        "Batch norms before the fine-tune, on the second data set",
        "python benchmarks/claims/renormalized_norms.py --set second",
        _renormalized_norms,
    ),
    "falling_rate": (
        "The learning rate of the fine-tune",
        "python benchmarks/claims/falling_rate.py --save, and"
        " yolo26n.pt data.yaml --name yolo26n --ratios 0.30 --epochs 1 --save",
        _falling_rate,
    ),
    "frozen_norms": (
        "Batch norms in the fine-tune",
        "python benchmarks/claims/frozen_norms.py --save, and yolo26n.pt data.yaml --name yolo26n"
        " --ratios --plans 'uniform 0.50, by 16=UNIFORM.yaml' 'searched=PLAN.yaml' --save",
        _frozen_norms,
    ),
    "training_speed": (
        "Time of a short fine-tune on a CPU",
        "python benchmarks/claims/training_speed.py",
        _training_speed,
    ),
    "exported_file": (
        "Time of the exported file",
        "python benchmarks/claims/exported_file.py --models yolov8n yolov8s yolov8m --imgsz 320 640"
        " --threads 1 2 --seconds 8 --save",
        exported_file.render,
    ),
    "extreme_plans": (
        "Extreme plans never crash",
        "python benchmarks/claims/extreme_plans.py",
        _extreme_plans,
    ),
    "pruning_quality": (
        "Accuracy kept without training",
        "python benchmarks/claims/pruning_quality.py",
        _pruning_quality,
    ),
    "calibration_cost": (
        "Cost of calibration",
        "python benchmarks/claims/calibration_cost.py",
        _calibration_cost,
    ),
    "demo_question": (
        "The demo is a real question",
        "python benchmarks/claims/demo_question.py",
        _demo_question,
    ),
    "search_demo": (
        "The search against the best uniform plan",
        "python benchmarks/claims/search_demo.py --speedup 1.7 --seeds 0 1 2 --timeout 330",
        _search_demo,
    ),
    "latency_repeatability": (
        "How repeatable a measured latency is",
        "python benchmarks/claims/latency_repeatability.py",
        _latency_repeatability,
    ),
    "latency_wander": (
        "How far a measured latency wanders over minutes",
        "python benchmarks/claims/latency_wander.py",
        _latency_wander,
    ),
    "latency_predictor_families": (
        "Latency predictor: other families",
        "python benchmarks/claims/latency_predictor.py --models yolo11n yolo26n --on onnxruntime:1",
        _latency_predictor,
    ),
    "latency_predictor": (
        "Latency of any plan, predicted",
        "python benchmarks/claims/latency_predictor.py --limit 100",
        _latency_predictor,
    ),
    **{
        f"search_quality_{part}_{name}": (
            f"{title}, on {shown}",
            f"python -m benchmarks.search_quality {part} --set {name}{options}",
            show,
        )
        for part, title, options, show in _QUALITY
        for name, shown in _SETS.items()
    },
}

if __name__ == "__main__":
    main()
