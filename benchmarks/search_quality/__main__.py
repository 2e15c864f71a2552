"""Evidence: the search beats what one would do otherwise. Two generated data sets, no downloads.

Run from the checkout's root:

    python -m benchmarks.search_quality train                  # dense model of the second set
    python -m benchmarks.search_quality pool --set demo --timeout 2400
    python -m benchmarks.search_quality latencies --set demo   # of a pool trained before, anew
    python -m benchmarks.search_quality replay --set demo
    python -m benchmarks.search_quality confirm --set demo --timeout 2400
    python -m benchmarks.search_quality longer --set demo --epochs 30 --levels 0.6 0.45
    python -m benchmarks.search_quality distilled --set demo --levels 0.6 0.45 0.3
    python -m benchmarks.search_quality sequential --set demo --levels 0.45 0.3
    python -m benchmarks.search_quality samplers --set demo    # without any fine-tune
    python -m benchmarks.search_quality tables                 # benchmarks/README.md and the plot

`pool` fine-tunes varied plans once. `replay` lets other samplers choose from the pool, with many
seeds, which costs no training. `confirm` fine-tunes every method's final plans at four latency
levels with several seeds; `longer` trains them for more epochs, `distilled` with the dense model
as a teacher, `sequential` compensates them in sequence first. `samplers` lets every sampler score
as many plans without training. `tables` shows all of it. Each part writes its JSON after every
item and, stopped at any point, goes on where it was; --scratch holds the studies and the second
data set.
docs/search-quality.md says what the replay can and cannot show.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import platformdirs

from autoprune.evaluation.quiet import prepare_environment

prepare_environment()

SETS = ("demo", "second")
AGAIN = ("longer", "distilled", "sequential")
PARTS = ("train", "pool", "latencies", "replay", "confirm", *AGAIN, "samplers", "tables")


def main() -> None:
    asked = _arguments()
    stop_at = None if asked.timeout is None else time.monotonic() + asked.timeout
    if asked.part == "train":
        from benchmarks.search_quality.second_set import train_second

        print(train_second(asked.scratch, asked.epochs or 12, asked.timeout))
    elif asked.part == "pool":
        from benchmarks.search_quality.bench import open_quality
        from benchmarks.search_quality.pool import fill_pool

        quality = open_quality(asked.set, asked.scratch)
        fill_pool(quality, asked.set, asked.plans, stop_at, asked.share)
    elif asked.part == "latencies":
        from benchmarks.search_quality.bench import open_quality
        from benchmarks.search_quality.pool import measure_again

        measure_again(open_quality(asked.set, asked.scratch), asked.set, stop_at)
    elif asked.part == "replay":
        from benchmarks.search_quality.replay import replay_all

        replay_all(asked.set, asked.seeds or 20, asked.scratch)
    elif asked.part == "confirm":
        from benchmarks.search_quality.bench import open_quality
        from benchmarks.search_quality.confirm import Confirmation

        quality = open_quality(asked.set, asked.scratch)
        seeds = 3 if asked.seeds is None else asked.seeds
        Confirmation(quality, asked.set, stop_at).run(seeds, tuple(asked.levels), asked.share)
    elif asked.part in AGAIN:
        from benchmarks.search_quality.again import distilled, longer, sequential
        from benchmarks.search_quality.bench import open_quality

        ways = {"longer": longer(asked.epochs or 30), "distilled": distilled()}
        again = ways.get(asked.part) or sequential()
        quality = open_quality(asked.set, asked.scratch)
        again.run(quality, asked.set, tuple(asked.levels), asked.share, stop_at)
    elif asked.part == "samplers":
        from benchmarks.search_quality.bench import open_quality
        from benchmarks.search_quality.samplers import compare_samplers

        compare_samplers(open_quality(asked.set, asked.scratch), asked.set, asked.seeds or 3)
    else:
        from benchmarks.lib import make_readme
        from benchmarks.search_quality.plot import draw_all

        draw_all()
        make_readme.main()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search_quality", description=__doc__.splitlines()[0]
    )
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--set", choices=SETS, default="demo")
    parser.add_argument("--plans", type=int, default=152, help="pool: plans in all")
    parser.add_argument("--seeds", type=int, help="replay: 20, confirm, samplers: 3")
    parser.add_argument("--levels", type=float, nargs="+", default=[0.75, 0.6, 0.45, 0.3])
    parser.add_argument("--epochs", type=int, help="train: 12, without --timeout; longer: 30")
    parser.add_argument(
        "--share", type=_share, default=(1, 1), help="train every n-th, from the i-th: i/n"
    )
    parser.add_argument("--timeout", type=float, help="seconds; begun items are finished")
    scratch = Path(platformdirs.user_cache_dir("autoprune")) / "search-quality"
    parser.add_argument("--scratch", type=Path, default=scratch)
    return parser.parse_args()


def _share(text: str) -> tuple[int, int]:
    index, count = (int(part) for part in text.split("/"))
    if not 1 <= index <= count:
        raise argparse.ArgumentTypeError(f"got {text}, expected i/n with 1 <= i <= n")
    return index, count


if __name__ == "__main__":
    main()
