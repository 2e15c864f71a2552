"""Claim: the numbers on a bundle's card are made again by code that shares nothing with `apply`.

    python benchmarks/claims/card_check.py BUNDLE --dense best.pt --data my.yaml
        [--dense-onnx dense.onnx] [--val-list study/data/val.txt]

Plain Ultralytics, torch, ONNX Runtime and numpy; nothing of autoprune is imported. For bundles with
a .onnx file. mAP is that of `YOLO(model.onnx).val()` on val and test (of a data set without a test
split on the images of val in --val-list, and on the others), of the dense model that of
`YOLO(best.pt).val()` at the same fixed size. MACs are counted by hooks. The shipped file is timed
in three processes of its own; with the dense model's file (of `autoprune export best.pt`) the two
take turns and their ratio is compared, since a machine's speed moves from hour to hour.

It prints a line per number and ends with the number of those that disagree.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MAP_APART = 1e-3  # of mAP and AP, in [0, 1]
TIME_APART = 0.05  # beyond the card's interval: another hour of the same machine
RUNS, PROCESSES = 300, 3


def time_files(files: list[str], threads: int, size: list[int]) -> list[float]:
    """Of each file the 25 % quantile of the time of one run, in ms; the files take turns."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    provider = ["CPUExecutionProvider"]
    sessions = [onnxruntime.InferenceSession(file, options, providers=provider) for file in files]
    dice = np.random.default_rng(0)
    feeds = [
        {image.name: dice.random((1, image.shape[1], *size), np.float32)}
        for (image,) in (session.get_inputs() for session in sessions)
    ]
    times = []
    for _ in range(RUNS):
        for session, feed in zip(sessions, feeds, strict=True):
            wall, busy = time.perf_counter(), time.process_time()
            session.run(None, feed)
            wall, busy = time.perf_counter() - wall, time.process_time() - busy
            times.append(min(wall, busy) if threads == 1 else wall)
    quantiles = np.quantile(np.reshape(times, (RUNS, len(files))), 0.25, axis=0)
    return [1e3 * float(each) for each in quantiles]


def timed(files: list[Path], threads: int, size: list[int]) -> list[list[float]]:
    """The same in several processes, in ms: one row each."""
    command = [sys.executable, __file__, *map(str, files)]
    command += ["--time", str(threads), *map(str, size)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    run: dict[str, Any] = {"capture_output": True, "text": True, "check": True, "env": environment}
    return [json.loads(subprocess.run(command, **run).stdout) for _ in range(PROCESSES)]


def size_of(model: Any, size: list[int], end_to_end: bool) -> tuple[int, int]:
    """Parameters, and multiply-accumulates of one forward pass.

    Those of convolutions and of attention: queries by keys, and weights by values. Of a head with
    two branches those of the deployed one count.
    """
    import torch
    from torch import nn

    macs = 0

    def count(conv: Any, inputs: Any, output: Any) -> None:
        nonlocal macs
        weight = conv.weight
        taps = weight.shape[1] * weight.shape[2] * weight.shape[3]
        each = inputs[0].numel() if isinstance(conv, nn.ConvTranspose2d) else output.numel()
        macs += each * taps

    def attend(part: Any, inputs: Any, output: Any) -> None:
        nonlocal macs
        pixels, areas = inputs[0].shape[2] * inputs[0].shape[3], getattr(part, "area", 1)
        per_pair = part.num_heads * (getattr(part, "key_dim", part.head_dim) + part.head_dim)
        macs += pixels**2 // areas * per_pair

    head = f"model.{len(model.model) - 1}."
    two = any("one2one" in name for name, _ in model.named_modules())
    for name, part in model.named_modules():
        deployed = not (two and name.startswith(head)) or ("one2one" in name) == end_to_end
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)) and "dfl" not in name and deployed:
            part.register_forward_hook(count)
        elif type(part).__name__ in ("Attention", "AAttn"):
            part.register_forward_hook(attend)
    first = next(part for part in model.modules() if isinstance(part, nn.Conv2d))
    params = sum(parameter.numel() for parameter in model.parameters())
    with torch.no_grad():
        model.eval()(torch.zeros(1, first.in_channels, *size))
    return params, macs


def data_of(
    split: str, arguments: argparse.Namespace, card: Any, folder: Path
) -> tuple[Path, str] | None:
    """The data YAML that has a split, and the split's name there; None where it is unknown here."""
    import yaml

    if card["data"]["final_split"] == "test":
        return arguments.data, split
    if arguments.val_list is None:
        return None
    chosen = [Path(line) for line in arguments.val_list.read_text().split("\n") if line]
    every = {path for each in {one.parent for one in chosen} for path in each.iterdir()}
    images = chosen if split == "val" else sorted(every - set(chosen))
    listed = folder / f"{len(images)}.txt"
    listed.write_text("\n".join(map(str, images)))
    content = {"train": str(listed), "val": str(listed)}
    content["names"] = yaml.safe_load(arguments.data.read_text())["names"]
    (folder / "data.yaml").write_text(yaml.safe_dump(content))
    return folder / "data.yaml", "val"


