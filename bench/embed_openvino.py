"""Embeddings of one of OpenVINO's re-ID networks, as an example of vectors from elsewhere.

    pip install openvino
    python bench/embed_openvino.py person-reidentification-retail-0288.xml data/market1501 other.npz
    dare evaluate data/market1501 --embeddings other.npz --distance cosine [--rule step]

The networks take 256x128 BGR pictures with values 0 to 255 and are compared by cosine distance.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from dare.datasets import market1501
from dare.images import read_resized


def main() -> None:
    import openvino

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path, help="the .xml file, with its .bin beside it")
    parser.add_argument("root", type=Path, help="Market-1501")
    parser.add_argument("out", type=Path, help=".npz file to write")
    options = parser.parse_args()
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(options.network), "CPU", {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
    )
    benchmark = market1501(options.root)
    samples = (*benchmark.query, *benchmark.gallery)
    vectors, seconds = [], 0.0
    for sample in samples:
        picture = read_resized(sample.images[0], 256, 128)[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32)
        start = time.perf_counter()
        vectors.append(compiled(picture)[0].ravel())
        seconds += time.perf_counter() - start
    np.savez(options.out, vectors=np.stack(vectors), ids=benchmark.identify(samples))
    print(f"{len(samples)} pictures, {1000 * seconds / len(samples):.2f} ms each on one thread")


if __name__ == "__main__":
    main()
