"""How Ultralytics finds images and their labels, and which pictures it takes."""

from __future__ import annotations

import stat
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from ultralytics.data.utils import IMG_FORMATS, exif_size, img2label_paths
from ultralytics.utils import patches

from autoprune.errors import ConfigError

_LEAST_SIDE = 10  # px
_JPEG = ("jpeg", "mpo")
_CHECKED_BY_PILLOW = ("png",)  # by checksums; the others' pixels it does not look at
_OF_PLUGINS = (".heic", ".heif", ".avif")
_END_OF_JPEG = b"\xff\xd9"


def is_image(file: Path) -> bool:
    """Whether Ultralytics takes a file for an image, by its suffix."""
    return file.suffix.lower().lstrip(".") in IMG_FORMATS


def label_file(image: Path) -> Path:
    """Where Ultralytics looks for an image's labels; the file need not exist."""
    return Path(img2label_paths([str(image)])[0])


def picture_shape(file: Path, channels: int = 3) -> tuple[int, int]:
    """Height and width of a picture in pixels, as it is shown.

    It is decoded only where nothing less tells whether it is whole, and never repaired.

    Args:
        file: The picture.
        channels: That are asked of it, see `read_picture`.

    Raises:
        ConfigError: Not a picture that can be trained on, or a name that no list can hold.
    """
    _check_name(file)
    try:
        regular = stat.S_ISREG(file.stat().st_mode)  # opening a pipe would wait for ever
        if regular:
            with _opened(file) as picture:
                picture.verify()
                width, height = exif_size(picture)
                kind = (picture.format or "").lower()
    except Exception:  # a decoder given rubbish raises anything
        raise ConfigError.of(str(file), "", "no readable picture", "an image file") from None
    if not regular:
        raise ConfigError.of(str(file), "", "something else than a file", "an image file")
    if kind not in IMG_FORMATS | {"jpeg2000"}:
        raise ConfigError.of(str(file), "", kind, "a picture in a format that Ultralytics reads")
    if min(height, width) < _LEAST_SIDE:
        expected = f"at least {_LEAST_SIDE} px on each side"
        raise ConfigError.of(str(file), "", f"{width}x{height} px", expected)
    known = kind in _CHECKED_BY_PILLOW or (kind in _JPEG and _ends_well(file))
    if not known or channels not in (1, 3):
        read_picture(file, channels)
    return height, width


def _check_name(file: Path) -> None:
    """Refuse a name that cannot stand in a list of images, one per line."""
    try:
        plain = len(str(file).encode().decode().splitlines()) == 1
    except UnicodeEncodeError:  # bytes that are no UTF-8
        plain = False
    if not plain:
        raise ConfigError(f"{file.name!a}: got a name that is not one line of UTF-8")


def _opened(file: Path) -> Image.Image:
    """A picture, its header read. Ultralytics' own `Image.open` installs a package for rubbish."""
    plain = file.suffix.lower() not in _OF_PLUGINS
    opened: Image.Image = (patches._image_open if plain else Image.open)(file)
    return opened


def read_picture(file: Path, channels: int) -> NDArray[np.uint8]:
    """The pixels of a picture, as Ultralytics reads them.

    Args:
        file: An image file.
        channels: 1 for grey, 3 for colour (blue, green, red); 2 and 4 as the file has them.

    Returns:
        Shape (height, width, channels), 0 to 255.

    Raises:
        ConfigError: Not a readable picture, or one of another number of channels.
    """
    flags = {1: cv2.IMREAD_GRAYSCALE, 3: cv2.IMREAD_COLOR}.get(channels, cv2.IMREAD_UNCHANGED)
    try:
        pixels = patches.imread(str(file), flags)
    except (OSError, cv2.error):
        pixels = None
    if pixels is None:
        raise ConfigError.of(str(file), "", "no readable picture", "an image file")
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if pixels.shape[2] != channels:
        raise ConfigError.of(str(file), "channels", pixels.shape[2], f"{channels}")
    return np.asarray(pixels, np.uint8)


def _ends_well(jpeg: Path) -> bool:
    """Whether a JPEG has its end at the end: nothing is cut off, nothing put behind."""
    with jpeg.open("rb") as stream:
        stream.seek(-len(_END_OF_JPEG), 2)
        return stream.read() == _END_OF_JPEG
