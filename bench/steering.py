"""How far streams miss their budget, for several orders of the same queries.

    python bench/steering.py DATA EMBEDDINGS MODEL

Replays label-free margins at ten budgets. The miss is the largest over all budgets, at any time from 1,000 queries on.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dare import (
    Embeddings,
    ExitPolicy,
    RunningQuantile,
    Steered,
    evaluate,
    geometric_shares,
    load_checkpoint,
    open_benchmark,
    replay,
)
from dare.experiments.query_stream import query_stream

SETTLED = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("embeddings", type=Path, help="what `dare embed` wrote")
    parser.add_argument("model", type=Path, help="network whose costs are used")
    options = parser.parse_args()
    costs = load_checkpoint(options.model).costs
    evaluation = evaluate(Embeddings.load(options.embeddings), open_benchmark(options.data), costs=costs)
    stream = query_stream(evaluation).shuffled(0)
    confidences = stream.confidences["label-free margin"]
    sorted_rows = np.argsort(confidences[0])
    half = len(sorted_rows) // 2
    orders = {
        "shuffled": np.arange(len(sorted_rows)),
        "as listed, by person": np.argsort(stream.rows),
        "hard ones first": sorted_rows,
        "easy ones first": sorted_rows[::-1],
        "middling, easy, hard": np.concatenate([sorted_rows[half:], sorted_rows[:half]]),
    }
    policies: dict[str, Callable[[float], ExitPolicy]] = {
        "running quantile": lambda budget: RunningQuantile(geometric_shares(costs, budget)),
        "steered": lambda budget: Steered(costs, budget),
    }
    macs = np.asarray(costs.macs, np.float64)
    print(f"{len(stream)} queries; miss of the budget in percent, the largest from {SETTLED} queries on")
    for name, order in orders.items():
        worst = []
        for build in policies.values():
            misses = []
            for budget in np.linspace(macs[0], macs[-1], 12)[1:-1]:
                spent = np.cumsum(macs[replay(confidences[:, order], build(budget))])
                means = spent[SETTLED - 1 :] / np.arange(SETTLED, len(spent) + 1)
                misses.append(np.abs(means / budget - 1).max())
            worst.append(100 * max(misses))
        print(f"  {name:22}" + "  ".join(f"{p} {w:7.2f}" for p, w in zip(policies, worst, strict=True)))


if __name__ == "__main__":
    main()
