"""Task: what a YOLO predicts of each object, and the metric that tells how well."""

from __future__ import annotations

from dataclasses import dataclass

BOX_METRIC = "mAP50-95"
_BOX_COLUMN = "metrics/mAP50-95(B)"


@dataclass(frozen=True)
class Task:
    """One of Ultralytics' tasks that find objects.

    Attributes:
        name: As Ultralytics calls it.
        metric: The main metric, which plans are compared on.
        column: The metric's column in Ultralytics' results.csv.
        row: What a line of a label file holds.
    """

    name: str
    metric: str
    column: str
    row: str


TASKS = {
    task.name: task
    for task in (
        Task("detect", BOX_METRIC, _BOX_COLUMN, "class x y width height"),
        Task("segment", "mask mAP50-95", "metrics/mAP50-95(M)", "class x1 y1 x2 y2 x3 y3 ..."),
        Task(
            "pose",
            "pose mAP50-95",
            "metrics/mAP50-95(P)",
            "class x y width height and the keypoints",
        ),
        Task("obb", "OBB mAP50-95", _BOX_COLUMN, "class x1 y1 x2 y2 x3 y3 x4 y4"),
    )
}
