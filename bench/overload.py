"""How many queries get a right answer in time when more and more of them come.

    python bench/overload.py DATA --model lite                    # about ten minutes
    python bench/overload.py DATA --model lite --loads 0.5,3 --seconds 5 --json overload.json --plot overload

Queries come at random moments at a fixed rate, whatever becomes of the ones before, each with a deadline of four times
the time at full depth. The load is the rate over what the workers could do at full depth. The same moments and pictures
go to the scheduler; to the same scheduler where every query has one fixed exit; and to a plain queue, first in, first
out, at full depth. Delivered accuracy: right at rank 1 and in time, over all that were asked.

If a spinning loop shows that the machine has other load, before or after a run, that run says so.
"""

import argparse
import itertools
import json
import queue
import random
import statistics
import threading
import time
from concurrent.futures import Future, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

from dare import Answer, Gallery, MemoryGallery, Runner, Scheduler, embed, open_benchmark, open_runner
from dare.cli.terminal import show_table
from dare.gallery.entry import Entry, Where
from dare.identification.answer import identify

DEADLINE = 4.0
"""Times the time at full depth."""
NOISY = 1.3


class Leave:
    """A policy that leaves at one exit."""

    def __init__(self, exit: int) -> None:
        self.exit = exit

    def stops(self, exit: int, confidence: float) -> bool:
        return exit >= self.exit


class Plain:
    """First in, first out, at full depth; nothing is refused."""

    def __init__(self, runner: Runner, gallery: Gallery, workers: int) -> None:
        self._runner, self._gallery, self._jobs = runner, gallery, queue.Queue[Any]()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, picture: Path, *, due: float, where: Where) -> Future[Answer]:
        future: Future[Answer] = Future()
        self._jobs.put((future, picture, due, where))
        return future

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, picture, due, where = job
            if future.set_running_or_notify_cancel():
                answer = identify(picture, self._runner, self._gallery, where=where)
                future.set_result(replace(answer, deadline_met=time.perf_counter() <= due))

    def close(self) -> None:
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a data set")
    parser.add_argument("--model", default="lite")
    parser.add_argument("--workers", type=int, default=2, help="processes that run the network")
    parser.add_argument("--threads", action="store_true", help="run the network in threads of this process instead")
    parser.add_argument("--loads", default="0.5,0.8,1,1.5,2,3,4,6")
    parser.add_argument("--seconds", type=float, default=10.0, help="of queries, per load and policy")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    benchmark = open_benchmark(options.data)
    runner = open_runner(options.model, workers=1 if options.threads else options.workers)
    found = embed(runner, benchmark.gallery, root=benchmark.root, workers=1 if options.threads else options.workers)
    gallery = MemoryGallery(runner.digest, [vectors.shape[1] for vectors in found.exits()], runner.space)
    gallery.add(
        found.entries(),
        [
            Entry(id, one.person if one.person >= 0 else None, one.camera)
            for id, one in zip(found.ids, benchmark.gallery, strict=True)
        ],
    )
    exits = len(runner.costs.macs)
    full = full_time(runner, gallery, [sample.images[0] for sample in benchmark.query[:60]])
    print(f"{runner.description}; {gallery.count()} entries; {1000 * full:.2f} ms at full depth")
    policies: dict[str, Any] = {"scheduler": lambda: Scheduler(runner, gallery, options.workers)}
    for exit in range(exits):
        policies[f"fixed: {runner.exit_names[exit]}"] = lambda exit=exit: Scheduler(
            runner, gallery, options.workers, policy=Leave(exit)
        )
    policies["plain queue"] = lambda: Plain(runner, gallery, options.workers)
    rows: list[dict[str, Any]] = []
    for load in map(float, options.loads.split(",")):
        rate = load * options.workers / full
        for name, make in policies.items():
            fixed = runner.exit_names.index(name.removeprefix("fixed: ")) if name.startswith("fixed") else 0
            rows.append({"load": load, "policy": name} | play(make(), benchmark, rate, full, fixed, exits, options))
            row = rows[-1]
            print(
                f"{load:4g} {name:18} in time {100 * row['in_time']:5.1f} %, delivered {100 * row['delivered']:5.1f} %",
                flush=True,
            )
    show(rows, [runner.exit_names[exit] for exit in range(exits)])
    if options.json:
        options.json.write_text(json.dumps({"full": full, "rows": rows}, indent=1))
    if options.plot:
        draw(rows, options.plot)


