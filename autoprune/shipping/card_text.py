"""card.md: a model card as a page of Markdown."""

from __future__ import annotations

from autoprune.domain.card import WORSE_POINTS, FineTuneScores, ModelCard, Score, Side


def card_text(card: ModelCard) -> str:
    """The page."""
    dense, shipped = card.dense, card.shipped
    machine = card.fingerprint
    verdict = "**within its limits**" if card.met else f"**MISSED: {'; '.join(card.missed)}**"
    if card.limit_ms is None and card.max_drop is None:
        verdict = "no limit was asked for"
    limits = [
        *([] if card.limit_ms is None else [f"at most {card.limit_ms:.3f} ms"]),
        *([] if card.max_drop is None else [f"at most {card.max_drop:g} points of mAP lost"]),
    ]
    rows = [
        ("", "dense", "shipped"),
        ("---", "---:", "---:"),
        *(_score_row(name, dense, shipped) for name in ("val", "final")),
        *(_score_row(name, dense, shipped, easy=True) for name in ("val", "final")),
        ("latency, ms (95 % interval)", *map(_latency, (dense, shipped))),
        ("latency, share of dense", "1", _ratio(shipped)),
        ("parameters", *(f"{side.params:,}" for side in (dense, shipped))),
        ("MACs", *(f"{side.macs / 1e6:,.1f} M" for side in (dense, shipped))),
        ("runtime's file", *(f"{side.file_bytes / 1e6:.2f} MB" for side in (dense, shipped))),
    ]
    return "\n".join(
        [
            "# Model card",
            "",
            verdict + (f" ({', '.join(limits)})" if limits else ""),
            "",
            *(f"| {' | '.join(row)} |" for row in rows),
            "",
            f"mAP is that of the exported files, answered by {shipped.final.through}."
            if card.validated
            else f"mAP is that of {shipped.final.through}, not of the exported files.",
            f"Latency: one forward pass at batch 1, {machine.runtime} {machine.runtime_version}"
            f" ({machine.provider}, {machine.precision},"
            f" {machine.threads} thread{'s' * (machine.threads > 1)},"
            f" {card.imgsz[0]}x{card.imgsz[1]} px), on {machine.cpu} ({machine.isa},"
            f" {machine.system}), in {shipped.latency.processes} fresh processes, interleaved with"
            " the dense file.",
            "",
            f"## Classes ({shipped.final.split})",
            "",
            *_classes(card),
            "",
            "## How it was made",
            "",
            "```",
            card.command,
            "```",
            "",
            f"- made: {card.made}",
            f"- task: {card.task}" + (f", branch {card.branch}" if card.branch else ""),
            f"- weights: {_line(card.weights)}",
            f"- fine-tune: {_settings(card)}",
            f"- data: {_line(str(card.data['file']))}, sha256 `{card.data['hash']}`,"
            f" {card.data['train_images']} / {card.data['val_images']} /"
            f" {card.data['final_images']} images (train / val / {card.data['final_split']})",
            f"- dense model: `{card.request['model']}`",
            f"- versions: {', '.join(f'{key} {value}' for key, value in card.versions.items())}",
            *(f"- checked: {_line(each)}" for each in card.checks),
            *(f"- note: {_line(each)}" for each in card.notes),
            f"- files: {', '.join(card.files)}, card.json",
            "",
            "## Licence",
            "",
            f"{card.licence}.",
            "",
        ]
    )


def _score_row(
    split: str, dense: Side, shipped: Side, *, easy: bool = False
) -> tuple[str, str, str]:
    a, b = (dense.val, shipped.val) if split == "val" else (dense.final, shipped.final)
    metric = a.metric.replace("mAP50-95", "mAP50") if easy else a.metric
    before, after = ((each.map50 if easy else each.map50_95) for each in (a, b))
    return f"{metric} on {a.split} ({a.images} images)", f"{before:.4f}", f"{after:.4f}"


def _latency(side: Side) -> str:
    timed = side.latency
    return f"{timed.median_ms:.3f} ({timed.low_ms:.3f} to {timed.high_ms:.3f})"


def _ratio(side: Side) -> str:
    timed = side.latency
    return f"{timed.ratio:.3f} ({timed.ratio_low:.3f} to {timed.ratio_high:.3f})"


def _classes(card: ModelCard) -> list[str]:
    dense, shipped = card.dense.final, card.shipped.final
    worse = [f"{_line(each.name)} ({each.dense:.3f} to {each.shipped:.3f})" for each in card.worse]
    said = f"Worse by more than {WORSE_POINTS:g} points: {', '.join(worse) or 'none'}."
    rows = [
        f"| {_cell(name)} | {_ap(dense, name)} | {_ap(shipped, name)} |" for name in card.classes
    ]
    return [said, "", "| AP50-95 | dense | shipped |", "|---|---:|---:|", *rows]


def _ap(score: Score, name: str) -> str:
    return f"{score.by_class[name]:.4f}" if name in score.by_class else "no objects"


def _settings(card: ModelCard) -> str:
    asked = " ".join(f"{key}={value}" for key, value in card.fine_tune.items()) or "none"
    if card.fine_tuned is None:
        return asked
    return f"{asked}; {tuned_text(card.fine_tuned, card.shipped.val.metric)}"


def tuned_text(found: FineTuneScores, metric: str) -> str:
    """What a fine-tune did, and which weights ship."""
    said = f"the fine-tune took {metric} on val from {found.before:.3f} to {found.after:.3f}"
    return said if found.kept else f"{said}: the weights from before it ship"


def _line(text: str) -> str:
    """Text of the user's on one line, which Markdown takes for text."""
    return " ".join(text.split()).replace("<", "&lt;").replace("`", "'")


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")
