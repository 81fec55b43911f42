"""Train a network on your own images, and score every exit on people it has not seen.

    python examples/train_on_your_pictures.py PICTURES RUN [ITERATIONS]

PICTURES is a folder per person, or a CSV file with the columns `image`, `person` and, if known, `camera`. A tenth
of the people are held out. Needs `dare-reid[torch]`. The network is RUN/model.safetensors.
"""

import sys
from dataclasses import replace

from dare import PRESETS, embed, evaluate, open_benchmark, open_runner, train
from dare.datasets.holdout import hold_out

pictures, run = sys.argv[1:3]
preset = PRESETS["slim"]  # from random weights, for CPUs
iterations = int(sys.argv[3]) if len(sys.argv) > 3 else preset.iterations
config = replace(preset, iterations=iterations, decay_start=iterations // 2)

everything = open_benchmark(pictures)
people = len({sample.person for sample in everything.train})
benchmark = hold_out(everything, people=max(2, people // 10))
runner = open_runner(train(benchmark.train, run, config))
vectors = embed(runner, [*benchmark.query, *benchmark.gallery], root=benchmark.root)

for exit in evaluate(vectors, benchmark, costs=runner.costs).exits:
    scores = exit.scores
    print(f"{exit.name:8} {exit.macs / 1e6:6.1f} M multiply-adds", end="  ")
    print(f"rank-1 {scores.cmc(1):.1%}  mAP {scores.mean_average_precision:.1%}")
