"""The stock architectures as literal tables: which conv reads which, typed from the YAML by hand.

Nothing here looks at a built model or at the engine, so tests can hold both against it.
A row is `(kind, from, width[, bottlenecks, shortcut])`; the row's position is the layer index.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Row = tuple[Any, ...]
Stream = tuple[str, int]
"""A conv's name and the part of its output: the cv1 of C2f and C2 has two, every other conv one."""

INPUT: Stream = ("image", 0)


def _yolov8(w: tuple[int, ...], n: tuple[int, int], repeats_head: int) -> list[Row]:
    """The 23 rows of yolov8.yaml: `w` the widths of indices 0, 1, 3, 5, 7, `n` the two depths."""
    w0, w1, w3, w5, w7 = w
    few, many = n
    return [
        ("Conv", -1, w0),
        ("Conv", -1, w1),
        ("C2f", -1, w1, few, True),
        ("Conv", -1, w3),
        ("C2f", -1, w3, many, True),
        ("Conv", -1, w5),
        ("C2f", -1, w5, many, True),
        ("Conv", -1, w7),
        ("C2f", -1, w7, few, True),
        ("SPPF", -1, w7),
        ("Upsample", -1),
        ("Concat", (-1, 6)),
        ("C2f", -1, w5, repeats_head, False),
        ("Upsample", -1),
        ("Concat", (-1, 4)),
        ("C2f", -1, w3, repeats_head, False),
        ("Conv", -1, w3),
        ("Concat", (-1, 12)),
        ("C2f", -1, w5, repeats_head, False),
        ("Conv", -1, w5),
        ("Concat", (-1, 9)),
        ("C2f", -1, w7, repeats_head, False),
        ("Detect", (15, 18, 21)),
    ]


_P2_HEAD: list[Row] = [
    ("Upsample", -1),
    ("Concat", (-1, 2)),
    ("C2f", -1, 32, 1, False),
    ("Conv", -1, 32),
    ("Concat", (-1, 15)),
    ("C2f", -1, 64, 1, False),
    ("Conv", -1, 64),
    ("Concat", (-1, 12)),
    ("C2f", -1, 128, 1, False),
    ("Conv", -1, 128),
    ("Concat", (-1, 9)),
    ("C2f", -1, 256, 1, False),
    ("Detect", (18, 21, 24, 27)),
]

_P6_FROM_7: list[Row] = [
    ("Conv", -1, 192),
    ("C2f", -1, 192, 1, True),
    ("Conv", -1, 256),
    ("C2f", -1, 256, 1, True),
    ("SPPF", -1, 256),
    ("Upsample", -1),
    ("Concat", (-1, 8)),
    ("C2", -1, 192, 1, False),
    ("Upsample", -1),
    ("Concat", (-1, 6)),
    ("C2", -1, 128, 1, False),
    ("Upsample", -1),
    ("Concat", (-1, 4)),
    ("C2", -1, 64, 1, False),
    ("Conv", -1, 64),
    ("Concat", (-1, 17)),
    ("C2", -1, 128, 1, False),
    ("Conv", -1, 128),
    ("Concat", (-1, 14)),
    ("C2", -1, 192, 1, False),
    ("Conv", -1, 192),
    ("Concat", (-1, 11)),
    ("C2", -1, 256, 1, False),
    ("Detect", (20, 23, 26, 29)),
]

# Not stock: residual C2, residual C2f in the head, SPPF in the middle, a layer read twice by one
# Concat, two levels. Nothing of yolov8.yaml may be taken for granted.
_UNUSUAL: list[Row] = [
    ("Conv", -1, 16),
    ("Conv", -1, 32),
    ("C2", -1, 32, 2, True),
    ("Conv", -1, 64),
    ("C2f", -1, 64, 3, True),
    ("SPPF", -1, 64),
    ("Conv", -1, 64),
    ("C2", -1, 64, 1, True),
    ("Upsample", -1),
    ("Concat", (4, -1, 5, 4)),
    ("C2f", -1, 48, 2, True),
    ("Conv", -1, 64),
    ("Concat", (-1, 7)),
    ("C2", -1, 64, 2, False),
    ("Detect", (10, 13)),
]

