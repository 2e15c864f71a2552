"""Ready: what a bundle is made of, loaded and checked before any work."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoprune.domain.plan import PruningPlan
from autoprune.errors import PlanError
from autoprune.evaluation.branches import choose_branch, deployed_branch
from autoprune.evaluation.checkpoint import check_finite, load_yolo, model_hash, trained_image_size
from autoprune.evaluation.class_head import check_classes, in_order_of
from autoprune.evaluation.data_yaml import read_data_yaml
from autoprune.evaluation.dataset import DataSummary, inspect_data
from autoprune.evaluation.device import choose_device
from autoprune.evaluation.fewer_classes import classes_of, kept_classes, with_classes
from autoprune.evaluation.fine_tune_settings import check_freeze, full_train_args
from autoprune.evaluation.images import check_channels
from autoprune.evaluation.model_task import check_keypoints, model_task
from autoprune.evaluation.pictures import Pictures, sampled
from autoprune.evaluation.regrowth_guard import sealed_info
from autoprune.evaluation.sync_norms import without_sync_norms
from autoprune.latency.options import RuntimeOptions
from autoprune.latency.quantizing import IMAGES, Quantizing
from autoprune.latency.runner import describe_machine
from autoprune.latency.targets import LatencyTarget, target_from
from autoprune.pruning.prune import widths_of
from autoprune.pruning.selection import check_plan
from autoprune.search.context.greet import greet
from autoprune.search.context.prepare import check_stride, runtime_options
from autoprune.shipping.request import Request, check_folder

_OF_THE_MACHINE = ("device", "workers")  # settings of a fine-tune that no result depends on


@dataclass(frozen=True)
class Ready:
    """All that the steps need.

    Attributes:
        dense: The dense model, reduced to the plan's classes, in the data's order of them.
        base: Hash of the model in the file.
        weights: Weights that were trained for this very plan; None: it is applied afresh.
        runs_here: Whether the runtime is installed on this machine too.
        full_range: Whether the target's CPU, and this one, add up products of 8 bits.
    """

    request: Request
    plan: PruningPlan
    dense: Any  # ultralytics' DetectionModel
    base: str
    data: DataSummary
    imgsz: tuple[int, int]
    options: RuntimeOptions
    target: LatencyTarget
    device: str
    weights: Path | None
    runs_here: bool
    full_range: bool

    @property
    def quantizing(self) -> Quantizing:
        """What an INT8 runtime's file is made with: training images, the same ones each time."""
        images = sampled(self.data.train, IMAGES, self.request.config.seed)
        return Quantizing(Pictures(images, self.imgsz, self.data.channels), self.full_range)

    @property
    def task(self) -> str:
        """The model's."""
        return model_task(self.dense).name

    @property
    def metric(self) -> str:
        """What the task is judged by."""
        return model_task(self.dense).metric

    @property
    def train_args(self) -> dict[str, Any]:
        """Settings of the fine-tune; empty where none was asked for."""
        asked = self.request.asked.fine_tune
        return {"imgsz": max(self.imgsz), **asked} if asked else {}

    def depends_on(self) -> dict[str, Any]:
        """What another bundle differs in: the request, as plain data."""
        config, limits = self.request.config, self.request.limits
        settings = self.train_args
        return {
            "model": self.base,
            "plan": self.plan.to_mapping(),
            "branch": branch_of(self),
            "weights": self._hash_of_weights(),
            "data": self.data.sha256,
            "imgsz": list(self.imgsz),
            "runtime": self.options.runtime,
            "threads": self.options.threads,
            "provider": self.options.provider or self.options.row.provider,
            "channels_last": self.options.channels_last,
            "precision": self.options.computes_in,
            "target": config.target,
            "budget_ms": limits.budget_ms,
            "speedup": limits.speedup,
            "max_drop": limits.max_drop,
            "fine_tune": {k: v for k, v in settings.items() if k not in _OF_THE_MACHINE},
        }

    def _hash_of_weights(self) -> str | None:
        if self.weights is None:
            return None
        return model_hash(load_yolo(self.weights, trust=self.request.config.trust_checkpoint).model)


