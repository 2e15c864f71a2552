"""Evidence: the search beats what one would do otherwise. Two generated data sets, no downloads.

    python benchmarks/search_quality.py train                  # dense model of the second set
    python benchmarks/search_quality.py pool --set demo --timeout 2400
    python benchmarks/search_quality.py replay --set demo
    python benchmarks/search_quality.py confirm --set demo --timeout 2400
    python benchmarks/search_quality.py longer --set demo --epochs 30 --levels 0.6 0.45
    python benchmarks/search_quality.py distilled --set demo --levels 0.6 0.45 0.3
    python benchmarks/search_quality.py sequential --set demo --levels 0.45 0.3
    python benchmarks/search_quality.py samplers --set demo    # without any fine-tune
    python benchmarks/search_quality.py tables                 # benchmarks/README.md and the plot

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
PARTS = ("train", "pool", "replay", "confirm", *AGAIN, "samplers", "tables")


def main() -> None:
    asked = _arguments()
    stop_at = None if asked.timeout is None else time.monotonic() + asked.timeout
    if asked.part == "train":
        from second_set import train_second

        print(train_second(asked.scratch, asked.epochs or 12, asked.timeout))
    elif asked.part == "pool":
        from quality_bench import open_quality
        from quality_pool import fill_pool

        quality = open_quality(asked.set, asked.scratch)
        fill_pool(quality, asked.set, asked.plans, stop_at, asked.share)
    elif asked.part == "replay":
        from quality_replay import replay_all

        replay_all(asked.set, asked.seeds or 20, asked.scratch)
    elif asked.part == "confirm":
        from quality_bench import open_quality
        from quality_confirm import Confirmation

        quality = open_quality(asked.set, asked.scratch)
        seeds = 3 if asked.seeds is None else asked.seeds
        Confirmation(quality, asked.set, stop_at).run(seeds, tuple(asked.levels), asked.share)
    elif asked.part in AGAIN:
        from quality_again import distilled, longer, sequential
        from quality_bench import open_quality

        ways = {"longer": longer(asked.epochs or 30), "distilled": distilled()}
        again = ways.get(asked.part) or sequential()
        quality = open_quality(asked.set, asked.scratch)
        again.run(quality, asked.set, tuple(asked.levels), asked.share, stop_at)
    elif asked.part == "samplers":
        from quality_bench import open_quality
        from quality_samplers import compare_samplers

        compare_samplers(open_quality(asked.set, asked.scratch), asked.set, asked.seeds or 3)
    else:
        import make_readme
        from quality_plot import draw_all

        draw_all()
        make_readme.main()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
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
