"""The versions of packages, by whatever name they were installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, packages_distributions, version

UNKNOWN = "unknown"


def version_of(package: str) -> str:
    """A package's version; `UNKNOWN` where it is not installed.

    ONNX Runtime is installed as onnxruntime, onnxruntime-gpu or another of its builds, and OpenCV
    likewise: what imports by that name counts.
    """
    try:
        return version(package)
    except PackageNotFoundError:
        builds = packages_distributions().get(package, ())
        return version(builds[0]) if builds else UNKNOWN
