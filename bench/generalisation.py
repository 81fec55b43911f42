"""How well a network recognises training people and others, in comparable galleries.

    python bench/generalisation.py DATA MODEL [--people 151]

The same number of training and test people is drawn, with all their images; the first at each camera is a query, the
others are the gallery. The difference is overfitting.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from dare.datasets import open_benchmark
from dare.datasets.holdout import hold_out
from dare.evaluation.embedding import embed
from dare.evaluation.evaluate import evaluate
from dare.runners.opening import open_runner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("model", type=Path, help="a checkpoint, or the folder of a training")
    parser.add_argument("--people", type=int, default=151)
    options = parser.parse_args()
    torch.set_num_threads(1)
    runner = open_runner(options.model)
    benchmark = open_benchmark(options.data)
    strangers = tuple(sample for sample in benchmark.gallery if sample.person > 0)
    for name, side in (("trained on", benchmark), ("never seen", replace(benchmark, train=strangers))):
        split = hold_out(side, options.people)
        embeddings = embed(runner, [*split.query, *split.gallery], root=split.root)
        print(f"{options.people} people {name}: {len(split.query)} queries, {len(split.gallery)} gallery entries")
        for stage in evaluate(embeddings, split).results:
            scores = stage.scores
            print(
                f"  {stage.name:8} rank-1 {100 * scores.cmc(1):5.1f}   mAP {100 * scores.mean_average_precision:5.1f}"
            )


if __name__ == "__main__":
    main()
