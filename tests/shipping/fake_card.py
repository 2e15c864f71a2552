"""A model card made by hand."""

from __future__ import annotations

from typing import Any

from autoprune.domain.card import ModelCard, Score, Side, Timed, WorseClass

FINGERPRINT = {
    "runtime": "onnxruntime", "runtime_version": "1.32.0", "provider": "CPUExecutionProvider",
    "threads": 1, "cpu": "A core", "isa": "avx2", "system": "Linux x86_64", "imgsz": (64, 96),
    "batch": 1, "runner_version": 5,
}  # fmt: skip
HOSTILE = "<script>alert(1)</script>|`rm`\nx"


def score(value: float, by_class: dict[str, float]) -> Score:
    return Score(
        split="test", images=8, metric="mAP50-95", map50_95=value, map50=value, by_class=by_class,
        through="onnxruntime 1.32.0",
    )  # fmt: skip


def side(ms: float, value: float, by_class: dict[str, float]) -> Side:
    timed = Timed(
        median_ms=ms, low_ms=ms * 0.99, high_ms=ms * 1.01, p90_ms=ms, ratio=ms / 10,
        ratio_low=ms / 10, ratio_high=ms / 10, processes=3, steady=True,
    )  # fmt: skip
    both = score(value, by_class)
    return Side(
        params=10, macs=20, pt_bytes=None, file_bytes=30, latency=timed, val=both, final=both
    )


def card(**more: Any) -> ModelCard:
    values: dict[str, Any] = {
        "request": {"model": "abc"}, "command": "autoprune apply", "made": "2026-01-05",
        "met": True, "missed": (), "limit_ms": 6.0, "max_drop": None, "task": "detect",
        "classes": ("a", HOSTILE), "branch": None, "imgsz": (64, 96), "files": ("model.pt",),
        "weights": "by obs", "fine_tune": {"epochs": 3}, "fingerprint": FINGERPRINT,
        "data": {"file": "d.yaml", "hash": "ff", "train_images": 1, "val_images": 2,
                 "final_images": 3, "final_split": "test"},
        "versions": {"python": "3.11"}, "dense": side(10, 0.7, {"a": 0.8}),
        "shipped": side(5, 0.6, {"a": 0.7}), "validated": True, "checks": (), "notes": (),
        "worse": (WorseClass(name="a", dense=0.8, shipped=0.7),), "licence": "AGPL-3.0",
    }  # fmt: skip
    return ModelCard(**{**values, **more})
