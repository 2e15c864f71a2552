"""Claim: training, calibration and measuring work on a CUDA GPU, and what they take there.

    python benchmarks/claims/cuda.py [--device 0] [--minutes 14] [--out FILE] [--wheels FOLDER]
        [--parts NAME ...]
    python benchmarks/claims/cuda.py --device cpu      # small: shows that it runs to its end

For a machine with one GPU and no network. Every part runs in a process of its own with a time
limit, and what it found so far is kept when it fails, hangs or runs out of time. The JSON is
written after each part; a second call with the same --out adds to it. Packages that are missing
there may lie as wheels in a folder. The parts, in their order (`--parts` picks some):

    environment  versions, card, driver, what is missing
    latency      torch eager, channels_last, fp16, CUDA graphs, torch.compile; dense and pruned by
                 half; how far the outputs are from the CPU's
    measure      the product's own measurement there, A/A and 5 % slower
    training     calibration, scores and a fine-tune of the demo
    search       three minutes on the demo with device=0 --runtime torch --provider cuda:0
    calibration  yolov8s at 640 px, on the GPU and on the CPU
    tests        those of the suite that need a GPU
    predictor    its error and block size there
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LIMITS_S = {  # of a part; never beyond what is left of --minutes
    "environment": 60,
    "latency": 170,
    "measure": 150,
    "training": 100,
    "search": 260,
    "calibration": 120,
    "tests": 150,
    "predictor": 180,
}
SLOWER = 2  # on a CPU, small as it is
LEAST_S = 15.0  # with less left no part begins
TAIL = 12  # lines of a failed part's output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="0", help="a GPU's number, or cpu for the small run")
    parser.add_argument("--minutes", type=float, default=14.0, help="twice that on a CPU")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "cuda.json")
    parser.add_argument("--wheels", type=Path, help="folder of .whl files that are needed too")
    parser.add_argument("--parts", nargs="+", choices=LIMITS_S, default=list(LIMITS_S))
    parser.add_argument("--part", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.part:
        run_part(asked.part, asked.device, asked.out)
        return
    deadline = time.monotonic() + 60 * asked.minutes * (SLOWER if asked.device == "cpu" else 1)
    with tempfile.TemporaryDirectory() as scratch:
        environment = prepared(Path(scratch), asked.wheels)
        for name in asked.parts:
            left_s = deadline - time.monotonic()
            limit_s = LIMITS_S[name] * (SLOWER if asked.device == "cpu" else 1)
            found = in_child(name, asked.device, min(limit_s, left_s), environment)
            keep(asked.out, asked.device, name, found, environment)
            said = found.get("error") or "done"
            print(f"{name}: {said} ({found['seconds']:.0f} s)".splitlines()[0], flush=True)
    print(f"written: {asked.out}")


def prepared(scratch: Path, wheels: Path | None) -> dict[str, str]:
    """The environment of the parts: the checkout, the wheels and caches of their own."""
    site = scratch / "site"
    site.mkdir()
    files = sorted(map(str, wheels.glob("*.whl"))) if wheels else []
    if files:
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps"]
        subprocess.run([*pip, "--target", str(site), *files], check=False, timeout=240)
    if not list(site.glob("autoprune-*.dist-info")):  # its version is looked up by name
        about = site / "autoprune-0.1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: autoprune\nVersion: 0.1.0\n")
    known = os.environ.get("PYTHONPATH")
    paths = [str(ROOT), str(site), *([known] if known else [])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "XDG_CACHE_HOME": str(scratch / "cache"),
        "HF_HUB_OFFLINE": "1",
        "PYTHONFAULTHANDLER": "1",
    }


def in_child(name: str, device: str, limit_s: float, environment: dict[str, str]) -> dict[str, Any]:
    """One part in a process of its own: what it kept, its seconds, and an error if it had one."""
    if limit_s < LEAST_S:
        return {"rows": [], "seconds": 0.0, "error": "not begun: no time was left"}
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        kept, log = Path(folder) / "kept.json", Path(folder) / "log.txt"
        command = [sys.executable, __file__, "--part", name, "--device", device, "--out", str(kept)]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            try:
                status: int | None = process.wait(limit_s)
            except subprocess.TimeoutExpired:
                status = None
            finally:
                end_group(process)
        found: dict[str, Any] = {"rows": []}
        if kept.exists():
            found["rows"] = json.loads(kept.read_text())
        found["seconds"] = round(time.monotonic() - began, 1)
        if status != 0:
            how = "ran out of time" if status is None else f"exit status {status}"
            lines = log.read_text(errors="replace").splitlines()[-TAIL:]
            found["error"] = "\n".join([how, *lines])
        return found


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a part and all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def keep(
    out: Path, device: str, name: str, found: dict[str, Any], environment: dict[str, str]
) -> None:
    """Add a part to the JSON; where and when are those of its first part."""
    sys.path[:0] = [each for each in environment["PYTHONPATH"].split(os.pathsep) if each]
    content: dict[str, Any] = {"claim": "training, calibration and measuring on CUDA"}
    if out.exists():
        content = json.loads(out.read_text())
    else:
        content |= {"device": device, **made(), "parts": {}}
    content["parts"][name] = found
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(out.name + ".part")
    draft.write_text(json.dumps(content, indent=1, default=str) + "\n")
    draft.replace(out)


def made() -> dict[str, Any]:
    """Machine and date as on every results file; less where even numpy is missing."""
    try:
        from benchmarks.lib.provenance import provenance

        return provenance()
    except Exception as error:
        shown = {"cpu": f"unknown ({type(error).__name__}: {error})"}
        date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return {"date": date, "machine": shown, "state": {}, "versions": {}}


def run_part(name: str, device: str, kept: Path) -> None:
    """What the child does: one part, its rows written as they come."""
    from benchmarks.lib import cuda_parts

    rows: list[dict[str, Any]] = []

    def add(**row: Any) -> None:
        rows.append(row)
        draft = kept.with_suffix(".part")
        draft.write_text(json.dumps(rows, default=str))
        draft.replace(kept)

    getattr(cuda_parts, name)(cuda_parts.Place.of(device), add)


if __name__ == "__main__":
    main()
