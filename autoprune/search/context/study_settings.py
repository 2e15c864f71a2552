"""study.yaml: everything asked and everything it depended on; refuses to mix two studies."""

from __future__ import annotations

import hashlib
import os
import platform
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from autoprune.domain.schema import stamped
from autoprune.domain.versions import version_of
from autoprune.errors import StudyMismatch
from autoprune.evaluation.branches import deployed_branch
from autoprune.families import family_of, space_file
from autoprune.latency.runtimes import RUNTIMES
from autoprune.search.context.workbench import Checked
from autoprune.storage.study_folder import StudyFolder
from autoprune.storage.yaml_io import dump_yaml, write_atomic

# What may change between two runs of one study; every other setting is compared on resume.
_FREE_SETTINGS = (
    "trials",
    "timeout_s",
    "keep",
    "name",
    "trust_checkpoint",
    "allow_broken",
    "allow_unlabelled",
    "reuse",
    "workers_local",
    "devices",
)
# What is compared in another form than it was asked in.
_COMPARED_BELOW = (
    "nms",
    "classes",
    "model",
    "data",
    "space",
    "imgsz",
    "fine_tune",
    "provider",
    "channels_last",
    "precision",
)
_VERSIONED = ("autoprune", "torch", "ultralytics", "optuna", "onnxruntime")


def settings_of(bench: Checked) -> dict[str, Any]:
    """Describe a study as plain data."""
    data, fine_tune, family = bench.data, bench.fine_tune, family_of(bench.yolo.model)
    space = bench.config.space or space_file(family)
    return {
        "asked": bench.config.model_dump(mode="json"),
        "demo": bench.demo,
        "imgsz": list(bench.imgsz),
        "device": bench.device,
        "model": {
            "file": str(bench.config.model),
            "hash": bench.base_hash,
            "family": family.name,
            "classes": list(data.names),
            "branch": deployed_branch(bench.yolo.model),
            "kept_classes": list(bench.kept_classes.ids) if bench.kept_classes else None,
        },
        "data": {
            "file": str(data.path),
            "hash": data.sha256,
            "train_images": len(data.train),
            "val_images": len(data.selection_images),
            "final_images": len(data.final_images),
            "final_split": data.final_split_name,
            "overlap": data.overlap,
            "notes": list(data.notes),
        },
        "fine_tune": fine_tune.as_mapping(),
        "space": {
            "file": str(space),
            "hash": file_hash(space),
            "on_steps": bench.config.space is None,  # narrowed to the target's, see space.yaml
        },
        "importance": bench.config.importance,
        "compensate": bench.config.compensate,
        "versions": {"python": platform.python_version()}
        | {name: version_of(name) for name in _VERSIONED},
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "cores": os.cpu_count(),
        },
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def compare_settings(folder: StudyFolder, settings: dict[str, Any]) -> None:
    """Refuse to continue a study with other settings; nothing happens where there is none yet.

    Raises:
        StudyMismatch: Names each setting that differs, with both values.
        ConfigError: study.yaml is broken, or of a newer schema.
    """
    if not folder.settings.exists():
        return
    different = differences(folder.load_settings(), settings)
    if different:
        raise StudyMismatch(
            f"{folder.root}: this study was started with other settings"
            f" ({'; '.join(different)});"
            " repeat the old command to continue it, or give --name for a new study"
        )


def save_settings(folder: StudyFolder, settings: dict[str, Any]) -> None:
    """Write study.yaml of a new study; one that is continued keeps its own."""
    if not folder.settings.exists():
        write_atomic(folder.settings, dump_yaml(stamped("study.yaml", settings)))


def differences(
    before: dict[str, Any], now: dict[str, Any], ignored: tuple[str, ...] = ()
) -> list[str]:
    """What a result depends on and is not the same in two studies' settings, in words.

    Args:
        before: Content of a study.yaml.
        now: Content of another.
        ignored: Settings that may differ.
    """
    old, new = _comparable(before), _comparable(now)
    return [
        f"{key}: was {old.get(key)!r}, now {new.get(key)!r}"
        for key in {**old, **new}
        if key not in ignored and old.get(key) != new.get(key)
    ]


def file_hash(path: Path) -> str:
    """Twelve hex digits of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _comparable(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings a result depends on, flat; files by content, not by path."""

    def part(name: str) -> dict[str, Any]:
        found = settings.get(name)
        return found if isinstance(found, dict) else {}

    given, versions = part("asked"), part("versions")
    ignored = (*_FREE_SETTINGS, *_COMPARED_BELOW)
    asked = {key: value for key, value in given.items() if key not in ignored}
    provider, runtime = given.get("provider"), RUNTIMES.known(str(asked.get("runtime")))
    precision = given.get("precision")
    return {
        **asked,
        "provider": None if runtime and provider == runtime.provider else provider,
        "channels_last": bool(given.get("channels_last")),
        "precision": None if runtime and precision == runtime.precisions[0] else precision,
        "imgsz": settings.get("imgsz"),
        "device": settings.get("device"),
        "model": part("model").get("hash"),
        "branch": part("model").get("branch"),
        "classes kept": part("model").get("kept_classes"),
        "data": part("data").get("hash"),
        "space": part("space").get("hash"),
        "space on the target's steps": bool(part("space").get("on_steps")),
        **{f"fine-tune {key}": value for key, value in part("fine_tune").items()},
        **{f"{name} version": str(versions.get(name, "")).split(".")[0] for name in _VERSIONED},
    }
