"""The space of a search for which the user named none: widths on the target's own steps."""

from __future__ import annotations

from autoprune.domain.space import SearchSpace
from autoprune.latency.predictor import LatencyPredictor
from autoprune.pruning.prune import Pruner
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.workbench import Informed
from autoprune.search.learn.stairs import on_steps, space_text, steps_comment
from autoprune.storage.yaml_io import write_atomic


def with_target_space(bench: Informed, listener: SearchListener) -> Informed:
    """The bench with only those widths that waste nothing on the target; a space asked for stays.

    The widths are kept in the study's space.yaml and read back from there, so that a continued
    study and every worker have exactly the same.

    Args:
        bench: With its predictor; the caller holds the study's lock.
        listener: Told how many widths there are.

    Raises:
        ConfigError: space.yaml is no longer a space of this model.
    """
    if bench.config.space is not None:
        return bench
    path, block = bench.folder.space, bench.predictor.staircase.block
    if not path.exists():
        found = steps_or_all(bench.pruner, bench.space, bench.predictor)
        comment = steps_comment(bench.dense_latency.fingerprint, bench.imgsz, block)
        write_atomic(path, space_text(found, comment))
    space = SearchSpace.load(path, bench.space.widths, bench.config.protect)
    count = sum(len(offered) for offered in space.choices.values())
    steps = f"steps of {block} channels" if block > 1 else "steps"
    listener.say(f"Widths on offer: those on this target's {steps}, {count} in all ({path}).")
    return bench.grown(Informed, space=space)


def steps_or_all(pruner: Pruner, space: SearchSpace, predictor: LatencyPredictor) -> SearchSpace:
    """The space on the target's steps; the space given where that leaves nothing to choose."""
    found = on_steps(pruner, space, predictor)
    return found if any(len(offered) > 1 for offered in found.choices.values()) else space
