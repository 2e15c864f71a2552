"""From a model to its ChannelMap: trace one forward pass, group, and name what was found."""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from typing import Any

import torch
from torch import Tensor, nn

from autoprune.errors import UnsupportedModel
from autoprune.families.tracing.arithmetic import ARITHMETIC
from autoprune.families.tracing.attributes import counted, freeze_contradictions
from autoprune.families.tracing.found import Found, Place, Role
from autoprune.families.tracing.grouping import Run, runs_of
from autoprune.families.tracing.ids import FIXED
from autoprune.families.tracing.layers import LAYERS
from autoprune.families.tracing.movement import MOVEMENT
from autoprune.families.tracing.tracer import Tracer
from autoprune.pruning.groups import (
    AxisSlice,
    ChannelGroup,
    ChannelMap,
    FrozenChannels,
    SizeAttribute,
)

LEAST_SIDE = 64  # px; twice the largest stride, so that batch norm sees more than one pixel
NO_OUTPUTS = ("feats",)
"""Keys of the head's answer that hold what it was given, for the loss to know its size."""

BOXES = ("cv2", "one2one_cv2")
CLASSES = ("cv3", "one2one_cv3")


def channel_map(model: nn.Module) -> ChannelMap:
    """Follow every channel of a model through its own forward pass, in training and without.

    Some branches are there in training alone, some paths only then not. Shapes alone are computed,
    so that it takes a second or two.

    Args:
        model: An Ultralytics model; not changed.

    Raises:
        UnsupportedModel: Its forward pass cannot be run so, or none of its channels can go.
    """
    layers = getattr(model, "model", None)
    if not isinstance(layers, nn.Sequential) or not len(layers):
        raise UnsupportedModel(f"got {type(model).__name__}, expected an Ultralytics YOLO model")
    found = traced(model)
    runs = runs_of(found)
    freeze_contradictions(found, runs)
    if all(run.reasons for run in runs):
        raise UnsupportedModel(f"{type(model).__name__}: none of its channels can be removed")
    return _Names(found, runs, len(layers) - 1).map()


def traced(model: nn.Module) -> Found:
    """Run the forward pass and see where every channel goes.

    Raises:
        UnsupportedModel: It cannot be run without values.
    """
    where = type(model).__name__
    try:
        shadow: Any = copy.deepcopy(model).to("meta").float()
        tracer = Tracer(shadow, LAYERS, {**ARITHMETIC, **MOVEMENT})
        for training in (True, False):
            image = torch.empty(2, *picture(model), device="meta")
            tracer.dye(image, torch.full((1, 1, 1, 1), FIXED))
            shadow.train(training)
            shadow.model[-1].training = True  # the head alone: raw outputs, no decoding
            with torch.no_grad(), tracer:
                answer = shadow(image)
            _keep_answers(tracer, answer)
    except Exception as error:  # a forward pass may fail in any way
        where = tracer.where or where if "tracer" in locals() else where
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UnsupportedModel(
            f"{where}: its forward pass cannot be followed ({lines[0]})"
        ) from None
    return tracer.found


def picture(model: nn.Module) -> tuple[int, int, int]:
    """Channels, height and width of the smallest image that a model's forward pass takes."""
    told, channels = getattr(model, "yaml", None), 3
    first = next((each for each in model.modules() if isinstance(each, nn.Conv2d)), None)
    if isinstance(told, dict) and isinstance(told.get("channels"), int):
        channels = told["channels"]
    elif first is not None:
        channels = first.in_channels
    stride = torch.as_tensor(getattr(model, "stride", 32))
    side = max(LEAST_SIDE, 2 * int(stride.max()))
    return channels, side, side


def _keep_answers(tracer: Tracer, answer: Any, key: str = "") -> None:
    """What the model gives back must stay."""
    if key in NO_OUTPUTS:
        return
    if isinstance(answer, Tensor):
        shadow = tracer.shadow(answer)
        if shadow is not None:
            tracer.freeze(shadow, f"the model's output {key}".strip())
    elif isinstance(answer, dict):
        for inner, each in answer.items():
            _keep_answers(tracer, each, str(inner))
    elif isinstance(answer, (list, tuple)):
        for each in answer:
            _keep_answers(tracer, each, key)


class _Names:
    """Names of groups, and of what they are made of."""

    def __init__(self, found: Found, runs: list[Run], last: int) -> None:
        self.found, self.runs, self.last = found, runs, last
        self.names: dict[int, str] = {}
        parts: dict[str, list[Run]] = defaultdict(list)
        for run in runs:
            parts[_maker(run)].append(run)
        for maker, of_it in parts.items():
            letters = [""] if len(of_it) == 1 else [f".{_letters(n)}" for n in range(len(of_it))]
            for run, letter in zip(of_it, letters, strict=True):
                self.names[id(run)] = f"{maker}{letter}"

    def map(self) -> ChannelMap:
        """Everything, in the order of the layers."""
        free = [run for run in self.runs if not run.reasons]
        frozen = [run for run in self.runs if run.reasons]
        return ChannelMap(
            tuple(sorted(map(self._group, free), key=lambda group: group.index)),
            tuple(
                FrozenChannels(self.names[id(run)], _index(run), run.width, run.reasons)
                for run in frozen
            ),
            tuple(
                SizeAttribute(*attribute, fixed, tuple(self.names[id(run)] for run in counts))
                for attribute, fixed, counts in counted(self.found, self.runs)
            ),
        )

    def _group(self, run: Run) -> ChannelGroup:
        assert run.cluster is not None
        index, entry = _index(run.cluster), 0  # one ratio decides for all of a cluster
        if index == self.last:
            entry = _entry(run.cluster, index)
        return ChannelGroup(
            name=self.names[id(run)],
            index=index,
            entry=entry,
            width=run.width,
            producers=self._slices(run, "makes"),
            consumers=self._slices(run, "reads"),
            riders=self._slices(run, "rides"),
            step=run.step,
            cluster=self.names[id(run.cluster)],
        )

    def _slices(self, run: Run, role: Role) -> tuple[AxisSlice, ...]:
        found = []
        for (name, axis), offset in run.of(role):
            module, _, tensor = name.rpartition(".")
            norm = self.found.norms.get(module, "") if tensor == "weight" else ""
            found.append(AxisSlice(module, offset, tensor, axis, norm))
        return tuple(found)


def _first(run: Run) -> Place:
    (place, _), *_ = run.of("makes") or run.of("rides") or run.of("reads")
    return place


def _maker(run: Run) -> str:
    """The block that makes it first: "4.cv1" for model.4.cv1.conv.weight."""
    module = _first(run)[0].rpartition(".")[0]
    return module.removeprefix("model.").removesuffix(".conv")


def _index(run: Run) -> int:
    parts = _first(run)[0].split(".")
    return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0


def _entry(run: Run, index: int) -> int:
    """In a head's entry: boxes, classes, and what its task has besides."""
    branch = _first(run)[0].removeprefix(f"model.{index}.").split(".")[0]
    return 0 if branch in BOXES else 1 if branch in CLASSES else 2


def _letters(number: int) -> str:
    """a, b, ... z, aa, ab, ..."""
    letters = ""
    while number >= 0:
        letters = chr(ord("a") + number % 26) + letters
        number = number // 26 - 1
    return letters


def summary(channels: ChannelMap) -> Counter[str]:
    """Why how many channels must stay, by their first reasons."""
    total: Counter[str] = Counter()
    for part in channels.frozen:
        total[part.reasons[0]] += part.width
    return total
