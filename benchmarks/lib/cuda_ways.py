"""How `claims/cuda.py` runs models in torch: eagerly, in half precision, as a graph, compiled."""

from __future__ import annotations

import copy
import statistics
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Add = Callable[..., None]


@dataclass(frozen=True)
class Place:
    """Where, and how much: on a CPU everything is small.

    Attributes:
        device: As torch calls it: "cuda:0" or "cpu".
        asked: As Ultralytics' `device=` does: 0 or "cpu".
    """

    device: str
    asked: int | str

    @classmethod
    def of(cls, text: str) -> Place:
        """A GPU's number, or "cpu"."""
        return cls("cpu", "cpu") if text == "cpu" else cls(f"cuda:{int(text)}", int(text))

    @property
    def small(self) -> bool:
        """Whether it is to show only that all of it runs."""
        return self.device == "cpu"


def models(place: Place) -> Iterator[tuple[str, int, Any]]:
    """(name, side in pixels, module) of those that are timed."""
    from autoprune.demo.bundle import demo_checkpoint
    from autoprune.evaluation.quiet import prepare_environment

    prepare_environment()
    from ultralytics.nn.tasks import DetectionModel

    from autoprune.evaluation.checkpoint import load_yolo

    yield "demo", 64 if place.small else 192, load_yolo(demo_checkpoint()).model.float().eval()
    for name in ("yolov8n",) if place.small else ("yolov8s", "yolov8m"):
        side = 64 if place.small else 640
        yield name, side, DetectionModel(f"{name}.yaml", verbose=False).eval()


def halved(module: Any) -> Any:
    """Half of the channels of every index removed."""
    from autoprune.pruning.prune import Pruner, uniform_plan

    pruner = Pruner(module, "l2")
    return pruner.prune(uniform_plan(pruner.widths, 0.5))


def latency(place: Place, add: Add) -> None:
    """The ways to run a model in torch, dense and pruned by half; guarded one by one."""
    import torch

    from autoprune.latency.export import folded

    cases: list[tuple[str, str, Any, Any, Any]] = []
    for name, side, module in models(place):
        for width, one in (("dense", module), ("half", halved(module))):
            image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
            plain = folded(one)
            with torch.inference_mode():
                cases.append((name, width, plain, image, _first(plain(image))))
    ways = [way for way in WAYS if not place.small or not way.startswith(ON_A_GPU)]
    for way in ways:
        for name, width, plain, image, expected in cases:
            if way.startswith("compiled") and (name == "yolov8m" or width == "half"):
                continue  # it takes minutes, perhaps
            try:
                found = WAYS[way](plain, image, place.device)
                add(
                    model=name, width=width, imgsz=image.shape[-1], way=way,
                    ms=round(1e3 * _typical_s(found, place), 4),
                    apart=_apart(_first(found()), expected),
                )  # fmt: skip
            except Exception as error:
                add(model=name, width=width, way=way, error=told(error))


def _eager(dtype: str = "float32", layout: str = "contiguous_format", tf32: bool = True) -> Any:
    def make(plain: Any, image: Any, device: str) -> Callable[[], Any]:
        import torch

        about = {"dtype": getattr(torch, dtype), "memory_format": getattr(torch, layout)}
        model = copy.deepcopy(plain).to(device=device, **about)
        given = image.to(device=device, **about)

        def run() -> Any:
            torch.backends.cudnn.allow_tf32 = tf32
            with torch.inference_mode():
                return model(given)

        return run

    return make


def _graph(dtype: str) -> Any:
    def make(plain: Any, image: Any, device: str) -> Callable[[], Any]:
        import torch

        run = _eager(dtype)(plain, image, device)
        side = torch.cuda.Stream()  # a capture needs kernels chosen and memory taken before
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                run()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output = run()

        def replay() -> Any:
            graph.replay()
            return output

        return replay

    return make


def _compiled(dtype: str) -> Any:
    def make(plain: Any, image: Any, device: str) -> Callable[[], Any]:
        import torch

        about = {"device": device, "dtype": getattr(torch, dtype)}
        model, given = torch.compile(copy.deepcopy(plain).to(**about)), image.to(**about)

        def run() -> Any:
            torch.backends.cudnn.allow_tf32 = True
            with torch.inference_mode():
                return model(given)

        run()
        return run

    return make


WAYS: dict[str, Any] = {
    "eager": _eager(),
    "eager, no TF32": _eager(tf32=False),
    "channels_last": _eager(layout="channels_last"),
    "fp16": _eager("float16"),
    "fp16 channels_last": _eager("float16", "channels_last"),
    "bf16": _eager("bfloat16"),
    "graph": _graph("float32"),
    "graph fp16": _graph("float16"),
    "compiled": _compiled("float32"),
    "compiled fp16": _compiled("float16"),
}

ON_A_GPU = ("graph", "compiled")  # how these begin; they come last, as they take longest


def _typical_s(run: Callable[[], Any], place: Place) -> float:
    """Median of one run after warm-up; on a GPU between two of its events."""
    import torch

    for _ in range(2 if place.small else 20):
        run()
    times = []
    for _ in range(5 if place.small else 60):
        if place.small:
            began = time.perf_counter()
            run()
            times.append(time.perf_counter() - began)
            continue
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return statistics.median(times)


def _first(output: Any) -> Any:
    one = output[0] if isinstance(output, (tuple, list)) else output
    return one.detach().float().cpu().clone()


def _apart(got: Any, expected: Any) -> float:
    """As the product compares: of a channel's largest value, at least of 1."""
    scale = expected.abs().amax(dim=(0, 2), keepdim=True).clamp(min=1.0)
    return float(((got - expected).abs() / scale).max())


def told(error: Exception) -> str:
    """An error and its place, on one line at most 500 characters long."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"[:500]
