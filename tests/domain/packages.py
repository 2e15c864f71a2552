"""Installs a tiny package into a folder, as pip would leave it there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def install(
    folder: Path,
    name: str,
    entry_points: Mapping[str, Mapping[str, str]],
    files: Mapping[str, str],
) -> str:
    """Write modules and metadata into `folder`; put it on sys.path to have the package installed.

    Args:
        folder: Made if need be.
        name: The package's name.
        entry_points: Group -> name -> "module:attribute".
        files: File name -> text.
    """
    metadata = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [
        line
        for group, entries in entry_points.items()
        for line in (f"[{group}]", *(f"{key} = {value}" for key, value in entries.items()))
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for file, text in files.items():
        (folder / file).write_text(text)
    return str(folder)
