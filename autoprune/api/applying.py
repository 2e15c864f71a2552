"""apply: from a plan to the bundle that ships."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoprune.errors import ConfigError
from autoprune.evaluation.traces import no_traces
from autoprune.storage.yaml_io import write_atomic

if TYPE_CHECKING:
    from autoprune.domain.card import ModelCard
    from autoprune.evaluation.inside.pruned_yolo import PrunedYOLO
    from autoprune.latency.targets import LatencyTarget


@no_traces()
def apply(
    plan: str | Path,
    output: str | Path,
    *,
    budget_ms: float | None = None,
    max_drop: float | None = None,
    fine_tune: Mapping[str, Any] | None = None,
    target: LatencyTarget | str | None = None,
    say: Callable[[str], None] = lambda _: None,
    command: list[str] | None = None,
    **settings: Any,
) -> ModelCard:
    """Make the model of a plan, check its exported file, and write both with a card.

    What is left open is the study's that the plan is from, or the default. The folder holds
    model.pt, the runtime's file, plan.yaml, card.json, card.md and predict.py. Interrupted, the
    same call goes on after the last finished step; a finished bundle is left as it is.

    Args:
        plan: A study's best.yaml, a trial's plan.yaml, or any per-index YAML.
        output: Folder to make.
        budget_ms: Latency limit in ms; the goal's of the study if neither limit is given.
        max_drop: mAP50-95 points that the shipped file may lose on the final images.
        fine_tune: Ultralytics' training settings, such as {"epochs": 100}; none: no training.
        target: Where latency is measured; also an object that measures.
        say: Told each step, and how far it is.
        command: The command for the card; by default made of what is given here.
        **settings: Of `StudyConfig`: model, data, imgsz, runtime, threads, provider,
            channels_last, precision, target_python, nms, trust_checkpoint, allow_broken,
            allow_unlabelled.

    Returns:
        The card; its `met` says whether the file is within the limits.

    Raises:
        ConfigError, PlanError, UnsupportedModel: Wrong input, before any work.
        AutopruneError: A check failed.
        TrialFailed: The model cannot be exported, run or timed.
        TargetUnreachable: The device does not answer.
    """
    from autoprune.shipping.request import Asked, completed

    named = target if isinstance(target, str) else None
    asked = Asked(
        plan=Path(plan),
        output=Path(output),
        settings={**settings, "target": named},
        budget_ms=budget_ms,
        max_drop=max_drop,
        fine_tune=dict(fine_tune or {}),
    )
    request = completed(asked)
    from autoprune.search.propose.names import check_names

    check_names(request.config)
    from autoprune.shipping.ready import Ready, checked
    from autoprune.shipping.run import ship
    from autoprune.shipping.steps import Hands

    measures = None if target is None or isinstance(target, str) else target
    ready: Ready = checked(request, measures, say)
    _check_writable(asked.output)
    hands = Hands(
        prune=lambda: _pruned(ready),
        tune=lambda model, folder: _tuned(ready, model, folder, say),
        say=say,
    )
    card, was_there = ship(ready, hands, command or _command(asked))
    if was_there:
        say(f"{asked.output}: the finished bundle of this request")
    return card


def _pruned(ready: Any) -> PrunedYOLO:
    from autoprune.api.pruning import prune_detection_model

    config = ready.request.config
    pruned: PrunedYOLO = prune_detection_model(
        str(config.model),
        prune_yaml=ready.request.asked.plan,
        calibration=config.data,
        nms=config.nms,
        allow_broken=config.allow_broken,
        allow_unlabelled=config.allow_unlabelled,
        trust_checkpoint=config.trust_checkpoint,
    )
    return pruned


def _tuned(ready: Any, model: PrunedYOLO, folder: Path, say: Callable[[str], None]) -> PrunedYOLO:
    from autoprune.api.pruning import fine_tune_pruned

    config = ready.request.config
    odd = config.allow_broken, config.allow_unlabelled
    tuned: PrunedYOLO = fine_tune_pruned(model, config.data, ready.train_args, folder, say, *odd)
    return tuned


def _check_writable(folder: Path) -> None:
    try:
        draft = folder / ".work" / ".writable"
        if not (folder / "card.json").exists():
            write_atomic(draft, "")
            draft.unlink()
    except OSError as error:
        raise ConfigError(f"--output: {folder}: {error.strerror or error}") from None


def _command(asked: Any) -> list[str]:
    words = ["autoprune", "apply", "--plan", str(asked.plan), "-o", str(asked.output)]
    given = {**asked.settings, "budget_ms": asked.budget_ms, "max_drop": asked.max_drop}
    for key, value in given.items():
        flag = f"--{key.replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif isinstance(value, (list, tuple)):
            words += [flag, "x".join(map(str, value))]
        elif value is not None and value is not False:
            words += [flag, str(value)]
    return [*words, *(f"{key}={value}" for key, value in asked.fine_tune.items())]
