"""The paper's figure 6 as numbers: what the authors' released simulation logs say."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dare.anytime.costs import NETSCOPE_2018
from dare.experiments.accuracy import Measure

SOURCE = "DaRe(R)+RE on Market-1501, ten crops, 2018; simulation logs released with the code (mileyan/DARENet, ce037bc)"

TABLE = Path(__file__).with_name("figure6_published.csv")


@dataclass(frozen=True, slots=True)
class PublishedPoint:
    """One replay of figure 6.

    Attributes:
        policy: "chance", "nearness" or "margin"; the paper calls the first two random and distance.
        budget_macs, spent_macs: mean multiply-adds per query by `NETSCOPE_2018`.
        taken: the share of the queries that left at each exit.
        rank1, mean_average_precision: from 0 to 1.
    """

    policy: str
    budget_macs: float
    spent_macs: float
    taken: tuple[float, ...]
    rank1: float
    mean_average_precision: float

    def __getitem__(self, measure: Measure) -> float:
        return self.rank1 if measure == "rank-1" else self.mean_average_precision


def published_figure6() -> list[PublishedPoint]:
    """50 budgets for each of the three policies, in the order of the budgets."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        return [
            PublishedPoint(
                row["policy"],
                float(row["expected_macs"]),
                float(row["spent_macs"]),
                tuple(float(row[f"spent_share_{exit}"]) for exit in range(1, len(NETSCOPE_2018.macs) + 1)),
                float(row["rank1"]) / 100,
                float(row["map"]) / 100,
            )
            for row in csv.DictReader(file)
        ]


def published_exits(measure: Measure) -> tuple[float, ...]:
    """What DaRe reaches where all queries leave at one exit, from 0 to 1.

    The logs hold this for the first exit and the last; for the others it is what explains best the mixes that leave by
    chance (least squares over their 50 points, standard error 0.1 percentage points).
    """
    points = [point for point in published_figure6() if point.policy == "chance"]
    taken, values = np.array([point.taken for point in points]), np.array([point[measure] for point in points])
    fitted, *_ = np.linalg.lstsq(taken, values, rcond=None)
    return (points[0][measure], *map(float, fitted[1:-1]), points[-1][measure])
