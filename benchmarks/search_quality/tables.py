"""The sections of the generated page that `benchmarks.search_quality` fills."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from benchmarks.lib.markdown_table import table


def replay(content: dict[str, Any]) -> str:
    """Fine-tunes needed, and what the pool alone says."""
    steps, ours, uniform = content["steps"], content["ours"], content["uniform"]["hypervolume"]
    shown = [at for at in (8, 16, 32, 64, 100) if at <= steps]
    rows = [
        (
            method["method"],
            method["seeds"],
            *(
                f"{method['mean'][at - 1]:.3f} ({method['p10'][at - 1]:.3f} to"
                f" {method['p90'][at - 1]:.3f})"
                for at in shown
            ),
            method["to_goal"] or f"more than {steps}",
            _first(method["mean"], uniform) or f"more than {steps}",
        )
        for method in content["methods"]
    ]
    best = f"**{ours['to_goal'] or f'more than {steps}'}**"
    curve = (f"**{ours['curve'][at - 1]:.3f}**" for at in shown)
    same = f"**{_first(ours['curve'], uniform) or f'more than {steps}'}**"
    rows.insert(0, ("**ours**", "", *curve, best, same))
    goal = f"fine-tunes to reach {content['goal']:.3f}"
    own = f"to reach the uniform plans' {uniform:.3f}, in the mean"
    parts = [
        f"Hypervolume (latency x mAP50-95, both relative to dense, reference 1 and 0) over the"
        f" number of short fine-tunes, replayed on {content['pool']} fine-tuned plans: mean, and"
        f" 10 to 90 % of the seeds. The whole pool: {content['whole_pool']:.3f}; its"
        f" {content['uniform']['plans']} uniform plans: {content['uniform']['hypervolume']:.3f}."
        f" Ours after {ours['steps']} fine-tunes has {100 * ours['share']:.1f} % of what the best"
        f" rival, {content['best_rival']}, has after {steps};"
        f" {content['goal']:.3f} is {100 * content['enough']:.0f} % of that. NSGA-II's best"
        f" population: {content['tuned_nsga2']}."
        f"{_older(content)} [What a replay can show](../docs/search-quality.md).",
        table(("method", "seeds", *(f"after {at}" for at in shown), goal, own), rows),
        _agreement(content["agreement"]),
        _half(content["half_macs"]),
    ]
    pictures = {
        f"search-quality-{content['set']}.png": "Hypervolume over fine-tunes",
        f"untrained-score-{content['set']}.png": "Scores without training and after a fine-tune",
    }
    for at, (name, about) in enumerate(pictures.items(), 1):
        if (Path(__file__).resolve().parents[2] / "docs" / name).exists():
            parts.insert(2 * at - 1, f"![{about}](../docs/{name})")
    return "\n\n".join(parts)


def _older(content: dict[str, Any]) -> str:
    """When the plans were trained, where their latencies were measured again since."""
    if (trained := content.get("trained")) is None:
        return ""
    versions = ", ".join(f"{name} {version}" for name, version in trained["versions"].items())
    return f" Plans trained and scored on {trained['date'][:10]} ({versions}), timed again since."


def _first(curve: list[float], wanted: float) -> int | None:
    """After how many fine-tunes a curve reaches a value."""
    return next((at for at, value in enumerate(curve, 1) if value >= wanted), None)


def samplers(content: dict[str, Any]) -> str:
    """What each sampler found with as many scores without training."""
    shown = [int(key.removeprefix("best_")) for key in content["rows"][0] if "best_" in key]
    rows = [
        (
            row["method"],
            row["seeds"],
            *(
                "{mean:.3f} ({low:.3f} to {high:.3f})".format(**row[f"{key}_{after}"])
                for key in ("best", "hypervolume")
                for after in shown
            ),
        )
        for row in content["rows"]
    ]
    header = (
        "sampler",
        "seeds",
        *(f"mAP after {after}" for after in shown),
        *(f"hypervolume after {after}" for after in shown),
    )
    about = (
        f"Plans pruned, compensated and validated, none trained: the best mAP50-95 on val (dense"
        f" {content['dense']['val']:.3f}) of a plan predicted within 1/{content['speedup']:g} of"
        " the dense latency, and the hypervolume of all (latency x mAP, both relative to dense,"
        " reference 1 and 0): mean, lowest and highest of the seeds. The first six plans of"
        " `proposals first` are the profile's, as in a search."
    )
    return f"{about}\n\n{table(header, rows)}"


def _agreement(found: dict[str, Any]) -> str:
    rankers = [
        (
            row["ranker"],
            _number(row["overall"]),
            "" if row["interval"] is None else "{:.3f} to {:.3f}".format(*row["interval"]),
            _number(row["in_bands"]),
        )
        for row in found["rankers"]
    ]
    places = [(f"{row['level']:g} of dense", row) for row in found["bands"]]
    places += [(f"{row['origin']} plans", row) for row in found["by_origin"]]
    parts = [
        (name, row["plans"], *(_number(row[key]) for key in ("untrained", "params", "macs")))
        for name, row in places
    ]
    band = f"+- {100 * found['band']:.0f} %"
    latency = found["predicted_latency"]
    about = (
        f"Rank correlation (Spearman) with mAP50-95 on val after the short fine-tune,"
        f" {found['plans']} plans; test with val, for comparison: {_number(found['val_with_test'])}"
        f" overall, {_number(found['val_with_test_in_bands'])} at equal latency. Predicted with"
        f" measured latency: {_number(latency['spearman'])}, median error"
        f" {100 * latency['median_error']:.1f} %."
    )
    header = ("ranked by", "overall", "95 % interval", f"among plans within {band} of latency")
    second = ("plans", "number", "untrained mAP50-95", "params", "MACs")
    return f"{about}\n\n{table(header, rankers)}\n\n{table(second, parts)}"


def _half(found: list[dict[str, Any]]) -> str:
    if not found:
        return "No plan of the pool has about half the MACs."
    rows = [
        (
            row["block"],
            row["origin"],
            row["plans"],
            f"{row['median']:.2f}x",
            f"{row['p10']:.2f}x to {row['p90']:.2f}x",
        )
        for row in found
    ]
    header = ("widths are multiples of", "plans", "number", "median speed-up", "10 to 90 %")
    about = "Measured speed-up of plans with 45 to 55 % of the MACs (ONNX Runtime, 1 thread):"
    return f"{about}\n\n{table(header, rows)}"


def confirm(content: dict[str, Any]) -> str:
    """Final plans of all methods, and ours less each rival."""
    rows = [(f"{row['level']:g}", row["method"], *_confirmed(row)) for row in content["rows"]]
    header = (
        "level",
        "method",
        "plan",
        "fine-tunes to find it",
        "measured share of dense latency",
        "params, M",
        "untrained",
        "val",
        "test",
    )
    gains = [
        (
            f"{gain['level']:g}",
            gain["rival"],
            gain["split"],
            f"{100 * gain['gain']:+.1f}",
            "not known"
            if gain["low"] is None
            else f"{100 * gain['low']:+.1f} to {100 * gain['high']:+.1f}",
        )
        for gain in content["gains"]
    ] + [
        (
            f"mean of {gain['levels']}",
            gain["rival"],
            gain["split"],
            f"{100 * gain['gain']:+.1f}",
            f"{100 * (gain['gain'] - gain['half_width']):+.1f} to"
            f" {100 * (gain['gain'] + gain['half_width']):+.1f}",
        )
        for gain in content["mean_gains"]
    ]
    dense = content["dense"]
    about = (
        f"Final plans within a measured latency, mAP50-95 after the same short fine-tune; mean and"
        f" 95 % t interval over its seeds. Dense: {dense['val']:.3f} on val, {dense['test']:.3f} on"
        f" test, {dense['params'] / 1e6:.2f} M parameters, {dense['ms']:.2f} ms."
    )
    names = ("level", "ours against", "split", "gain, points", "95 % interval")
    return f"{about}\n\n{table(header, rows)}\n\n{table(names, gains)}"


def longer(content: dict[str, Any]) -> str:
    """Final plans after a longer fine-tune, beside what the short one made of them."""
    dense, short = content["dense"], content["fine_tune"]["epochs"]
    rows = [
        (
            f"{row['level']:g}",
            row["method"],
            row["how"],
            f"{row['ratio']:.3f}",
            f"{row['untrained']:.3f}",
            _number(row["before"]["test"]),
            f"{row['test']:.3f} ({row['epochs']})",
        )
        for row in content["rows"]
    ]
    header = (
        "level",
        "method",
        "plan",
        "measured share of dense latency",
        "untrained, val",
        f"test after {short} epochs",
        "test after more (epochs)",
    )
    about = (
        f"The final plans of `confirm`, trained once more from the same start by the same recipe"
        f" with more epochs; mAP50-95, one seed. Dense: {dense['test']:.3f} on test."
    )
    return f"{about}\n\n{table(header, rows)}"


def sequential(content: dict[str, Any]) -> str:
    """Final plans compensated at once and in sequence, before and after the short fine-tune."""
    rows = []
    for level, method in dict.fromkeys((row["level"], row["method"]) for row in content["rows"]):
        same = [r for r in content["rows"] if (r["level"], r["method"]) == (level, method)]
        trained = [row for row in same if row["before"]["test"] is not None]
        change = [100 * (row["test"] - row["before"]["test"]) for row in trained]
        rows.append(
            (
                f"{level:g}",
                method,
                f"{same[0]['before']['untrained']:.3f}",
                f"{same[0]['untrained']:.3f}",
                f"{statistics.fmean(row['before']['test'] for row in trained):.3f}",
                f"{statistics.fmean(row['test'] for row in trained):.3f}",
                ", ".join(f"{points:+.1f}" for points in change),
            )
        )
    header = (
        "level",
        "method",
        "untrained, val",
        "untrained, in sequence",
        "test after the fine-tune",
        "test after it, in sequence",
        "change by seed, points",
    )
    about = (
        "The final plans of `confirm`; in sequence: every convolution is fitted again to the dense"
        " one's output, layer after layer, before the same short fine-tune. mAP50-95."
    )
    return f"{about}\n\n{table(header, rows)}"


def distilled(content: dict[str, Any]) -> str:
    """Final plans after the short fine-tune, without and with the dense model as a teacher."""
    rows = []
    for level in dict.fromkeys(row["level"] for row in content["rows"]):
        same = [row for row in content["rows"] if row["level"] == level]
        rows.append(
            (
                f"{level:g}",
                f"{same[0]['untrained']:.3f}",
                f"{statistics.fmean(row['before']['test'] for row in same):.3f}",
                f"{statistics.fmean(row['test'] for row in same):.3f}",
                ", ".join(f"{100 * (row['test'] - row['before']['test']):+.1f}" for row in same),
                f"{statistics.median(row['before']['s'] for row in same):.0f}",
                f"{statistics.median(row['seconds'] for row in same):.0f}",
            )
        )
    header = ["level", "untrained, val", "test after the fine-tune", "test after it, distilled"]
    header += ["change by seed, points", "s without", "s with"]
    about = "Ours of `confirm`, the same start and short fine-tune with `distill=1`. mAP50-95."
    return f"{about}\n\n{table(header, rows)}"


def _confirmed(row: dict[str, Any]) -> tuple[str, ...]:
    if "missing" in row:
        return f"left out: {row['missing']}", "", "", "", "", "", ""
    return (
        row["how"],
        str(row["fine_tunes"]),
        f"{row['ratio']:.3f} ({row['ratio_low']:.3f} to {row['ratio_high']:.3f})",
        f"{row['params'] / 1e6:.2f}",
        f"{row['untrained']:.3f}",
        *(_mean(row, split) for split in ("val", "test")),
    )


def _mean(row: dict[str, Any], split: str) -> str:
    if not row["seeds"]:
        return "not trained"
    mean = statistics.fmean(done[split] for done in row["seeds"])
    half = row.get(f"{split}_half_width")
    spread = "" if half is None else f" +- {half:.3f}"
    return f"{mean:.3f}{spread} ({len(row['seeds'])} seeds)"


def _number(value: float | None) -> str:
    return "too few" if value is None else f"{value:.3f}"