def scores(file: Path, split: str, arguments: argparse.Namespace, card: Any) -> Any:
    """Ultralytics' own metrics of a file, of the task's own kind; None of an unknown split."""
    from ultralytics import YOLO

    size = card["imgsz"]
    with tempfile.TemporaryDirectory() as folder:
        if (known := data_of(split, arguments, card, Path(folder))) is None:
            return None
        found = YOLO(file, task=card["task"]).val(
            data=str(known[0]), split=known[1], imgsz=size if size[0] != size[1] else size[0],
            rect=False, plots=False, verbose=False, workers=0, project=folder, device="cpu",
            nms="end-to-end" not in (card["branch"] or ""),
        )  # fmt: skip
    return getattr(found, {"segment": "seg", "pose": "pose"}.get(card["task"], "box")), found.names


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path, nargs="+")
    parser.add_argument("--dense", type=Path)
    parser.add_argument("--dense-onnx", type=Path, help="the dense model, exported by autoprune")
    parser.add_argument("--data", type=Path)
    parser.add_argument(
        "--val-list", type=Path, help="of a data set without a test split: STUDY/data/val.txt"
    )
    parser.add_argument("--time", type=int, nargs=3, metavar=("THREADS", "H", "W"))
    arguments = parser.parse_args()
    if arguments.time:
        files = list(map(str, arguments.bundle))
        print(json.dumps(time_files(files, arguments.time[0], arguments.time[1:])))
        return
    if len(arguments.bundle) > 1:
        parser.error(f"got {len(arguments.bundle)} bundles, expected one")
    (bundle,) = arguments.bundle
    if arguments.dense is None or arguments.data is None:
        parser.error("--dense and --data: expected the files that the card was made from")
    for file in ("card.json", "model.pt", "model.onnx"):
        if not (bundle / file).is_file():
            parser.error(f"{bundle}: got no {file}, expected a bundle with a .onnx file")
    if arguments.dense_onnx is not None and not arguments.dense_onnx.is_file():
        parser.error(f"--dense-onnx {arguments.dense_onnx}: there is no such file")
    os.environ |= {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "0", "YOLO_VERBOSE": "0"}
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    from ultralytics import YOLO

    apart = 0
    card = json.loads((bundle / "card.json").read_text())

    def hold(what: str, told: float, found: float, allowed: float) -> None:
        nonlocal apart
        agrees = abs(told - found) <= allowed
        apart += not agrees
        print(f"{'agrees' if agrees else 'DIFFERS'}  {what}: card {told:.6g}, here {found:.6g}")

    for name, file in (("dense", arguments.dense), ("shipped", bundle / "model.pt")):
        end_to_end = "end-to-end" in (card["branch"] or "")
        params, macs = size_of(YOLO(file).model, card["imgsz"], end_to_end)
        hold(f"{name} parameters", card[name]["params"], params, 0)
        hold(f"{name} MACs", card[name]["macs"], macs, 0)
    onnx = bundle / "model.onnx"
    hold("bytes of model.onnx", card["shipped"]["file_bytes"], onnx.stat().st_size, 0)
    hold("bytes of model.pt", card["shipped"]["pt_bytes"], (bundle / "model.pt").stat().st_size, 0)
    for part in ("val", "final"):
        split = card["shipped"][part]["split"]
        for name, file in (("dense", arguments.dense), ("shipped", onnx)):
            told = card[name][part]
            if (scored := scores(file, split, arguments, card)) is None:
                print(f"skipped  {name} on {split}: --val-list says which images that is")
                continue
            found, names = scored
            hold(f"{name} mAP50-95 on {split}", told["map50_95"], found.map, MAP_APART)
            hold(f"{name} mAP50 on {split}", told["map50"], found.map50, MAP_APART)
            for place, index in enumerate(found.ap_class_index):
                label = names[int(index)]
                what = f"{name} AP of {label} on {split}"
                hold(what, told["by_class"].get(label, 0.0), found.ap[place], 5 * MAP_APART)
    threads, told = card["fingerprint"]["threads"], card["shipped"]["latency"]
    beside = [] if arguments.dense_onnx is None else [arguments.dense_onnx]
    rows = timed([onnx, *beside], threads, card["imgsz"])
    found_ms = statistics.median(row[0] for row in rows)
    if beside:
        what, keys = "latency, share of dense", ("ratio", "ratio_low", "ratio_high")
        found = statistics.median(ours / dense for ours, dense in rows)
        print(f"told    ms of model.onnx: card {told['median_ms']:.6g}, here {found_ms:.6g}")
    else:
        what, keys, found = "ms of model.onnx", ("median_ms", "low_ms", "high_ms"), found_ms
    value, low, high = (told[key] for key in keys)
    room = (high - low) / 2 + TIME_APART * value
    hold(f"{what}, median of {PROCESSES} processes", (low + high) / 2, found, room)
    print(f"{apart} of the card's numbers differ")
    sys.exit(min(apart, 100))


if __name__ == "__main__":
    main()