_N = _yolov8((16, 32, 64, 128, 256), (1, 2), 1)

TABLES: dict[str, list[Row]] = {
    "yolov8n": _N,
    "yolov8s": _yolov8((32, 64, 128, 256, 512), (1, 2), 1),
    "yolov8m": _yolov8((48, 96, 192, 384, 576), (2, 4), 2),
    "yolov8n-p2": _N[:16] + _P2_HEAD,
    "yolov8n-p6": _N[:7] + _P6_FROM_7,
    "unusual": _UNUSUAL,
}

TOWERS = {  # hidden widths of Detect's regression and classification tower at 80 classes
    "yolov8n": (64, 80),
    "yolov8s": (64, 128),
    "yolov8m": (64, 192),
    "yolov8n-p2": (64, 80),
    "yolov8n-p6": (64, 80),
    "unusual": (64, 80),
}


@dataclass(frozen=True)
class WiredConv:
    """One conv: whose output it reads, which plan entry rules its width, whose channels it keeps.

    `entry` is None where the outputs are all kept (the last 1x1 of a Detect tower); `pixels` is the
    feature map's side as a fraction 1/`pixels` of the image's.
    """

    name: str
    reads: tuple[Stream, ...]
    width: int
    parts: int
    kernel: int
    pixels: int
    index: int
    entry: int | None
    follows: Stream | None = None


