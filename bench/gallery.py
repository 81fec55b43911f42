"""How fast a gallery on disk adds and finds entries, beside a scan by numpy.

    python bench/gallery.py                  # 100,000 entries of 4 exits
    python bench/gallery.py --million        # also 1,000,000 of one exit

Vectors are random. Searches run on one thread, alternating with numpy's on the same vectors. Quote ratios: absolute
times depend on the machine's other load.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"  # set before numpy is loaded

import numpy as np

from dare.gallery.entry import Entry, Where
from dare.gallery.opening import create_gallery, open_gallery
from dare.gallery.store import Gallery

DIMENSION, TOP = 128, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--million", action="store_true", help="also measure a gallery of 1,000,000")
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--folder", type=Path, help="where to put the galleries (default: with temporary files)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        measure(Path(folder) / "a", 100_000, 4, options.batch, options.rounds)
        if options.million:
            measure(Path(folder) / "b", 1_000_000, 1, options.batch, options.rounds)


def measure(path: Path, count: int, exits: int, batch: int, rounds: int) -> None:
    print(f"{count:,} entries, {exits} x {DIMENSION}, {rounds} queries in turn")
    random = np.random.default_rng(0)
    rows = random.standard_normal((count, DIMENSION), np.float32)
    squares = np.einsum("nd,nd->n", rows, rows)
    entries = [
        Entry(f"c{n % 6}/picture {n}.jpg", n % 1000, n % 6, float(n), f"/pictures/{n}.jpg") for n in range(count)
    ]
    writer = create_gallery(path, model="a" * 64, dimensions=[DIMENSION] * exits)
    seconds = []
    for start in range(0, count, batch):
        part = slice(start, start + batch)
        seconds.append(timed(lambda: writer.add([rows[part]] * exits, entries[part])))  # noqa: B023 - called here
    total = sum(seconds)
    print(f"  taken in     {count / total:8,.0f} entries/s in batches of {batch}; a batch {spread(seconds)}")
    print(
        f"  replaced     {batch / timed(lambda: writer.add([rows[:batch]] * exits, entries[:batch])):8,.0f} entries/s"
    )
    reader = open_gallery(path)
    queries = rows[random.integers(batch, count, rounds)] + 0.1 * random.standard_normal(
        (rounds, DIMENSION), np.float32
    )
    print(f"  first search {1000 * timed(lambda: reader.search(0, queries[:1], TOP)):8.1f} ms, it loads the exit")
    where = Where(not_cameras=(1,))
    times: dict[str, list[float]] = {}
    for query in queries:
        jobs: dict[str, Callable[[], Any]] = {
            "search": lambda query=query: reader.search(0, query[None], TOP),
            "filtered": lambda query=query: reader.search(0, query[None], TOP, where=where),
            "numpy's scan": lambda query=query: scan(rows, squares, query),
            "is it new?": reader.count,
        }
        for name, job in jobs.items():
            times.setdefault(name, []).append(timed(job))
    for name, taken in times.items():
        print(f"  {name:12} {spread(taken)}")
    hits = [reader.search(0, query[None], TOP).distances[0] for query in queries]
    same = np.mean(
        [np.allclose(found, scan(rows, squares, query), rtol=1e-4) for found, query in zip(hits, queries, strict=True)]
    )
    print(f"  the same distances as numpy's in {same:.0%}")
    after(writer, reader, rows, queries, exits)


def after(writer: Gallery, reader: Gallery, rows: np.ndarray, queries: np.ndarray, exits: int) -> None:
    """A reader's searches after a writer's changes."""
    reader.search(0, queries[:1], TOP)
    seconds = []
    for number in range(10):
        writer.add([rows[:1]] * exits, [Entry(f"new {number}")])
        seconds.append(timed(lambda: reader.search(0, queries[:1], TOP)))
    print(f"  after an add {spread(seconds)}")
    writer.remove(["new 1"])
    print(f"  after a removal {1000 * timed(lambda: reader.search(0, queries[:1], TOP)):5.1f} ms")
    print(f"  a person is forgotten in {timed(lambda: writer.forget(people=[7])):.2f} s")
    writer.close()
    reader.close()


def scan(rows: np.ndarray, squares: np.ndarray, query: np.ndarray) -> np.ndarray:
    """The distances of the nearest."""
    products = squares - 2 * (rows @ query)
    best = np.argpartition(products, TOP)[:TOP]
    return np.sort(np.sqrt(np.maximum(products[best] + query @ query, 0)))


def timed(job: Callable[[], Any]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def spread(seconds: list[float]) -> str:
    half, most = np.percentile(np.asarray(seconds) * 1000, [50, 95])
    return f"p50 {half:7.2f} ms, p95 {most:7.2f} ms"


if __name__ == "__main__":
    main()
