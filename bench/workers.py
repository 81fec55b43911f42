"""One worker process against two: images per second of embedding and of a stream, in turn, and their memory.

    python bench/workers.py MODEL GALLERY --queries DATA [--pictures 600] [--rounds 5]

Wall time on an otherwise idle machine, images read from files. Memory is the total of a runner's processes
(PSS: shared pages count once).
"""

import argparse
import statistics
import time
from pathlib import Path

from threadpoolctl import threadpool_limits

from dare import Runner, RunningQuantile, embed, geometric_shares, identify_stream, open_benchmark, open_gallery
from dare.runners.workers import Workers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("gallery", type=Path)
    parser.add_argument("--queries", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    samples = open_benchmark(options.queries).query[: options.pictures]
    paths = [sample.images[0] for sample in samples]
    gallery = open_gallery(options.gallery)
    processes = {count: Workers(options.model, count) for count in (1, 2)}
    runners = {count: workers.runner() for count, workers in processes.items()}

    def embedding(runner: Runner, workers: int) -> None:
        embed(runner, samples, batch_size=16, workers=workers)

    def stream(runner: Runner, workers: int) -> None:
        policy = RunningQuantile(geometric_shares(runner.costs, 0.5 * runner.costs.macs[-1]))
        for _ in identify_stream(paths, runner, gallery, policy, workers=workers):
            pass

    with threadpool_limits(1):
        for name, work in (("embedding", embedding), ("stream on half the budget, with search", stream)):
            seconds: dict[int, list[float]] = {count: [] for count in runners}
            for number in range(options.rounds + 1):
                for count, runner in runners.items():
                    start = time.perf_counter()
                    work(runner, count)
                    if number:  # the first round warms up
                        seconds[count].append(time.perf_counter() - start)
            rates = {count: len(samples) / statistics.median(spent) for count, spent in seconds.items()}
            ratio = statistics.median(one / two for one, two in zip(seconds[1], seconds[2], strict=True))
            print(f"{name}: {rates[1]:,.0f} and {rates[2]:,.0f} pictures/s, {ratio:.2f} times")
    for count, runner in runners.items():
        print(f"{count} workers hold {memory(processes[count]):.0f} MB")
        runner.close()
    gallery.close()


def memory(workers: Workers) -> float:
    """MB of a runner's processes."""
    first = workers._end.peek()[2][0].pid  # type: ignore[index]
    children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
    kilobytes = 0
    for pid in (str(first), *children):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        kilobytes += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kilobytes / 1000


if __name__ == "__main__":
    main()
