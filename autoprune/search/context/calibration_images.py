"""How many training images calibration looks at."""

from __future__ import annotations

_PIXELS = 45 * 640**2  # of all pictures together: larger ones show more places
_MOST, _FEWEST = 256, 32


def calibration_images(imgsz: int) -> int:
    """How many training images to look at, by the side of the pictures in pixels."""
    return min(_MOST, max(_FEWEST, _PIXELS // imgsz**2))
