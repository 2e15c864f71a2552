"""The steps from a plan to the numbers on its card; each keeps its result in the workshop."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoprune.domain.card import FineTuneScores, Score
from autoprune.domain.record import LatencyResult
from autoprune.domain.versions import UNKNOWN, version_of
from autoprune.evaluation.branches import choose_branch
from autoprune.evaluation.class_head import in_order_of
from autoprune.evaluation.images import load_batch
from autoprune.evaluation.inside.pruned_yolo import PrunedYOLO, as_pruned_yolo, load_pruned
from autoprune.evaluation.validate import Scores, scores
from autoprune.evaluation.validate import validate as validate_module
from autoprune.evaluation.validate_file import Answers, scores_of_answers
from autoprune.latency.answers import local_answers
from autoprune.latency.checked_export import first_right
from autoprune.latency.denormals import denormals_note
from autoprune.latency.export import ExportedModel, export_model, folded, write_references
from autoprune.latency.measure import check_answers, measure_against, measure_dense
from autoprune.latency.options import TimingSettings
from autoprune.latency.processes import Processes
from autoprune.shipping.ready import Ready
from autoprune.shipping.widths import check_file_widths, check_widths
from autoprune.shipping.workshop import Workshop

REAL_IMAGES = 8
PROCESSES = 3  # that time the shipped file, one after the other; as many again if it stays open
LEAST_S, MOST_S = 2.0, 6.0  # each of them
DENSE, SHIPPED = "dense", "shipped"

Say = Callable[[str], None]
Tune = Callable[[PrunedYOLO, Path], PrunedYOLO]  # a model and the folder of its training


@dataclass(frozen=True)
class Hands:
    """What the steps are done with that the caller has: see `api.applying`.

    Attributes:
        prune: Applies the plan to the model.
        tune: Fine-tunes at full length; goes on where it was interrupted.
        say: Told what happens, a line each.
    """

    prune: Callable[[], PrunedYOLO]
    tune: Tune
    say: Say


def make_weights(ready: Ready, shop: Workshop, hands: Hands) -> dict[str, Any]:
    """Write start.pt: the weights that the study trained for the plan, or the pruned ones."""
    if (done := shop.done("weights")) is not None:
        return done
    path, config = shop.work / "start.pt", ready.request.config
    if ready.weights is not None:
        pruned = load_pruned(ready.weights, trust=config.trust_checkpoint)
        choose_branch(pruned.model, config.nms, str(ready.weights))
        how = f"trained by the study ({ready.weights.name})"
    else:
        pruned = hands.prune()
        how = pruned.how_pruned
    module = in_order_of(pruned.model, ready.data.names, str(ready.data.path))
    if module is not pruned.model:
        pruned = as_pruned_yolo(module, pruned)
    check_widths(ready.dense, ready.plan, module, "after pruning")
    pruned.save(path)
    result = {"how": how}
    shop.finish("weights", result)
    return result


def fine_tune(ready: Ready, shop: Workshop, hands: Hands) -> tuple[Path, FineTuneScores | None]:
    """Write trained.pt, where a fine-tune is asked for, and compare it with start.pt on val.

    Returns:
        The .pt that ships, and what the fine-tune did.
    """
    start, path = shop.work / "start.pt", shop.work / "trained.pt"
    if not ready.train_args:
        return start, None
    if shop.done("fine-tune") is None:
        training = shop.work / "training"
        tuned = hands.tune(_opened(ready, start), training)
        check_widths(ready.dense, ready.plan, tuned.model, "after training")
        tuned.save(path)
        shop.finish("fine-tune", {"settings": ready.train_args})
        shutil.rmtree(training, ignore_errors=True)
    if (done := shop.done("fine-tuned")) is None:
        done = {"before": _on_val(ready, start), "after": _on_val(ready, path)}
        shop.finish("fine-tuned", done)
    found = FineTuneScores.model_validate(done)
    return (path if found.kept else start), found


def _on_val(ready: Ready, file: Path) -> float:
    module, images = _opened(ready, file).model, ready.data.selection_images
    return validate_module(module, ready.data, images, ready.imgsz, ready.device).map50_95


def shipped_model(ready: Ready, weights: Path) -> Any:
    """The module in the .pt that ships, as it is reloaded."""
    module = _opened(ready, weights).model
    check_widths(ready.dense, ready.plan, module, "after reload")
    return module


def export(ready: Ready, shop: Workshop, name: str, module: Any) -> tuple[ExportedModel, str]:
    """Write the runtime's file of a model; it has answered as torch does on the target.

    Returns:
        The file, and what was compared, in words.
    """
    step, folder, runtime = f"export-{name}", shop.work / name, ready.options.runtime
    path = folder / f"model{ready.options.row.suffix}"
    if (done := shop.done(step)) is not None:
        reference = tuple(folder / each for each in done["reference"])
        known = done["exporter"], reference, done["end_to_end"]
        return ExportedModel(path, runtime, ready.imgsz, *known), done["said"]
    shutil.rmtree(folder, ignore_errors=True)
    images = load_batch(_some(ready.data.final_images), ready.imgsz, ready.data.channels)
    references = write_references(module, images, folder / "images")

    def compare(exported: ExportedModel) -> float:
        random = check_answers(ready.target, exported, ready.options)
        real = check_answers(ready.target, exported, ready.options, references)
        return max(random, real)

    exported, apart = first_right(
        lambda after: export_model(
            module, path, ready.imgsz, runtime, after, quantizing=ready.quantizing
        ),
        compare,
    )
    said = f"outputs of the {name} file are torch's within {apart:.1e} on {len(images)} images"
    widths = check_file_widths(folded(module), exported.path)
    if widths is not None:
        said += f"; {widths[0]} of {widths[1]} convolutions have the model's widths in the file"
        said += ", the others are rewritten" if widths[0] < widths[1] else ""
    note = denormals_note(exported.denormals, ready.options)
    shutil.rmtree(folder / "images")
    said = said if note is None else f"{said}; {note}"
    result = {
        "exporter": exported.exporter,
        "reference": [each.name for each in exported.reference or ()],
        "end_to_end": exported.end_to_end,
        "said": said,
    }
    shop.finish(step, result)
    return exported, said


def measure(
    ready: Ready, shop: Workshop, dense: ExportedModel, shipped: ExportedModel
) -> tuple[LatencyResult, LatencyResult]:
    """Time the shipped file beside the dense one, in several fresh processes on the target."""
    if (done := shop.done("latency")) is None:
        timing = replace(TimingSettings(), dense_s=LEAST_S, cap_s=MOST_S)
        calibrated = measure_dense(ready.target, dense, ready.options, timing)
        args = (ready.target, shipped, dense, calibrated, ready.options, timing.for_dense())
        limit_ms = ready.request.limits.latency_ms(calibrated.median_ms)

        def undecided(found: LatencyResult) -> bool:
            return limit_ms is not None and found.median_ms <= limit_ms < found.high_ms

        processes = Processes(PROCESSES, PROCESSES, undecided)
        found = processes.time(lambda: measure_against(*args))
        done = {
            DENSE: calibrated.model_dump(mode="json"),
            SHIPPED: found.model_dump(mode="json"),
        }
        shop.finish("latency", done)
    return LatencyResult.model_validate(done[DENSE]), LatencyResult.model_validate(done[SHIPPED])


def validate(
    ready: Ready,
    shop: Workshop,
    models: dict[str, tuple[Any, ExportedModel]],
    say: Say,
) -> dict[tuple[str, str], Score]:
    """Score both models on val and on the final images, from their files where that can be.

    Args:
        models: Name -> the module and its file.
        say: Told how far it is.

    Returns:
        (name, "val" or "final") -> score.
    """
    splits = {"val": ready.data.selection_images, "final": ready.data.final_images}
    found: dict[tuple[str, str], Score] = {}
    left = sum(map(len, splits.values())) * len(models)
    began, seen = time.monotonic(), 0
    for name, (module, exported) in models.items():
        for split, images in splits.items():
            step = f"score-{name}-{split}"
            left -= len(images)
            if (done := shop.done(step)) is None:
                scored = _scored(ready, module, exported, images)
                done = _score(scored, _through(ready)).model_dump(mode="json")
                shop.finish(step, done)
                seen += len(images)
            score = found[name, split] = Score.model_validate(done)
            line = f"{name}: {score.metric} {score.map50_95:.3f} on {score.split}"
            say(line + time_left(began, seen, left))
    return found


def time_left(began: float, done: int, left: int) -> str:
    """`, about 3 min left`: as long for each as so far; nothing where that is not known."""
    if not done or not left:
        return ""
    seconds = max(1.0, (time.monotonic() - began) / done * left)
    return (
        f", about {seconds:.0f} s left" if seconds < 90 else f", about {seconds / 60:.0f} min left"
    )


def _opened(ready: Ready, file: Path) -> PrunedYOLO:
    return load_pruned(file, trust=ready.request.config.trust_checkpoint)


def _through(ready: Ready) -> str:
    """What computes the outputs on this machine, with its version."""
    if not ready.runs_here:
        return f"torch {version_of('torch')}"
    packages = ready.options.row.packages
    known = version_of(packages[0]) if packages else UNKNOWN
    return ready.options.runtime if known == UNKNOWN else f"{ready.options.runtime} {known}"


def _scored(ready: Ready, module: Any, exported: ExportedModel, images: tuple[Path, ...]) -> Scores:
    if not ready.runs_here:
        return scores(module, ready.data, images, ready.imgsz, ready.device)
    opened: AbstractContextManager[Answers] = local_answers(exported, ready.options)
    with opened as answers:
        return scores_of_answers(module, answers, ready.data, images, ready.imgsz)


def _score(found: Scores, through: str) -> Score:
    metrics = found.metrics
    return Score(
        split=metrics.split,
        images=metrics.images,
        metric=metrics.metric,
        map50_95=metrics.map50_95,
        map50=metrics.map50,
        by_class=found.by_class,
        through=through,
    )


def _some(images: tuple[Path, ...]) -> tuple[Path, ...]:
    """REAL_IMAGES of them, spread over all."""
    stride = max(1, len(images) // REAL_IMAGES)
    return images[::stride][:REAL_IMAGES]
