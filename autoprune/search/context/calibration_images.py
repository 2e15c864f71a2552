"""How many training images calibration looks at."""

from __future__ import annotations

_IMAGES = {320: 256, 640: 128}  # up to this side in pixels; larger pictures show more places
_FEWEST = 64


def calibration_images(imgsz: int) -> int:
    """How many training images to look at, by the side of the pictures in pixels."""
    return next((count for side, count in _IMAGES.items() if imgsz <= side), _FEWEST)