def full_time(runner: Runner, gallery: Gallery, pictures: list[Path]) -> float:
    """Median seconds of a query at full depth, alone."""
    times = []
    for picture in pictures:
        start = time.perf_counter()
        identify(picture, runner, gallery)
        times.append(time.perf_counter() - start)
    return statistics.median(times[len(times) // 4 :])


def play(asked: Any, benchmark: Any, rate: float, full: float, least: int, exits: int, options: Any) -> dict[str, Any]:
    """Ask at a fixed rate, and count."""
    chance = random.Random(options.seed)
    samples = [chance.choice(benchmark.query) for _ in range(int(rate * options.seconds))]
    moments = list(itertools.accumulate(chance.expovariate(rate) for _ in samples))
    quiet, least_exit = spin(), {"min_exit": least} if isinstance(asked, Scheduler) else {}
    start, futures = time.perf_counter() + 0.1, []
    for sample, moment in zip(samples, moments, strict=True):
        while (left := start + moment - time.perf_counter()) > 0:
            time.sleep(left)
        where = Where(not_seen=(sample.person, sample.camera))
        due = start + moment + DEADLINE * full  # from the moment itself: a late generator is the service's loss
        futures.append((sample, asked.submit(sample.images[0], due=due, where=where, **least_exit), due))
    wait([future for _, future, _ in futures], timeout=3 * DEADLINE * full + 1)
    lag = time.perf_counter() - start - moments[-1]
    right = in_time = 0
    mix = [0] * exits
    for sample, future, _ in futures:
        if not future.done():
            future.cancel()
        elif future.exception() is None:
            answer = future.result()
            if answer.deadline_met:
                in_time += 1
                mix[answer.exit] += 1
                right += bool(answer.hits.people.size) and int(answer.hits.people[0, 0]) == sample.person
    asked.close()
    count = len(futures)
    noise = max(quiet, spin())
    return {
        "asked": count,
        "in_time": in_time / count,
        "delivered": right / count,
        "exits": [number / max(1, in_time) for number in mix],
        "noise": noise,
        "lag": lag,
    }


def spin() -> float:
    """How much longer a loop takes now and then; about 1 on a quiet machine."""
    times = []
    for _ in range(200):
        start = time.perf_counter()
        sum(range(20_000))
        times.append(time.perf_counter() - start)
    times.sort()
    return times[-10] / statistics.median(times)


def show(rows: list[dict[str, Any]], names: list[str]) -> None:
    header = ("load", "policy", "asked", "in time", "delivered", *names, "machine")
    show_table(
        header,
        [
            (
                f"{row['load']:g}",
                row["policy"],
                str(row["asked"]),
                f"{100 * row['in_time']:.1f} %",
                f"{100 * row['delivered']:.1f} %",
                *(f"{100 * share:.0f} %" for share in row["exits"]),
                "noisy" if row["noise"] > NOISY else "quiet",
            )
            for row in rows
        ],
    )


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    from dare.experiments.plots import new_figure, tidy, write_figure

    figure = new_figure(6, 4)
    axes = figure.subplots()
    for policy in dict.fromkeys(row["policy"] for row in rows):
        ours = [row for row in rows if row["policy"] == policy]
        axes.plot([row["load"] for row in ours], [100 * row["delivered"] for row in ours], "o-", label=policy)
    tidy(axes, "right and in time, % of all asked")
    axes.set_xlabel("load, in what all workers can do at full depth")
    axes.legend()
    write_figure(figure, path)


if __name__ == "__main__":
    main()
