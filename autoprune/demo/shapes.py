"""Draw the demo's detection images: shapes over clutter, every pixel decided by the seed."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

GENERATOR_VERSION = 1  # raise when any change below can alter an image
IMGSZ_PX = 160
CLASS_NAMES = ("circle", "ring", "square", "triangle", "pentagon", "star", "cross", "crescent")
MIN_VISIBLE_FRACTION = 0.35
MIN_CONTRAST = 90  # sum over the three channels of |object - what lies behind it|

Image = NDArray[np.uint8]
Mask = NDArray[np.uint8]
Points = NDArray[np.float64]

_SUBPIXEL_BITS = 4  # OpenCV takes coordinates scaled by 2**bits
_SUBPIXEL = 1 << _SUBPIXEL_BITS


@dataclass(frozen=True)
class Box:
    """One labelled object: class index and box in pixels."""

    label: int
    left: float
    top: float
    right: float
    bottom: float


@dataclass
class _Drawn:
    """An object while its scene is being drawn; later objects may cover it."""

    label: int
    full: Mask
    visible: Mask


def draw_scene(seed: tuple[int, ...]) -> tuple[Image, list[Box]]:
    """Draw one image.

    Args:
        seed: Non-negative integers; the same tuple always gives the same image.

    Returns:
        A BGR image, uint8, shape (IMGSZ_PX, IMGSZ_PX, 3), and its boxes. An object of which less
        than MIN_VISIBLE_FRACTION stays visible carries no box.
    """
    picture, objects = draw_objects(seed)
    return picture, [box for box, _ in objects]


def draw_objects(seed: tuple[int, ...]) -> tuple[Image, list[tuple[Box, Mask]]]:
    """As `draw_scene`; with each box goes what is visible of its object, 0 to 255."""
    rng = np.random.default_rng(seed)
    canvas = _background(rng)
    for _ in range(int(rng.integers(4, 14))):
        _draw_clutter(canvas, rng)
    drawn: list[_Drawn] = []
    for _ in range(int(rng.integers(2, 9))):
        label = int(rng.integers(len(CLASS_NAMES)))
        mask = _object_mask(label, rng)
        canvas = _paint(canvas, mask, rng)
        for below in drawn:
            below.visible[mask > 127] = 0
        drawn.append(_Drawn(label, mask, mask.copy()))
    for _ in range(int(rng.integers(0, 4))):
        _draw_line(canvas, rng)
    objects = [(box, item.visible) for item in drawn if (box := _box(item)) is not None]
    return _degrade(canvas, rng), objects


def _background(rng: np.random.Generator) -> Image:
    """A two-colour gradient with coarse blotches."""
    first, second = rng.uniform(20, 235, (2, 3))
    direction = rng.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[0:IMGSZ_PX, 0:IMGSZ_PX] / IMGSZ_PX - 0.5
    mix = np.clip(0.5 + rows * np.sin(direction) + columns * np.cos(direction), 0, 1)[..., None]
    cells = int(rng.integers(3, 20))
    blotches = rng.normal(0, rng.uniform(4, 28), (cells, cells, 3))
    texture = cv2.resize(blotches, (IMGSZ_PX, IMGSZ_PX), interpolation=cv2.INTER_LINEAR)
    shade: Points = first * mix + second * (1 - mix) + texture
    return np.clip(shade, 0, 255).astype(np.uint8)


def _draw_clutter(canvas: Image, rng: np.random.Generator) -> None:
    """A line, an arc, dots or an unlabelled bar: things that look like parts of objects."""
    kind = int(rng.integers(4))
    if kind == 0:
        _draw_line(canvas, rng)
        return
    colour = _colour(rng)
    centre = rng.uniform(0, IMGSZ_PX, 2)
    size_px = rng.uniform(4, 26)
    if kind == 1:
        start = float(rng.uniform(0, 360))
        axes = (_fixed(size_px), _fixed(size_px * rng.uniform(0.4, 1)))
        angles = (float(rng.uniform(0, 360)), start, start + float(rng.uniform(40, 170)))
        thickness = int(rng.integers(1, 4))
        cv2.ellipse(
            canvas,
            (_fixed(centre[0]), _fixed(centre[1])),
            axes,
            *angles,
            colour,
            thickness,
            cv2.LINE_AA,
            _SUBPIXEL_BITS,
        )
    elif kind == 2:
        for point in centre + rng.normal(0, size_px, (int(rng.integers(3, 9)), 2)):
            radius = _fixed(rng.uniform(0.8, 2.2))
            where = (_fixed(point[0]), _fixed(point[1]))
            cv2.circle(canvas, where, radius, colour, -1, cv2.LINE_AA, _SUBPIXEL_BITS)
    else:
        stretch = np.array([rng.uniform(1.6, 4), 0.6])
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * stretch * size_px * 0.5
        _fill(canvas, _rotate(corners, rng) + centre, colour)


def _draw_line(canvas: Image, rng: np.random.Generator) -> None:
    ends = rng.uniform(-10, IMGSZ_PX + 10, (2, 2))
    first, second = ((_fixed(x), _fixed(y)) for x, y in ends)
    thickness = int(rng.integers(1, 3))
    cv2.line(canvas, first, second, _colour(rng), thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def _object_mask(label: int, rng: np.random.Generator) -> Mask:
    """One shape, rotated, squeezed and sheared, as an anti-aliased mask (0-255)."""
    radius = float(np.exp(rng.uniform(np.log(8), np.log(40))))
    centre = rng.uniform(0.6 * radius, IMGSZ_PX - 0.6 * radius, 2)
    squeeze = np.diag([1.0, rng.uniform(0.7, 1.0)])
    shear = np.array([[1.0, rng.uniform(-0.2, 0.2)], [0.0, 1.0]])
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    warp = radius * (turn @ shear @ squeeze)
    outline, hole = _outline(CLASS_NAMES[label], rng)
    mask = np.zeros((IMGSZ_PX, IMGSZ_PX), np.uint8)
    _fill(mask, outline @ warp.T + centre, 255)
    if hole is not None:
        _fill(mask, hole @ warp.T + centre, 0)
    return mask


def _outline(name: str, rng: np.random.Generator) -> tuple[Points, Points | None]:
    """Unit outline (n, 2) of a class and, for hollow ones, the outline of what is cut out."""
    if name == "circle":
        return _regular(40), None
    if name == "ring":
        return _regular(40), _regular(40) * rng.uniform(0.45, 0.7)
    if name == "square":
        return _regular(4), None
    if name == "triangle":
        return _regular(3), None
    if name == "pentagon":
        return _regular(5), None
    if name == "star":
        star = _regular(10)
        star[1::2] *= rng.uniform(0.4, 0.55)
        return star, None
    if name == "cross":
        arm = rng.uniform(0.22, 0.38)
        quarter = np.array([[arm, arm], [1.0, arm], [1.0, -arm]])
        turns = [np.array([[c, -s], [s, c]]) for c, s in ((1, 0), (0, -1), (-1, 0), (0, 1))]
        return np.concatenate([quarter @ turn.T for turn in turns]), None
    shift = np.array([rng.uniform(0.35, 0.6), 0.0])
    return _regular(40), _regular(40) * 0.92 + shift


def _regular(corners: int) -> Points:
    angles = np.arange(corners) * 2 * np.pi / corners
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _paint(canvas: Image, mask: Mask, rng: np.random.Generator) -> Image:
    """Blend a colour, sometimes striped, through the mask."""
    behind = canvas[mask > 127].mean(axis=0) if (mask > 127).any() else np.zeros(3)
    colour = np.array(_colour(rng), dtype=np.float64)
    while np.abs(colour - behind).sum() < MIN_CONTRAST:
        colour = np.array(_colour(rng), dtype=np.float64)
    fill = np.broadcast_to(colour, canvas.shape)
    if rng.random() < 0.3:
        period_px, angle = rng.uniform(4, 12), rng.uniform(0, 2 * np.pi)
        rows, columns = np.mgrid[0:IMGSZ_PX, 0:IMGSZ_PX]
        wave = np.sin(2 * np.pi * (rows * np.sin(angle) + columns * np.cos(angle)) / period_px)
        fill = fill + wave[..., None] * rng.uniform(10, 50)
    alpha = mask[..., None] / 255.0 * rng.uniform(0.75, 1.0)
    return np.clip(canvas * (1 - alpha) + fill * alpha, 0, 255).astype(np.uint8)


def _degrade(canvas: Image, rng: np.random.Generator) -> Image:
    """Sensor noise and, for some images, blur or a change of exposure."""
    picture = canvas
    if rng.random() < 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.4, 1.1)))  # type: ignore[assignment]
    gain = rng.uniform(0.6, 1.15)
    noise = rng.normal(0, rng.uniform(1, 9), picture.shape)
    return np.clip(picture * gain + noise, 0, 255).astype(np.uint8)


def _box(item: _Drawn) -> Box | None:
    full, visible = item.full > 127, item.visible > 127
    if not full.any() or visible.sum() < MIN_VISIBLE_FRACTION * full.sum():
        return None
    rows, columns = np.flatnonzero(full.any(axis=1)), np.flatnonzero(full.any(axis=0))
    edges = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    return Box(item.label, *(float(edge) for edge in edges))


def _fill(canvas: NDArray[np.uint8], points: Points, colour: int | tuple[int, ...]) -> None:
    corners = np.round(points * _SUBPIXEL).astype(np.int32)
    shade = (colour,) if isinstance(colour, int) else colour
    cv2.fillPoly(canvas, [corners], shade, cv2.LINE_AA, _SUBPIXEL_BITS)


def _rotate(points: Points, rng: np.random.Generator) -> Points:
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned: Points = points @ turn.T
    return turned


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    blue, green, red = (int(value) for value in rng.integers(0, 256, 3))
    return blue, green, red


def _fixed(value: float) -> int:
    return round(float(value) * _SUBPIXEL)