def wired_convs(name: str, classes: int = 80) -> list[WiredConv]:
    """Every conv of the stock model `name` (fixed DFL conv left out), in forward order."""
    outputs: list[tuple[Stream, ...]] = []
    strides: list[int] = []
    convs: list[WiredConv] = []
    for index, row in enumerate(TABLES[name]):
        kind, origin = row[0], row[1]
        origins = origin if isinstance(origin, tuple) else (origin,)
        before = [index + one if one < 0 else one for one in origins]
        read = tuple(s for one in before for s in (outputs[one] if one >= 0 else (INPUT,)))
        stride = strides[before[0]] if before[0] >= 0 else 1
        at = f"model.{index}"
        if kind == "Conv":
            stride *= 2
            convs.append(WiredConv(f"{at}.conv", read, row[2], 1, 3, stride, index, 0))
            read = ((f"{at}.conv", 0),)
        elif kind in ("C2f", "C2"):
            convs += _csp(at, str(kind), read, row[2:], stride, index)
            read = ((f"{at}.cv2.conv", 0),)
        elif kind == "SPPF":
            width = row[2]
            hidden = ((f"{at}.cv1.conv", 0),)
            convs.append(WiredConv(hidden[0][0], read, width // 2, 1, 1, stride, index, 0))
            convs.append(WiredConv(f"{at}.cv2.conv", hidden * 4, width, 1, 1, stride, index, 0))
            read = ((f"{at}.cv2.conv", 0),)
        elif kind == "Upsample":
            stride //= 2
        elif kind == "Detect":
            for level, one in enumerate(before):
                tower_widths = zip(("cv2", "cv3"), TOWERS[name], (64, classes), strict=True)
                for entry, (tower, hidden_width, final) in enumerate(tower_widths):
                    base = f"{at}.{tower}.{level}"
                    first, second = f"{base}.0.conv", f"{base}.1.conv"
                    where = (strides[one], index)
                    convs += [
                        WiredConv(first, outputs[one], hidden_width, 1, 3, *where, entry),
                        WiredConv(second, ((first, 0),), hidden_width, 1, 3, *where, entry),
                        WiredConv(f"{base}.2", ((second, 0),), final, 1, 1, *where, None),
                    ]
        outputs.append(read)
        strides.append(stride)
    return convs


def _csp(
    at: str, kind: str, read: tuple[Stream, ...], spec: Row, stride: int, index: int
) -> list[WiredConv]:
    """The convs of a C2f or C2: `spec` is (width, bottlenecks, shortcut)."""
    width, bottlenecks, shortcut = spec
    half = width // 2
    cv1 = f"{at}.cv1.conv"
    convs = [WiredConv(cv1, read, width, 2, 1, stride, index, 0)]
    chain: list[Stream] = [(cv1, 1) if kind == "C2f" else (cv1, 0)]
    for number in range(bottlenecks):
        first, second = f"{at}.m.{number}.cv1.conv", f"{at}.m.{number}.cv2.conv"
        follows = chain[0] if shortcut else None
        convs.append(WiredConv(first, (chain[-1],), half, 1, 3, stride, index, 0))
        convs.append(WiredConv(second, ((first, 0),), half, 1, 3, stride, index, 0, follows))
        chain.append((second, 0))
    joined = ((cv1, 0), *chain) if kind == "C2f" else (chain[-1], (cv1, 1))
    convs.append(WiredConv(f"{at}.cv2.conv", joined, width, 1, 1, stride, index, 0))
    return convs


def kept_by_rule(n: int, ratio: float, round_to: int) -> int:
    """The documented rule, written out here a second time on purpose."""
    kept = n - int(n * ratio)
    if kept < 1:
        kept = 1
    while kept % round_to:
        kept += 1
    return kept if kept < n else n


def expected_widths(
    name: str,
    ratios: Mapping[int, float | tuple[float, float] | None],
    round_to: int = 1,
    classes: int = 80,
) -> dict[str, tuple[int, int]]:
    """Conv name -> (input, output) channels after the plan, from the tables and the rule alone."""
    part_widths: dict[Stream, int] = {INPUT: 3}
    widths: dict[str, tuple[int, int]] = {}
    for conv in wired_convs(name, classes):
        part = conv.width // conv.parts
        if conv.entry is not None:
            ratio = ratios[conv.index]
            ratio = ratio[conv.entry] if isinstance(ratio, tuple) else ratio
            assert ratio is not None
            part = kept_by_rule(part, ratio, round_to)
        for number in range(conv.parts):
            part_widths[conv.name, number] = part
        widths[conv.name] = (sum(part_widths[s] for s in conv.reads), part * conv.parts)
    return widths


def expected_macs(name: str, widths: Mapping[str, tuple[int, int]], side: int) -> int:
    """Multiply-accumulates of all learned convs at a square image of `side` pixels."""
    return sum(
        widths[c.name][0] * widths[c.name][1] * c.kernel**2 * (side // c.pixels) ** 2
        for c in wired_convs(name)
    )


def uniform(name: str, ratio: float) -> dict[int, float | tuple[float, float] | None]:
    """The same ratio at every prunable index of the stock model `name`."""
    entries: dict[int, float | tuple[float, float] | None] = {}
    for index, row in enumerate(TABLES[name]):
        if row[0] in ("Upsample", "Concat"):
            entries[index] = None
        else:
            entries[index] = (ratio, ratio) if row[0] == "Detect" else ratio
    return entries


def as_yaml(name: str) -> dict[str, Any]:
    """The table as the content of an Ultralytics model YAML, for the graph that is not stock."""
    arguments = {
        "Conv": lambda width: [width, 3, 2],
        "C2": lambda width, _, shortcut: [width, shortcut],
        "C2f": lambda width, _, shortcut: [width, shortcut],
        "SPPF": lambda width: [width, 5],
        "Upsample": lambda: [None, 2, "nearest"],
        "Concat": lambda: [1],
        "Detect": lambda: ["nc"],
    }
    lines = []
    for kind, origin, *spec in TABLES[name]:
        repeats = spec[1] if len(spec) == 3 else 1
        module = "nn.Upsample" if kind == "Upsample" else kind
        source = list(origin) if isinstance(origin, tuple) else origin
        lines.append([source, repeats, module, arguments[kind](*spec)])
    return {"nc": 80, "backbone": lines[:8], "head": lines[8:]}
