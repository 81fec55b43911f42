"""Time and memory of learning KISSME and XQDA at the size of Market-1501's training set.

python bench/learnt_distances.py [--vectors 12936] [--dimensions 2048]
"""

import argparse
import time
from functools import partial
from pathlib import Path

import numpy as np

from dare.retrieval.metrics import kissme, xqda

PEOPLE, CAMERAS = 751, 6


def peak_mib() -> float:
    """Peak memory since `clear_refs` was last written."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=12_936)
    parser.add_argument("--dimensions", type=int, default=2_048)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    people = random.integers(0, PEOPLE, options.vectors)
    cameras = random.integers(1, CAMERAS + 1, options.vectors)
    spread = np.linspace(2, 0.1, options.dimensions, dtype=np.float32)
    vectors = (spread * random.normal(size=(PEOPLE, options.dimensions)).astype(np.float32))[people]
    vectors += random.normal(size=vectors.shape).astype(np.float32)
    print(f"{options.vectors} x {options.dimensions}, {PEOPLE} people")
    kissme(vectors[:500, :20], people[:500], cameras[:500])  # what is loaded at the first call is loaded
    for name, learn in (("kissme", kissme), ("kissme, PCA to 200", partial(kissme, dimensions=200)), ("xqda", xqda)):
        Path("/proc/self/clear_refs").write_text("5")
        before, start, busy = peak_mib(), time.perf_counter(), time.process_time()
        learn(vectors, people, cameras)
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
        print(f"  {name:20} {seconds:6.1f} s, {busy:6.1f} s of CPU, {peak_mib() - before:5.0f} MiB more", flush=True)


if __name__ == "__main__":
    main()
