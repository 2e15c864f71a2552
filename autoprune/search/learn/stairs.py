"""Which widths of each index give speed on the target, and which waste it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from autoprune.domain.record import Fingerprint
from autoprune.domain.schema import KEY, VERSIONS
from autoprune.domain.space import SearchSpace, parameter_names
from autoprune.latency.predictor import LatencyPredictor
from autoprune.pruning.prune import Pruner

Array = np.ndarray[Any, Any]

WASTE_ALLOWED = 1.5  # channels; predictions are not exact either
_SPACE_STEP = 8  # widths offered in a space: multiples of it
_SHOWN_STEP, _SHOWN_SPAN, _SHOWN_WIDTHS = 4, 64, (64, 160)  # channels, of the one index shown


@dataclass(frozen=True)
class IndexStairs:
    """Latency against the kept width of one index, all others dense.

    Attributes:
        name: Parameter name: `keep_3`.
        widths: Kept channels, ascending.
        ratios: Predicted latency of the whole model relative to dense, one per width.
        wasted: Channels that could be kept on top at the same latency, one per width.
    """

    name: str
    widths: tuple[int, ...]
    ratios: tuple[float, ...]
    wasted: tuple[float, ...]

    @property
    def steps(self) -> tuple[int, ...]:
        """The widths that waste nothing; the widest is always one."""
        found = zip(self.widths, self.wasted, strict=True)
        return tuple(width for width, waste in found if waste <= WASTE_ALLOWED)


def wasted_channels(widths: Array, ratios: Array) -> Array:
    """How many more channels could be kept at the same latency, by the lower convex hull.

    On a straight or convex curve nothing is wasted anywhere; on a staircase everything between
    the corners is, and a width that costs more than all channels wastes all that it removes.

    Args:
        widths: Ascending, shape (widths,).
        ratios: Latency of each, same shape.

    Returns:
        Channels, same shape; 0 at the widest.
    """
    corners: list[int] = [len(widths) - 1]
    while corners[-1] > 0:  # from the widest down: the steepest saving per channel comes next
        last = corners[-1]
        slopes = (ratios[last] - ratios[:last]) / (widths[last] - widths[:last])
        best = int(slopes.argmax())
        if slopes[best] <= 0:
            break
        corners.append(best)
    hull = corners[::-1]
    same = np.interp(ratios, ratios[hull], widths[hull])
    wasted: Array = np.maximum(same - widths, 0.0)
    return wasted


def stairs_of(
    pruner: Pruner,
    space: SearchSpace,
    predictor: LatencyPredictor,
    name: str,
    widths: tuple[int, ...],
    round_to: int,
) -> IndexStairs:
    """Predict the latency of one parameter's widths, the others keeping all their channels."""
    dense = _dense_widths(space)
    plans = (replace(space.plan({**dense, name: width}), round_to=round_to) for width in widths)
    ratios = predictor.predict(np.array([pruner.signature(plan) for plan in plans]))
    wasted = wasted_channels(np.array(widths, dtype=np.float64), ratios)
    return IndexStairs(name, widths, tuple(ratios.tolist()), tuple(wasted.tolist()))


def shown_stairs(pruner: Pruner, space: SearchSpace, predictor: LatencyPredictor) -> IndexStairs:
    """The stairs of the plain convolution that matters most among those of moderate width.

    Widths run down in fours. Predictions for single odd widths are not good enough to be shown.
    """
    dense = _dense_widths(space)
    plain = [
        name
        for index, reference in space.widths.items()
        for name in parameter_names(index, reference)
        if len(reference) == 1 and sum(group.index == index for group in pruner.groups) == 1
    ]
    least, most = _SHOWN_WIDTHS
    names = [name for name in plain if least <= dense[name] <= most] or plain or list(dense)
    stairs = []
    for name in names:
        widest = dense[name]
        fours = range(max(widest // 4, widest - _SHOWN_SPAN) + _SHOWN_STEP - 1, widest, _SHOWN_STEP)
        widths = tuple(sorted({*({width - width % _SHOWN_STEP for width in fours} - {0}), widest}))
        stairs.append(stairs_of(pruner, space, predictor, name, widths, round_to=1))
    return max(stairs, key=lambda each: max(each.ratios) - min(each.ratios))


def on_steps(pruner: Pruner, space: SearchSpace, predictor: LatencyPredictor) -> SearchSpace:
    """The same space with only those widths that waste nothing on the target.

    Every parameter's range stays as it is: from the narrowest width on offer to the widest.
    """
    choices: dict[str, tuple[int, ...]] = {}
    for name, offered in space.choices.items():
        between = range(_SPACE_STEP, offered[-1], _SPACE_STEP)
        widths = tuple(sorted({*offered, *(each for each in between if each > offered[0])}))
        found = stairs_of(pruner, space, predictor, name, widths, space.round_to).steps
        choices[name] = found if len(offered) > 1 else offered
    return replace(space, choices=choices)


def space_text(space: SearchSpace, comment: str) -> str:
    """The YAML that `SearchSpace.load` reads back as this space, for the same model.

    Args:
        space: The widths.
        comment: Its head; whatever YAML would refuse there is replaced by spaces.
    """
    shown = ("".join(c if c.isprintable() else " " for c in line) for line in comment.splitlines())
    lines = [f"# {line}" for line in shown]
    lines += [f"{KEY}: {VERSIONS['space.yaml']}", f"round_to: {space.round_to}", "layers:"]
    for index, reference in space.widths.items():
        names = parameter_names(index, reference)
        kept = [f"{{kept: {list(space.choices[name])}}}" for name in names]
        if kept:
            pair = f"[{', '.join(kept)}]"
            lines.append(f"  {index}: {kept[0] if len(kept) == 1 else pair}")
    return "\n".join(lines) + "\n"


def steps_comment(place: Fingerprint, imgsz: tuple[int, int], block: int) -> str:
    """Where the widths of a space on a target's steps come from: the head of its YAML."""
    return (
        "Widths on the steps of one target, for one model, found by measurement:\n"
        f"{place.runtime} {place.runtime_version}, {place.provider}, {place.precision},"
        f" {place.threads} thread(s),"
        f" {place.cpu}, {imgsz[0]}x{imgsz[1]} px; channels count in blocks of {block}."
    )


def _dense_widths(space: SearchSpace) -> dict[str, int]:
    return {
        name: width
        for index, reference in space.widths.items()
        for name, width in zip(parameter_names(index, reference), reference, strict=True)
    }
