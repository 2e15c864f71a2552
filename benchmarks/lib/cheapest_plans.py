"""What each runtime's own cheapest plan is worth, before any trial: no luck of a search in it.

Before its trials a search times the plan that costs least, by what the channels are worth, of those
that its predictor puts within the limit. Here these plans are pruned and validated untrained.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.lib.markdown_table import table

CHEAPEST = "cheapest"
Rows = list[dict[str, Any]]


def cheapest_plans(folder: Path, size: int) -> dict[str, float]:
    """Leave the plans of the demo's searches among the other plans.

    Returns:
        Label -> mAP50-95 on val, pruned and compensated, untrained.
    """
    from autoprune.evaluation.quiet import prepare_environment

    prepare_environment()
    import yaml

    from autoprune.demo.bundle import demo_checkpoint
    from autoprune.demo.dataset import demo_data_yaml
    from autoprune.domain.plan import PruningPlan
    from autoprune.domain.verdict import Verdict
    from autoprune.evaluation.checkpoint import load_yolo
    from autoprune.evaluation.dataset import inspect_data
    from autoprune.evaluation.validate import validate
    from autoprune.pruning.prune import Pruner
    from autoprune.search.context.calibration_images import calibration_images
    from autoprune.search.learn.calibration import calibrate

    dense, data = load_yolo(demo_checkpoint()).model, inspect_data(demo_data_yaml())
    known = calibrate(dense, data, size, calibration_images(size))
    pruner, found = Pruner(dense, "obs", known, True), {}
    for file in sorted(folder.glob("studies/*/*/verdict.json")):
        options = [each for each in Verdict.load(file).options if each.kind == "plan"]
        if options and options[0].plan is not None:
            label = f"{CHEAPEST}-{file.parents[1].name}"
            plan = folder / "plans" / f"demo-{label}.yaml"
            plan.write_text(yaml.safe_dump(options[0].plan))
            pruned = pruner.prune(PruningPlan.load(plan))
            found[label] = validate(pruned, data, data.val, size).map50_95
    return found


def rows_of(scores: dict[str, float], times: dict[str, Any], shares: list[float]) -> Rows:
    """A row per plan and runtime.

    Args:
        scores: As `cheapest_plans` gives them.
        times: Runtime -> label -> times there.
        shares: Asked for.
    """
    return [
        {"share": share, "found_for": found_for, "runtime": runtime,
         "ratio": found[label]["ratio"], "untrained": scores[label]}
        for share in shares
        for found_for in times
        for runtime, found in times.items()
        if (label := f"{CHEAPEST}-{share:g}-{found_for}") in scores and label in found
    ]  # fmt: skip


def render(rows: Rows, runtimes: list[str], dense_map: float) -> str:
    """The table, and what each runtime's own plans are worth beside the first one's."""
    lines = []
    for share, found_for in dict.fromkeys((row["share"], row["found_for"]) for row in rows):
        own = [row for row in rows if (row["share"], row["found_for"]) == (share, found_for)]
        ratios = {row["runtime"]: f"{row['ratio']:.3f}" for row in own}
        cells = (ratios.get(runtime, "-") for runtime in runtimes)
        lines.append((f"{share:g}", found_for, f"{own[0]['untrained']:.3f}", *cells))
    said = [
        each for runtime in runtimes[1:] if (each := _worth(rows, runtime, runtimes[0], dense_map))
    ]
    return "\n\n".join(
        [table(("share", "plan found for", "mAP untrained", *runtimes), lines), *said]
    )


def _worth(rows: Rows, runtime: str, first: str, dense_map: float) -> str:
    """The mAP of a runtime's own plans against the first one's at the same latency there."""
    curve = [(1.0, dense_map)]
    curve += [(row["ratio"], row["untrained"]) for row in rows
              if (row["runtime"], row["found_for"]) == (runtime, first)]  # fmt: skip
    ratios, scores = zip(*sorted(curve), strict=True)
    said = []
    for own in (row for row in rows if row["runtime"] == row["found_for"] == runtime):
        if ratios[0] <= own["ratio"]:
            other = float(np.interp(own["ratio"], ratios, scores))
            said.append(f"{own['untrained']:.3f} against {other:.3f} at {own['ratio']:.3f}")
        else:
            said.append(f"{own['untrained']:.3f} at {own['ratio']:.3f}, faster than those")
    return f"In {runtime}, its own against {first}'s: {'; '.join(said)} of dense." if said else ""
