"""ExportedModel: a file the runtime can load, with the output torch expects of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoprune.errors import ConfigError
from autoprune.latency.runtimes import DEFAULT_RUNTIME, RUNTIMES

if TYPE_CHECKING:
    from autoprune.latency.denormals import Denormals


@dataclass(frozen=True)
class ExportedModel:
    """One model on disk, ready to be measured.

    Attributes:
        path: The file.
        runtime: What it is for: a name in the table of runtimes.
        imgsz: Height and width in pixels it was exported for.
        exporter: What wrote it; "user" for a file that was given.
        reference: .npy files of an input and of torch's outputs for it; None if unknown.
        end_to_end: Whether its first output is a list of objects, the best first.
        denormals: Where the model reads denormal numbers; None if nowhere, or unknown.
    """

    path: Path
    runtime: str
    imgsz: tuple[int, int]
    exporter: str
    reference: tuple[Path, ...] | None = None
    end_to_end: bool = False
    denormals: Denormals | None = None

    def checks(self) -> list[dict[str, Any]]:
        """What the runner compares, one for each output; none without a reference."""
        if self.reference is None:
            return []
        given, *expected = map(str, self.reference)
        return [
            {
                "model": str(self.path),
                "input": given,
                "expected": file,
                "output": number,
                "rows": self.end_to_end and number == 0,
            }
            for number, file in enumerate(expected)
        ]

    @classmethod
    def of_file(
        cls,
        path: Path,
        imgsz: tuple[int, int] | None = None,
        runtime: str = DEFAULT_RUNTIME,
    ) -> ExportedModel:
        """A file the user exported.

        Args:
            path: A file with the runtime's suffix.
            imgsz: Height and width to run it at; by default what a .onnx file was made for.
            runtime: What runs it.

        Raises:
            ConfigError: Not such a file, broken, of another image size or batch, or its size is
                dynamic and `imgsz` is not given.
        """
        suffix = RUNTIMES.row(runtime, "--runtime").suffix
        expected = f"a {suffix} file for --runtime {runtime}"
        if path.suffix.lower() != suffix:
            raise ConfigError.of(str(path), "", path.suffix or path.name, expected)
        if not path.is_file():
            raise ConfigError.of(str(path), "", "no such file", expected)
        fixed = _fixed_size(path) if suffix == ".onnx" else None
        if fixed and imgsz and fixed != imgsz:
            raise ConfigError.of(str(path), "image size", list(fixed), f"{list(imgsz)} as asked")
        size = imgsz or fixed
        if size is None:
            raise ConfigError(f"{path}: the image size is not in the file: give imgsz")
        return cls(path, runtime, size, "user")


def _fixed_size(path: Path) -> tuple[int, int] | None:
    """Height and width of an ONNX model's input; None when they are dynamic."""
    import onnx  # half a second: only when a user's file is opened

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except Exception as error:  # protobuf's errors share no base that onnx promises
        first = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise ConfigError(f"{path}: not an ONNX model: {first}") from None
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [each for each in graph.input if each.name not in weights]
    shapes = [
        [side.dim_value for side in each.type.tensor_type.shape.dim] for each in inputs
    ]  # 0 stands for a dynamic side
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise ConfigError.of(str(path), "inputs", shapes, "one image [1, channels, height, width]")
    batch, _, height, width = shapes[0]
    if batch not in (0, 1):
        raise ConfigError.of(str(path), "batch", batch, "1: latency is measured at batch 1")
    return (height, width) if height and width else None
