"""ship: the steps in order, from a request to a finished bundle."""

from __future__ import annotations

import platform
import shlex
import shutil
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from autoprune.domain.card import (
    WORSE_POINTS,
    FineTuneScores,
    ModelCard,
    Score,
    Side,
    Timed,
    WorseClass,
)
from autoprune.domain.record import LatencyResult
from autoprune.domain.versions import version_of
from autoprune.latency.export import ExportedModel
from autoprune.pruning.size import model_size
from autoprune.shipping import steps
from autoprune.shipping.card_text import card_text, tuned_text
from autoprune.shipping.predicting import predict_program
from autoprune.shipping.ready import Ready, branch_of
from autoprune.shipping.request import Limits
from autoprune.shipping.steps import DENSE, SHIPPED, Hands
from autoprune.shipping.workshop import CARD, Workshop
from autoprune.storage.yaml_io import write_atomic

LICENCE = (
    "AGPL-3.0: the weights and files were made with Ultralytics' and autoprune's code, both under"
    " the AGPL-3.0, and the weights of a model that Ultralytics published are under it too; for"
    " other terms ask Ultralytics for its Enterprise licence"
)
_VERSIONED = ("autoprune", "torch", "ultralytics", "numpy", "onnx")
STEPS = ("weights", "fine-tune", "export", "latency", "mAP", "bundle")


def ship(ready: Ready, hands: Hands, command: list[str]) -> tuple[ModelCard, bool]:
    """Make the bundle, or go on with it; a finished one is left as it is.

    Args:
        ready: What it is made of.
        hands: What the steps are done with.
        command: The command that makes it again.

    Returns:
        Its card, and whether it was there already.

    Raises:
        ConfigError: The folder holds another bundle.
        AutopruneError: A check failed; no bundle is made.
        TrialFailed, TargetUnreachable: As the steps' own.
    """
    shop = Workshop(ready.request.asked.output, ready.depends_on())
    finished = shop.finished()
    if finished is not None:
        return finished, True
    with shop.opened():
        card = _made(ready, shop, hands, command)
    shop.close()
    return card, False


def _made(ready: Ready, shop: Workshop, hands: Hands, command: list[str]) -> ModelCard:
    def begin(step: str, about: str) -> None:
        hands.say(f"[{STEPS.index(step) + 1}/{len(STEPS)}] {step}: {about}")

    begin("weights", "the study's own" if ready.weights else "the plan is applied")
    start = steps.make_weights(ready, shop, hands)
    begin("fine-tune", "at full length" if ready.train_args else "not asked for (epochs=100)")
    weights, tuned = steps.fine_tune(ready, shop, hands)
    if tuned is not None:
        hands.say(tuned_text(tuned, ready.metric))
    module = steps.shipped_model(ready, weights)
    begin("export", f"dense and shipped, for {ready.options.runtime}; outputs against torch's")
    dense, said_dense = steps.export(ready, shop, DENSE, ready.dense)
    shipped, said_shipped = steps.export(ready, shop, SHIPPED, module)
    least = steps.PROCESSES * 2 * steps.LEAST_S
    begin("latency", f"{steps.PROCESSES} processes on {ready.request.config.target}, {least:.0f} s")
    latencies = steps.measure(ready, shop, dense, shipped)
    where = "through the runtime" if ready.runs_here else "through torch: the runtime is not here"
    begin("mAP", f"of both files, {where}")
    models = {DENSE: (ready.dense, dense), SHIPPED: (module, shipped)}
    scores = steps.validate(ready, shop, models, hands.say)
    begin("bundle", str(shop.output))
    files = _write_files(ready, shop, weights, shipped)
    sides = {
        name: Side(
            **model_size(of, ready.imgsz).model_dump(include={"params", "macs"}),
            pt_bytes=weights.stat().st_size if name == SHIPPED else None,
            file_bytes=sum(each.stat().st_size for each in _of_runtime(exported)),
            latency=Timed.of(latency),
            val=scores[name, "val"],
            final=scores[name, "final"],
        )
        for (name, (of, exported)), latency in zip(models.items(), latencies, strict=True)
    }
    checks = (
        widths_checked(tuned),
        said_shipped,
        said_dense,
    )
    limit_ms = ready.request.limits.latency_ms(latencies[0].median_ms)
    missed = _missed(ready.request.limits, sides)
    card = ModelCard(
        request=shop.request,
        command=shlex.join(command),
        made=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        met=not missed,
        missed=missed,
        limit_ms=limit_ms,
        max_drop=ready.request.limits.max_drop,
        task=ready.task,
        classes=ready.data.names,
        branch=branch_of(ready),
        imgsz=ready.imgsz,
        files=tuple(files),
        weights=start["how"],
        fine_tune=ready.train_args,
        fine_tuned=tuned,
        data=_data(ready),
        fingerprint=latencies[1].fingerprint,
        versions={"python": platform.python_version()} | {n: version_of(n) for n in _VERSIONED},
        dense=sides[DENSE],
        shipped=sides[SHIPPED],
        worse=_worse(sides[DENSE].final, sides[SHIPPED].final),
        validated=ready.runs_here,
        checks=checks,
        notes=_notes(ready, latencies, files),
        licence=LICENCE,
    )
    write_atomic(shop.output / "card.md", card_text(card))
    card.save(shop.output / CARD)  # last: it says that the bundle is finished
    return card


