"""How Ultralytics finds images and their labels."""

from __future__ import annotations

from pathlib import Path

from ultralytics.data.utils import IMG_FORMATS, img2label_paths


def is_image(file: Path) -> bool:
    """Whether Ultralytics takes a file for an image, by its suffix."""
    return file.suffix.lower().lstrip(".") in IMG_FORMATS


def label_file(image: Path) -> Path:
    """Where Ultralytics looks for an image's labels; the file need not exist."""
    return Path(img2label_paths([str(image)])[0])