def checked(request: Request, target: LatencyTarget | None, say: Callable[[str], None]) -> Ready:
    """Load and check plan, model, data, settings and target; takes seconds.

    Args:
        request: What is asked.
        target: Where latency is measured, instead of what the request names.
        say: Told what the user has to know.

    Raises:
        ConfigError, PlanError, UnsupportedModel: Wrong input; nothing was begun.
        TargetUnreachable: The device does not answer.
        TrialFailed: It cannot run a network of one layer.
    """
    config, asked = request.config, request.asked
    options = runtime_options(config, config.imgsz or (640, 640))
    where = target or target_from(config.target, config.target_python)
    check_folder(asked.output)
    plan, named = PruningPlan.load(asked.plan), str(asked.plan)
    settings = full_train_args(asked.fine_tune)
    device = choose_device(settings.get("device"))
    assert config.model is not None
    assert config.data is not None
    described = read_data_yaml(config.data)
    yolo = load_yolo(config.model, trust=config.trust_checkpoint)
    dense: Any = without_sync_norms(yolo.model)
    check_finite(dense, str(config.model))
    base = model_hash(dense)
    if plan.base not in (None, base):
        raise PlanError.of(named, "base", plan.base, f"the hash of {config.model}, {base}")
    if plan.classes is not None:
        dense = with_classes(dense, kept_classes(dense, plan.classes))
    if plan.nms is not None or config.nms is not None:
        choose_branch(dense, plan.nms if config.nms is None else config.nms, named)
    check_plan(plan, widths_of(dense), named)
    check_freeze(settings.get("freeze"), len(dense.model))
    imgsz = config.imgsz or trained_image_size(yolo)
    check_stride(yolo, imgsz)
    options = replace(options, imgsz=imgsz)
    known = classes_of(dense)
    in_data = known.in_data(described.names, str(config.data)) if known else None
    greeting = greet(where, options, say)
    data = inspect_data(config.data, config.tolerated, model_task(dense).name, in_data)
    check_classes(dense, len(data.names), str(data.path))
    check_channels(dense, data.channels, str(data.path))
    check_keypoints(dense, data.kpt_shape, str(data.path))
    for note in data.notes:
        say(f"Note: {note}.")
    dense = in_order_of(dense, data.names, str(data.path))
    trust = config.trust_checkpoint
    weights = request.weights if _fit(request.weights, plan, base, trust, say) else None
    elsewhere = target is None and config.target != "local"
    return Ready(
        request=request,
        plan=plan,
        dense=dense,
        base=base,
        data=data,
        imgsz=imgsz,
        options=options,
        target=where,
        device=device,
        weights=weights,
        runs_here=runs_here(options, elsewhere=elsewhere),
        full_range=bool(greeting.int8 and describe_machine()["int8"]),
    )


def runs_here(options: RuntimeOptions, *, elsewhere: bool) -> bool:
    """Whether a file can be validated by its runtime on this machine.

    Args:
        options: The runtime.
        elsewhere: Latency is measured on another machine. Of this one only the CPU is relied on, in
            the runtime's own precision.
    """
    row = options.row
    if not all(map(importlib.util.find_spec, row.packages)):
        return False
    as_usual = options.provider in (None, row.provider) and options.computes_in == row.precisions[0]
    return not elsewhere or (as_usual and not row.on_gpu)


def branch_of(ready: Ready) -> str | None:
    """Which branch of the head is deployed, in words."""
    return deployed_branch(ready.dense)


def _fit(
    weights: Path | None, plan: PruningPlan, base: str, trust: bool, say: Callable[[str], None]
) -> bool:
    """Whether a file holds weights that were trained for a plan."""
    if weights is None or not weights.is_file() or plan.removes_nothing():
        return False
    noted = sealed_info(load_yolo(weights, trust=trust).model)
    if noted.get("base") != base or "plan" not in noted:
        say(f"Note: {weights} is of another model; the plan is applied afresh.")
        return False
    if PruningPlan.from_mapping(noted["plan"], str(weights)) != plan:
        say(f"Note: {weights} is of another plan; this one is applied afresh.")
        return False
    return True