def widths_checked(tuned: FineTuneScores | None) -> str:
    """When the widths of what ships were held against the plan's."""
    trained = ", after training" if tuned is not None and tuned.kept else ""
    return (
        f"every channel group has the plan's width after pruning{trained} and after the .pt was"
        " loaded again"
    )


def _write_files(ready: Ready, shop: Workshop, weights: Path, shipped: ExportedModel) -> list[str]:
    """Everything but the card; the names of the files."""
    plan = ready.request.asked.plan.read_text("utf-8")
    written = {"model.pt": weights} | {each.name: each for each in _of_runtime(shipped)}
    for name, source in written.items():
        draft = shop.work / f"{name}.part"
        shutil.copyfile(source, draft)
        draft.replace(shop.output / name)
    write_atomic(shop.output / "plan.yaml", plan)
    program = predict_program(
        shipped.path.name,
        ready.options,
        ready.data.names,
        ready.task,
        shipped.end_to_end,
        ready.data.channels,
    )
    if program is not None:
        write_atomic(shop.output / "predict.py", program)
    return [*written, "plan.yaml", *([] if program is None else ["predict.py"]), "card.md"]


def _of_runtime(exported: ExportedModel) -> list[Path]:
    """The runtime's file, and what it keeps beside it."""
    folder = exported.path.parent
    return sorted(each for each in folder.iterdir() if each.is_file() and each.suffix != ".npy")


def _missed(limits: Limits, sides: dict[str, Side]) -> tuple[str, ...]:
    """What is not surely kept, in words; a speed-up is judged by the share of dense alone."""
    dense, shipped = sides[DENSE], sides[SHIPPED]
    max_drop, limit_ms, missed = limits.max_drop, limits.budget_ms, []
    if limit_ms is not None and shipped.latency.high_ms > limit_ms:
        missed.append(
            f"latency: up to {shipped.latency.high_ms:.3f} ms (95 % interval), the limit is"
            f" {limit_ms:.3f} ms"
        )
    if limits.speedup is not None and shipped.latency.ratio_high > 1 / limits.speedup:
        missed.append(
            f"latency: up to {shipped.latency.ratio_high:.3f} of dense (95 % interval), the limit"
            f" is {1 / limits.speedup:.3f}"
        )
    lost = (dense.final.map50_95 - shipped.final.map50_95) * 100
    if max_drop is not None and lost > max_drop:
        missed.append(
            f"{dense.final.metric}: {lost:.1f} points lost on {dense.final.split}, the limit is"
            f" {max_drop:g}"
        )
    return tuple(missed)


def _worse(dense: Score, shipped: Score) -> tuple[WorseClass, ...]:
    lost = {name: ap - shipped.by_class.get(name, 0.0) for name, ap in dense.by_class.items()}
    names = sorted(lost, key=lambda name: -lost[name])
    return tuple(
        WorseClass(name=name, dense=dense.by_class[name], shipped=shipped.by_class.get(name, 0.0))
        for name in names
        if lost[name] * 100 > WORSE_POINTS
    )


def _data(ready: Ready) -> dict[str, Any]:
    data = ready.data
    return {
        "file": str(ready.request.config.data),
        "hash": data.sha256,
        "train_images": len(data.train),
        "val_images": len(data.selection_images),
        "final_images": len(data.final_images),
        "final_split": data.final_split_name,
    }


def _notes(
    ready: Ready,
    latencies: tuple[LatencyResult, LatencyResult],
    files: list[str],
) -> tuple[str, ...]:
    notes = [*ready.data.notes]
    if not ready.runs_here:
        notes.append(
            f"mAP of the file was not validated through {ready.options.runtime}, which does not run"
            " like that on this machine: it is torch's, whose outputs the file gave on the target"
        )
    if not all(each.steady for each in latencies):
        notes.append("the machine was not steady while latency was measured")
    if ready.train_args and not ready.data.test:
        notes.append("there is no test split: the fine-tune chose its best epoch on all of val")
    if "predict.py" not in files:
        notes.append(f"there is no predict.py for {ready.options.runtime} and such images")
    return tuple(notes)
