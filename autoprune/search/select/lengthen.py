"""Rung LONG: the plan to be recommended is trained on, as long as time allows."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from autoprune.domain.record import LONG, SHORT, TrialRecord
from autoprune.evaluation.checkpoint import load_yolo
from autoprune.evaluation.quiet import quiet
from autoprune.evaluation.validate import validate
from autoprune.search.context.budget import Allowance
from autoprune.search.context.failures import candidate_failure
from autoprune.search.context.int8 import score_file
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.workbench import Informed
from autoprune.search.evaluate.training import train_and_score
from autoprune.search.select.costs import Costs

LONGER_FILE = "longer"  # the INT8 file, until it is known to be better
LONGER = 3  # times the epochs of the short fine-tune
DISTILL = 1.0
"""Share of the dense model's outputs in the loss, unless the user sets one.

On a plan of the demo that had lost 2 % of its mAP, 3 epochs with and without gave 0.731 and 0.729,
and only with it did more epochs help (0.732 after 8; without, 0.728 after 5); one seed. The short
fine-tune goes without: there it adds 0 to 0.5 points for 1.3 to 1.5 times the time
(`python -m benchmarks.search_quality distilled`).
"""


def lengthen(
    bench: Informed, best: TrialRecord, allowance: Allowance, listener: SearchListener
) -> TrialRecord:
    """Train the best plan's model further; its weights are replaced if val says they are better.

    Args:
        bench: The study.
        best: Confirmed, with its weights in place.
        allowance: Fewer epochs are trained to keep it, and none if not even as many as before fit.
        listener: Hears the stages.

    Returns:
        The record with its score at rung LONG, saved; as given when there was no time, or when
        training failed (which is said).
    """
    folder = bench.folder.folder_of(best)
    short = best.at_rung(SHORT)
    if short is None or best.at_rung(LONG) is not None or not (folder / "model.pt").exists():
        return best
    epochs = bench.fine_tune.epochs * LONGER
    per_epoch_s = short.seconds / max(1, short.epochs)
    most_s = Costs(bench).most_s(allowance, allowance.ends)
    if most_s is not None and per_epoch_s:
        epochs = min(epochs, int(most_s / per_epoch_s))
    if epochs < bench.fine_tune.epochs:  # a shorter one than before only shakes the weights
        return best
    kept = best.kept_score or short
    tried = folder / f"{LONGER_FILE}{bench.options.row.suffix}"
    listener.candidate(f"longer fine-tune of {best.name}", None, None)
    listener.stage("fine-tune")
    try:
        with quiet(folder / "log.txt"):
            trust = bench.config.trust_checkpoint
            module: nn.Module = load_yolo(folder / "model.pt", trust=trust).model
            settings = bench.fine_tune.after_losing(0.0)
            share = DISTILL if settings.distill is None else settings.distill
            settings = replace(settings, epochs=epochs, distill=share)
            trained, score = train_and_score(
                bench, module, kept.float_map50_95, folder, listener, settings, LONG, most_s,
                file=LONGER_FILE,
            )  # fmt: skip
            if score.metrics.map50_95 > kept.metrics.map50_95:
                images = bench.data.final_images
                if bench.quantizes:
                    file = tried.replace(bench.kept_file(folder))
                    final = score_file(bench, trained, file, images)
                else:
                    final = validate(trained, bench.data, images, bench.train_size, bench.device)
                    bench.keep_export(trained, folder)
                score = score.model_copy(update={"final": final})
                bench.save_model(trained, folder / "model.pt", best.pruning_plan())
            tried.unlink(missing_ok=True)
            longer = best.model_copy(update={"rungs": (*best.rungs, score)})
            bench.folder.save_record(longer)  # at once: it says whose weights model.pt holds
    except Exception as error:
        failure = candidate_failure(error, folder)
        listener.say(
            f"The longer fine-tune of {best.name} failed ({failure.reason}: {failure.detail})."
        )
        return best
    reached = f"{best.metric} {score.metrics.map50_95:.3f} on val"
    listener.say(f"{best.name}, {score.epochs} more epochs: {reached}.")
    return longer
