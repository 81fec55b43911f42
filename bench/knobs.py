"""The effect of the synthetic benchmark's knobs on each exit: a demo network trained and scored on every variant.

    python bench/knobs.py OUT [--size tiny] [--seeds 1 2]

Benchmarks and runs stay in OUT; a second call only adds what is missing. Takes minutes per variant and seed.
"""

import argparse
import statistics
from dataclasses import replace
from pathlib import Path

import torch

from dare.datasets import open_benchmark
from dare.evaluation.embedding import embed
from dare.evaluation.evaluate import evaluate
from dare.runners.opening import open_runner
from dare.synthetic import SIZES, draw_benchmark
from dare.training.presets import PRESETS
from dare.training.train import train

VARIANTS: dict[str, dict[str, float]] = {
    "as it is": {},
    "camera_strength 1.2": {"camera_strength": 1.2},
    "camera_strength 0.15": {"camera_strength": 0.15},
    "background_contrast 0.15": {"background_contrast": 0.15},
    "easy_share 0.95": {"easy_share": 0.95},
    "easy_share 0.05": {"easy_share": 0.05},
    "outfits 1": {"outfits": 1},
    "outfit_noise 0": {"outfit_noise": 0.0},
    "detail 0.4": {"detail": 0.4},
    "softness 1": {"softness": 1.0},
    "box_error 1.2": {"box_error": 1.2},
    "occluder_rate 0.3": {"occluder_rate": 0.3},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"rank-1 in percent, {options.size}, preset demo, mean over seeds {options.seeds}")
    for name, knobs in VARIANTS.items():
        runs = [rank_1(options.out, name, options.size, seed, knobs) for seed in options.seeds]
        means = {exit: statistics.mean(run[exit] for run in runs) for exit in runs[0]}
        print(f"{name:26}", "  ".join(f"{exit} {100 * mean:5.1f}" for exit, mean in means.items()), flush=True)


def rank_1(out: Path, name: str, size: str, seed: int, knobs: dict[str, float]) -> dict[str, float]:
    """Exit name -> share of queries whose nearest entry is a match."""
    place = out / f"{name.replace(' ', '-')}-{size}-{seed}"
    if not (place / "data").exists():
        draw_benchmark(place / "data", size, seed=seed, knobs=replace(SIZES[size], **knobs))  # type: ignore[arg-type]
    benchmark = open_benchmark(place / "data")
    checkpoint = train(benchmark.train, place / "run", replace(PRESETS["demo"], seed=seed), resume=True)
    embeddings = embed(open_runner(checkpoint), [*benchmark.query, *benchmark.gallery], root=benchmark.root)
    return {exit.name: exit.scores.cmc(1) for exit in evaluate(embeddings, benchmark).exits}


if __name__ == "__main__":
    main()
