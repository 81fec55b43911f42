"""How fast the exact search over vectors in memory is, beside numpy's float32 scan and the bare matrix product.

    python bench/search.py                  # 10,000 to 1,000,000 vectors of 128 dimensions
    python bench/search.py --real run.npz   # also your embeddings, repeated with noise up to 1,000,000

One query: numpy multiplies all rows by it, adds squared lengths, and picks the nearest with argpartition; with `faiss`
installed its flat index is timed too. 64 queries: only their float32 product with blocks of the rows. All
run on one thread, alternating within one run; medians are printed. Quote ratios: absolute times depend on the machine's
other load. With two threads each searches single queries, and the ratio is that of searches per second, at most two.
Candidates are rows whose true distance must still be computed once the nearest are known.
"""

import argparse
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from dare.gallery.columns import Columns
from dare.gallery.copies import Matrix, Vectors
from dare.gallery.search import search_rows
from dare.retrieval.embeddings import Embeddings

DIMENSION, TOP, BATCH, BLOCK, SOME = 128, 10, 64, 4000, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--real", type=Path, help="embeddings, of which the last exit is used")
    options = parser.parse_args()
    heads = ["1 query", "numpy", "ratio", "64", "product", "ratio", "2 threads", "candidates"]
    print(f"{'vectors':20}" + "".join(f"{head:>11}" for head in heads))
    real = Embeddings.load(options.real).exits()[-1] if options.real else None
    for count in options.counts:
        random = np.random.default_rng(0)
        compare(f"random {count:,}", random.standard_normal((count + BATCH, DIMENSION), np.float32), options.rounds)
        compare(f"clustered {count:,}", clustered(random, count + BATCH), options.rounds)
        if real is not None:
            compare(f"real {count:,}", repeated(random, real, count + BATCH), options.rounds)


def compare(name: str, vectors: np.ndarray, rounds: int) -> None:
    queries, rows = vectors[:BATCH].copy(), vectors[BATCH:].copy()
    stored = Vectors(rows.shape[1], len(rows))
    stored.append(rows)
    matrix, squares = stored.matrix(), np.einsum("nd,nd->n", rows, rows)
    ids = pa.array(map(str, range(len(rows))))
    columns = Columns(ids, *(np.zeros(len(rows), np.int64) for _ in range(3)), pa.array([""] * len(rows)), {})

    def ours(some: np.ndarray) -> np.ndarray:
        return search_rows(some, matrix, columns, TOP, None).distances

    found = ours(queries)
    number = [0]
    one = lambda: queries[number[0] % BATCH : number[0] % BATCH + 1]  # noqa: E731 - a new query every round
    jobs: dict[str, Callable[[], Any]] = {
        "one": lambda: ours(one()),
        "numpy": lambda: scan(rows, squares, one()[0]),
        "batch": lambda: ours(queries),
        "product": lambda: product(rows, queries),
        "some": lambda: [ours(queries[n : n + 1]) for n in range(SOME)],
        "threads": lambda: at_once(lambda: [ours(queries[n : n + 1]) for n in range(SOME)], 2),
    }
    if (index := flat_index(rows)) is not None:
        jobs["faiss"] = lambda: index.search(one(), TOP)
    seconds: dict[str, list[float]] = {job: [] for job in jobs}
    with threadpool_limits(1):
        for _ in range(rounds):
            for job, act in jobs.items():
                start = time.perf_counter()
                act()
                seconds[job].append(time.perf_counter() - start)
            number[0] += 1
    middle = {job: 1000 * statistics.median(taken) for job, taken in seconds.items()}
    candidates = statistics.median(candidates_of(matrix, queries[n], found[n, -1]) for n in range(16))
    print(
        f"{name:20}{middle['one']:8.2f} ms{middle['numpy']:8.2f} ms{ratio(seconds, 'numpy', 'one'):10.2f}x"
        f"{middle['batch']:8.1f} ms{middle['product']:8.1f} ms{ratio(seconds, 'batch', 'product'):10.2f}x"
        f"{2 * ratio(seconds, 'some', 'threads'):10.2f}x{candidates:11.1f}",
        flush=True,
    )
    if "faiss" in middle:
        print(f"{'':20} faiss {middle['faiss']:.2f} ms, {ratio(seconds, 'faiss', 'one'):.2f} times ours")


def clustered(random: np.random.Generator, count: int) -> np.ndarray:
    """Twenty unit vectors around each centre."""
    centres = random.standard_normal((max(1, count // 20), DIMENSION), np.float32)
    vectors = centres[random.integers(len(centres), size=count)]
    vectors += np.float32(0.5) * random.standard_normal((count, DIMENSION), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def repeated(random: np.random.Generator, vectors: np.ndarray, count: int) -> np.ndarray:
    """Shuffled embeddings, repeated as often as needed, with noise of a fifth of their spread."""
    drawn = vectors[random.permutation(count) % len(vectors)]
    noise = np.float32(0.2 * vectors.std()) if count > len(vectors) else np.float32(0)
    return drawn + noise * random.standard_normal(drawn.shape, np.float32)


def scan(rows: np.ndarray, squares: np.ndarray, query: np.ndarray) -> np.ndarray:
    return np.argpartition(squares - 2 * (rows @ query), TOP)[:TOP]


def product(rows: np.ndarray, queries: np.ndarray) -> None:
    block = np.empty((len(queries), BLOCK), np.float32)
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        np.matmul(queries, part.T, out=block[:, : len(part)])


def at_once(act: Callable[[], Any], count: int) -> None:
    threads = [threading.Thread(target=act) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def candidates_of(matrix: Matrix, query: np.ndarray, farthest: float) -> int:
    """Rows whose lower bound is within the distance of the last result."""
    codes = matrix.copies.codes[:, : len(query)]
    total = 0
    for start in range(0, len(codes), 2**16):
        part = slice(start, start + 2**16)
        near = matrix.centre + codes[part] * matrix.copies.scales[part, None].astype(np.float64)
        total += int((np.linalg.norm(near - query, axis=1) <= farthest + matrix.copies.errors[part]).sum())
    return total


def flat_index(rows: np.ndarray) -> Any:
    try:
        import faiss
    except ImportError:
        return None
    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatL2(rows.shape[1])
    index.add(rows)
    return index


def ratio(seconds: dict[str, list[float]], one: str, other: str) -> float:
    return statistics.median(a / b for a, b in zip(seconds[one], seconds[other], strict=True))


if __name__ == "__main__":
    main()
