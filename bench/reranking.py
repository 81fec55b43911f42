"""Time and memory of k-reciprocal re-ranking, beside other toolboxes and the authors' code.

    python bench/reranking.py                       # ours at Market-1501's size
    python bench/reranking.py --large               # also at MSMT17's, where peers would need matrices of 35 GB
    python bench/reranking.py --peers               # also torchreid and fast-reid with faiss, from .bench-peers/
    python bench/reranking.py --original FOLDER     # also the authors' code, a clone of zhunzhong07/person-re-ranking
    python bench/reranking.py --peers --embeddings slim.npz --data data/market1501

Vectors are random, as many as in the data sets, or a file's fused vectors; junk is left out, because peers never read
it. Times are from vectors in memory to re-ranked distances (ours also straight to scores). Each run is a separate
process with the same number of threads, in turn; medians are printed. Imports and compiling are not timed.
"""

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scoring import PEERS, SIZES, extra_memory, install_peers, load, make

from dare import Embeddings, Labels, k_reciprocal, open_benchmark, score
from dare.retrieval.reranking import score_reranked

K1, K2, WEIGHT = 20, 6, 0.3
OURS = ("dare, scores", "dare, distances")
VARIANTS = {"fast-reid": "fast-reid", "torchreid": "fourth-power"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", action="store_true", help="install and time torchreid and fast-reid too")
    parser.add_argument("--original", type=Path, help="folder with the authors' python-version/")
    parser.add_argument("--large", action="store_true", help="ours at MSMT17's size too")
    parser.add_argument("--embeddings", type=Path, help="an .npz file of `dare embed`, instead of random vectors")
    parser.add_argument("--data", type=Path, help="the data set of these embeddings")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    parser.add_argument("--vectors", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        measure(options.job, options.vectors, options.original)
        return
    jobs = [*OURS]
    if options.peers:
        install_peers()
        install_faiss()
        jobs += ["fast-reid", "torchreid"]
    if options.original:
        jobs.append("original")
    if options.embeddings:
        compare(str(options.embeddings), stored(options.embeddings, options.data), jobs, options)
    else:
        compare("Market-1501 size", random_vectors("Market-1501"), jobs, options)
    if options.large:
        compare("MSMT17 size", random_vectors("MSMT17"), ["dare, scores"], options)


def random_vectors(size: str) -> dict[str, Any]:
    queries, entries, people, cameras = SIZES[size]
    q, query = make(queries, people, cameras, seed=1)
    g, gallery = make(entries, people, cameras, seed=2)
    return arrays(q, g, query, gallery)


def stored(file: Path, data: Path) -> dict[str, Any]:
    """The last exit's vectors, in the benchmark's order, without junk."""
    benchmark = open_benchmark(data)
    gallery = [sample for sample in benchmark.gallery if sample.person != -1]
    embeddings = Embeddings.load(file)
    q = embeddings.find(benchmark.identify(benchmark.query)).exits()[-1]
    g = embeddings.find(benchmark.identify(gallery)).exits()[-1]
    return arrays(q, g, Labels.of(benchmark.query), Labels.of(gallery))


def arrays(q: np.ndarray, g: np.ndarray, query: Labels, gallery: Labels) -> dict[str, Any]:
    return {"q": q, "g": g, "labels": [query.people, query.cameras], "entries": [gallery.people, gallery.cameras]}


def compare(title: str, vectors: dict[str, Any], jobs: list[str], options: argparse.Namespace) -> None:
    queries, entries = len(vectors["q"]), len(vectors["g"])
    print(f"{title}: {queries} x {entries} x {vectors['q'].shape[1]}, {options.rounds} rounds in turn")
    results: dict[str, list[dict[str, Any]]] = {job: [] for job in jobs}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "vectors.npz"
        np.savez(file, **vectors)
        print(f"  load before: {os.getloadavg()[0]:.1f}")
        for _ in range(options.rounds):
            for job in jobs:
                results[job].append(run(job, file, options.original))
        print(f"  load after: {os.getloadavg()[0]:.1f}")
    ours = statistics.median(result["seconds"] for result in results["dare, scores"])
    for job, found in results.items():
        seconds = statistics.median(result["seconds"] for result in found)
        memory = statistics.median(result["mib"] for result in found)
        last = found[-1]
        difference = f"  {last['difference']:.1e} from ours at most" if "difference" in last else ""
        print(
            f"  {job:16} {seconds:8.2f} s  {seconds / ours:6.1f} x  {memory:6.0f} MiB more  "
            f"rank-1 {100 * last['rank1']:.2f}, mAP by the step rule {100 * last['mAP']:.2f}{difference}"
        )


def run(job: str, file: Path, original: Path | None) -> dict[str, Any]:
    """One job in a separate process."""
    words = [sys.executable, __file__, "--job", job, "--vectors", str(file)]
    if original:
        words += ["--original", str(original)]
    environment = os.environ | {"OMP_NUM_THREADS": str(len(os.sched_getaffinity(0)))}
    done = subprocess.run(words, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def measure(job: str, file: Path, original: Path | None) -> None:
    """Run a job, and print its cost and result."""
    with np.load(file) as content:
        q, g = content["q"], content["g"]
        query, gallery = Labels(*content["labels"]), Labels(*content["entries"])
    small = Labels(query.people[:99], query.cameras[:99])
    score_reranked(q[:99], q[:99], small, small)  # compile, or load what was compiled before
    k_reciprocal(q[:99], q[:99])
    work: dict[str, Callable[[], Any]] = {
        "dare, scores": lambda: score_reranked(q, g, query, gallery, rule="step"),
        "dare, distances": lambda: k_reciprocal(q, g),
    }
    if job == "fast-reid":
        work[job] = fast_reid(q, g)
    elif job == "torchreid":
        work[job] = torchreid(q, g)
    elif job == "original":
        work[job] = authors(original or Path(), q, g)
    kept: list[Any] = []

    def timed() -> None:
        start = time.perf_counter()
        kept.append(work[job]())
        kept.append(time.perf_counter() - start)

    result: dict[str, Any] = {"mib": extra_memory(timed), "seconds": kept[1]}
    scores = kept[0] if job == "dare, scores" else score(kept[0], query, gallery, rule="step")
    result |= {"rank1": scores.cmc(1), "mAP": scores.mean_average_precision}
    if job not in OURS:
        ours = k_reciprocal(q, g, variant=VARIANTS.get(job, "zhong"))
        result["difference"] = float(np.abs(kept[0] - ours).max())
    print(json.dumps(result))


def install_faiss() -> None:
    """fast-reid's neighbour search."""
    if not (PEERS / "faiss").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(PEERS), "--no-deps"]
        subprocess.run([*pip, "faiss-cpu"], check=True)


def fast_reid(q: np.ndarray, g: np.ndarray) -> Callable[[], np.ndarray]:
    """Its Jaccard distances by faiss on the CPU, blended with squared Euclidean ones as in its evaluator."""
    sys.path.append(str(PEERS))
    import torch

    module = importlib.import_module("fastreid.utils.compute_dist")
    query, gallery = torch.from_numpy(q), torch.from_numpy(g)

    def work() -> np.ndarray:
        both = torch.cat((query, gallery))
        jaccard = module.compute_jaccard_distance(both, k1=K1, k2=K2, search_option=3)[: len(q), len(q) :]
        blended: np.ndarray = jaccard * (1 - WEIGHT) + module.compute_euclidean_distance(query, gallery) * WEIGHT
        return blended

    return work


def torchreid(q: np.ndarray, g: np.ndarray) -> Callable[[], np.ndarray]:
    """As its engine calls it: squared Euclidean distances, which the function squares again."""
    import torch

    function = load(PEERS / "torchreid" / "reid" / "utils" / "rerank.py").re_ranking
    distances = load(PEERS / "torchreid" / "reid" / "metrics" / "distance.py").compute_distance_matrix
    query, gallery = torch.from_numpy(q), torch.from_numpy(g)

    def work() -> np.ndarray:
        pairs = ((query, gallery), (query, query), (gallery, gallery))
        result: np.ndarray = function(*(distances(*pair).numpy() for pair in pairs), K1, K2, WEIGHT)
        return result

    return work


def authors(folder: Path, q: np.ndarray, g: np.ndarray) -> Callable[[], np.ndarray]:
    """`re_ranking_feature` as published, without a file ending; it computes in float16."""
    names: dict[str, Any] = {}
    exec(compile((folder / "python-version" / "re_ranking_feature").read_text(), "re_ranking_feature", "exec"), names)
    return lambda: names["re_ranking"](q, g, K1, K2, WEIGHT)


if __name__ == "__main__":
    main()
