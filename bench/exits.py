"""How long each exit of a network takes, one picture at a time on one thread.

    python bench/exits.py MODEL [--pictures 200] [--threads 1]

The time of an exit is that of everything up to it, without reading the picture and without searching a gallery.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from dare.runners.runner import open_runner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a checkpoint, or the folder of a training")
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    runner = open_runner(options.model)
    size = runner.preparation
    image = np.random.default_rng(0).normal(size=(1, 3, size.height, size.width)).astype(np.float32)
    milliseconds: list[list[float]] = [[] for _ in runner.exit_names]
    for number in range(options.pictures + 20):
        start = time.perf_counter()
        for times, _ in zip(milliseconds, runner.exits(image), strict=True):
            if number >= 20:  # the first ones warm up
                times.append(1000 * (time.perf_counter() - start))
    print(f"{options.model}: eager, float32, batch 1, {options.threads} threads, {options.pictures} pictures")
    for name, macs, times in zip(runner.exit_names, runner.costs.macs, milliseconds, strict=True):
        slow = np.percentile(times, 95)
        print(f"  {name:10} {macs / 1e6:8.1f} M   median {statistics.median(times):6.2f} ms   95 % {slow:6.2f} ms")


if __name__ == "__main__":
    main()
