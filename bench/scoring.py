"""How long scoring takes beside the bare matrix product, and beside other toolboxes.

    python bench/scoring.py                 # ours and the product, Market-1501 and MSMT17 sizes
    python bench/scoring.py --peers         # also fast-reid and torchreid, installed into .bench-peers/

Vectors are random, with as many labels as in the data sets. All jobs alternate within one run; medians are printed.
Quote ratios: absolute times depend on the machine's other load.
"""

import argparse
import importlib.util
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from dare.retrieval.labels import Labels
from dare.retrieval.scoring import score_vectors

SIZES = {"Market-1501": (3_368, 15_913, 750, 6), "MSMT17": (11_659, 82_161, 3_060, 15)}
DIMENSION = 128
PEERS = Path(__file__).parents[1] / ".bench-peers"
REST = 0.2  # seconds, in which threads of the job before stop waiting for more; they would take the next one's core
PYTHON_SHARE = 16  # torchreid from PyPI has no compiled evaluation: it is timed on every 16th query and scaled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", action="store_true", help="install and time fast-reid and torchreid too")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sizes", nargs="*", choices=SIZES, default=list(SIZES))
    options = parser.parse_args()
    if options.peers:
        install_peers()
    for size in options.sizes:
        compare(size, options.rounds if size == "Market-1501" else 3, options.peers and size == "Market-1501")


def compare(size: str, rounds: int, peers: bool) -> None:
    queries, entries, people, cameras = SIZES[size]
    q, query = make(queries, people, cameras, seed=1)
    g, gallery = make(entries, people, cameras, seed=2)
    print(f"{size} size: {queries} x {entries} x {DIMENSION}, {rounds} rounds in turn")
    jobs: dict[str, Callable[[], Any]] = {
        "bare float32 product": lambda: q @ g.T,
        "dare, exact": lambda: score_vectors(q, g, query, gallery),
    }
    scale = dict.fromkeys(jobs, 1.0)
    if peers:
        jobs["fast-reid 1.4.0, Cython"] = lambda: fast_reid(q, g, query, gallery)
        jobs["torchreid 0.2.5, Python"] = lambda: torchreid(q, g, query, gallery)
        scale |= {"fast-reid 1.4.0, Cython": 1.0, "torchreid 0.2.5, Python": float(PYTHON_SHARE)}
    score_vectors(q[:8], g, query_part(query, 8), gallery)  # compile, or load what was compiled before
    # Memory first: what a job frees may stay with the process, and the next one would seem to need less.
    memory = {name: extra_memory(job) for name, job in reversed(jobs.items()) if scale[name] == 1}
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(rounds):
        for name, job in jobs.items():
            if scale[name] > 1 and number:
                continue
            time.sleep(REST)
            start = time.perf_counter()
            job()
            seconds[name].append(scale[name] * (time.perf_counter() - start))
    for name in jobs:
        own = statistics.median(seconds[name])
        ratio = statistics.median(a / b for a, b in zip(seconds[name], seconds["bare float32 product"], strict=False))
        more = f"  {memory[name]:6.0f} MiB more" if name in memory else ""
        print(f"  {name:26} {own:8.3f} s  {ratio:6.1f} x the product{more}")
    scores = score_vectors(q, g, query, gallery, rule="step")
    print(f"  mAP by the step rule {scores.mean_average_precision:.6f}, rank-1 {scores.cmc(1):.6f}")
    if peers:
        cmc, average_precision, _ = fast_reid(q, g, query, gallery)
        print(f"  fast-reid            {np.mean(average_precision):.6f}, rank-1 {cmc[0]:.6f}")


def make(count: int, people: int, cameras: int, seed: int) -> tuple[np.ndarray, Labels]:
    """Unit vectors around a centre per person; the centres are the same for every seed."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(people, DIMENSION))
    labels = Labels(random.integers(people, size=count), random.integers(cameras, size=count))
    vectors = 0.5 * centres[labels.people] + random.normal(size=(count, DIMENSION))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), labels


def query_part(query: Labels, count: int) -> Labels:
    return Labels(query.people[:count], query.cameras[:count])


def extra_memory(job: Callable[[], Any]) -> float:
    """MiB of a job's peak above what was resident before (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    job()
    return (resident("VmHWM") - before) / 1024


def resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def install_peers() -> None:
    """fast-reid and torchreid from PyPI, with fast-reid's Cython module built from its source."""
    if not (PEERS / "built").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--target", str(PEERS)]
        subprocess.run([*pip, "--no-deps", "fastreid==1.4.0", "torchreid==0.2.5"], check=True)
        subprocess.run([*pip, "cython", "setuptools"], check=True)
        source = PEERS / "fastreid" / "evaluation" / "rank_cylib"
        build = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
        subprocess.run(build, cwd=source, check=True, env={"PYTHONPATH": str(PEERS), "PATH": "/usr/bin:/bin"})
        (PEERS / "built").touch()


def load(file: Path) -> ModuleType:
    """A module by its file: the packages' own __init__ would import far more than these functions need."""
    spec = importlib.util.spec_from_file_location(file.name.split(".")[0], file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec.loader.exec_module(module)
    return module


def distances(q: np.ndarray, g: np.ndarray) -> np.ndarray:
    """As in torchreid and fast-reid."""
    import torch

    module = load(PEERS / "torchreid" / "reid" / "metrics" / "distance.py")
    matrix: np.ndarray = module.compute_distance_matrix(torch.from_numpy(q), torch.from_numpy(g)).numpy()
    return matrix


def fast_reid(q: np.ndarray, g: np.ndarray, query: Labels, gallery: Labels) -> Any:
    (file,) = (PEERS / "fastreid" / "evaluation" / "rank_cylib").glob("rank_cy*.so")
    evaluate = load(file).evaluate_cy
    return evaluate(distances(q, g), query.people, gallery.people, query.cameras, gallery.cameras, 50)


def torchreid(q: np.ndarray, g: np.ndarray, query: Labels, gallery: Labels) -> Any:
    module = load(PEERS / "torchreid" / "reid" / "metrics" / "rank.py")
    matrix = distances(q[::PYTHON_SHARE], g)
    people, cameras = query.people[::PYTHON_SHARE], query.cameras[::PYTHON_SHARE]
    return module.eval_market1501(matrix, people, gallery.people, cameras, gallery.cameras, 50)


if __name__ == "__main__":
    main()
