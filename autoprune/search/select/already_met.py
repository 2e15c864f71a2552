"""A dense model that meets the latency limit as it is: published, if fresh processes say so too."""

from __future__ import annotations

from autoprune.domain.goal import Evidence, Standing
from autoprune.domain.outcome import Outcome
from autoprune.latency.processes import Processes
from autoprune.search.context.listener import SearchListener
from autoprune.search.context.workbench import Measured
from autoprune.search.evaluate.best_so_far import publish
from autoprune.search.select.finish import CONFIRMING_PROCESSES, outcome_of


def already_met(bench: Measured, listener: SearchListener) -> Outcome | None:
    """The search's outcome where there is nothing to prune; None where there is.

    Who asks for a number of trials gets them; an accuracy goal always means a search.
    """
    limit, dense = bench.limit, bench.dense
    if limit.latency_ms is None or bench.config.trials is not None:
        return None
    if limit.judge_latency(bench.dense_latency) < Evidence.INTERVAL:
        return None
    bench.save_model(bench.yolo.model, bench.folder.dense / "model.pt", dense.pruning_plan())
    confirmed = bench.measure(bench.yolo.model, bench.folder.dense, Processes(CONFIRMING_PROCESSES))
    if limit.judge_latency(confirmed) < Evidence.INTERVAL:
        return None
    dense = dense.model_copy(update={"confirmed": confirmed})
    bench.folder.save_record(dense)
    bench.keep_export(bench.yolo.model, bench.folder.dense)
    publish(bench, Standing(dense, Evidence.CONFIRMED))
    outcome = outcome_of(limit, [], dense, "the dense model meets the budget already")
    outcome.save(bench.folder.outcome)
    listener.say("The dense model is within the budget already: nothing to prune.")
    listener.say("For a search, ask for less: a smaller --budget-ms, or --speedup 1.7.")
    return outcome
