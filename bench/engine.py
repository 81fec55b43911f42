"""The live engine: how late answers are, and how much of the computation that early exits save becomes time.

    python bench/engine.py MODEL GALLERY --queries DATA [--pictures 300] [--rounds 5] [--runner eager] [--busy 2]
    python bench/engine.py resnet50 --pictures 60

One thread; images are read and prepared before the clock starts. Deadlines range from half to one and a half of the
full network's median time. Overshoot is how much later than its deadline `identify` returns; it is compared with the
longest block (95th percentile), the time between two chances to stop. --busy runs that many other processes meanwhile,
unknown to the measured times, and measures nothing else. Otherwise streams with budgets alternate with the full
network, and the time saved is compared with the multiply-adds saved, with and without the search. Without a gallery
only the network is timed, on noise; a backbone's name means random weights.
"""

import argparse
import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from dare import (
    BACKBONES,
    DaRe,
    ExitTimes,
    Gallery,
    MemoryGallery,
    Runner,
    geometric_shares,
    identify,
    identify_stream,
    open_benchmark,
    open_gallery,
    open_runner,
)
from dare.gallery.store import Hits
from dare.identification.answer import DeadlineTooShortError, measure_answers
from dare.images.preparation import Prepared
from dare.images.reading import prepared


class Nobody(MemoryGallery):
    """A gallery whose search takes no time, to time the network alone. Its list is meaningless."""

    def search(self, exit: int, vectors: np.ndarray, count: int, *, where: Any = None) -> Hits:
        numbers = np.zeros((len(vectors), 1), np.int64)
        distances = np.asarray(vectors[:, :1], np.float64)
        return Hits(numbers.astype(str), numbers, numbers, np.abs(distances), np.ones(len(vectors), bool))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("gallery", type=Path, nargs="?")
    parser.add_argument("--queries", type=Path)
    parser.add_argument("--runner")
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--busy", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = DaRe(BACKBONES[options.model]()) if options.model in BACKBONES else options.model
    runner = open_runner(model, options.runner)
    if options.gallery is None:
        print(runner.description)
        size = runner.preparation
        noise = np.random.default_rng(0).normal(size=(options.pictures, 3, size.height, size.width))
        sizes = [vectors.shape[1] for vectors in runner.exits(noise[:1].astype(np.float32))]
        nobody = Nobody(runner.digest, sizes, runner.space)
        for micro_batch in (1, 4):
            savings("network alone", list(noise.astype(np.float32)), runner, nobody, micro_batch, options.rounds)
        return
    samples = open_benchmark(options.queries).query
    chosen = np.random.default_rng(0).permutation(len(samples))[: options.pictures]
    pictures = [Prepared(prepared(samples[row].images[0], runner.preparation)) for row in chosen]
    gallery = open_gallery(options.gallery)
    with threadpool_limits(1):
        times = measure_answers(runner, gallery, repeats=100)
        print(f"{len(pictures)} queries, {gallery.count()} gallery entries, {times.source}")
        print("median ms per exit: " + " ".join(f"{1000 * seconds:.2f}" for seconds in times.median))
        with spinning(options.busy):
            deadlines(pictures, runner, gallery, times)
        if options.busy:
            return
        nobody = Nobody(gallery.model, gallery.dimensions, gallery.space)
        for name, searched in (("with search", gallery), ("network alone", nobody)):
            for micro_batch in (1, 4):
                savings(name, pictures, runner, searched, micro_batch, options.rounds)
    gallery.close()


@contextlib.contextmanager
def spinning(count: int) -> Iterator[None]:
    """Other processes that keep the processor busy."""
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


def deadlines(pictures: list[np.ndarray], runner: Runner, gallery: Gallery, times: ExitTimes) -> None:
    print(f"\nlongest block {1000 * times.longest_block:.2f} ms (95 %)")
    for predicted in (None, times):
        late, exits, short = [], [], 0
        for number, picture in enumerate(pictures * 5):
            deadline = times.median[-1] * (0.5 + (number % 50) / 50)
            start = time.monotonic()
            try:
                answer = identify(picture, runner, gallery, deadline=deadline, times=predicted)
            except DeadlineTooShortError:
                short += 1
                continue
            late.append(time.monotonic() - start - deadline)
            exits.append(answer.exit)
        over = np.maximum(0, np.asarray(late)) * 1000
        mix = np.bincount(exits, minlength=len(times.median)) / len(exits)
        name = "clock alone" if predicted is None else "stops predicted"
        slow = f"median {np.median(over):.2f}, 99 % {np.percentile(over, 99):.2f}, most {over.max():.2f}"
        parts = " ".join(f"{100 * share:.0f}" for share in mix)
        in_time = 100 * (over == 0).mean()
        print(f"  {name:16} overshoot ms: {slow}; in time {in_time:.1f} %; exits {parts} %; too short {short}")


def savings(
    name: str, pictures: list[np.ndarray], runner: Runner, gallery: Gallery, micro_batch: int, rounds: int
) -> None:
    """Queries take exits by shares, regardless of content, so runs with and without search do the same."""
    print(f"\n{name}, micro-batches of {micro_batch}, medians of {rounds} rounds in turn")
    full_macs = runner.costs.macs[-1]
    budgets = [full_macs * part for part in (0.25, 0.5, 0.75, 1.0)]
    seconds: list[list[float]] = [[] for _ in budgets]
    spent = [0.0 for _ in budgets]
    for _ in range(rounds):
        for place, budget in enumerate(budgets):
            shares = geometric_shares(runner.costs, max(budget, runner.costs.macs[0]))
            policy = Sent(np.random.default_rng(0).choice(len(shares), size=len(pictures), p=shares), micro_batch)
            start = time.perf_counter()
            found = list(identify_stream(pictures, runner, gallery, policy, micro_batch=micro_batch))
            seconds[place].append((time.perf_counter() - start) / len(pictures))
            spent[place] = runner.costs.mean([answer.exit for answer in found])
    full = statistics.median(seconds[-1])
    for budget, macs, each in zip(budgets, spent, seconds, strict=True):
        took = statistics.median(each)
        line = (
            f"  budget {100 * budget / full_macs:4.0f} %: spent {100 * macs / full_macs:5.1f} % of the multiply-adds, "
        )
        line += f"{1000 * took:.2f} ms per query, {100 * took / full:5.1f} % of the time"
        if macs < full_macs:
            line += f"; {100 * (1 - took / full) / (1 - macs / full_macs):.0f} % of what was saved becomes time"
        print(line)


class Sent:
    """Sends each query of a stream to a predetermined exit."""

    def __init__(self, exits: np.ndarray, micro_batch: int) -> None:
        self._exits, self._micro_batch = exits, micro_batch
        self._asked = [iter(np.flatnonzero(exits >= exit)) for exit in range(int(exits.max()) + 1)]

    def stops(self, exit: int, confidence: float) -> bool:
        return bool(self._exits[next(self._asked[exit])] == exit)


if __name__ == "__main__":
    main()
