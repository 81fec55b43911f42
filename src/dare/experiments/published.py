"""What the paper and its authors' logs print: figure 6, and tables 1 and 2."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from dare.anytime.costs import NETSCOPE_2018
from dare.experiments.accuracy import Measure

SOURCE = "DaRe(R)+RE on Market-1501, ten crops, 2018; simulation logs released with the code (mileyan/DARENet, ce037bc)"

SINGLE = "single networks with figure 6's own costs, from its script (budgeted_stream_plot.py)"
"""Whose points `FIGURE6_NETWORKS` are."""

COLUMNS = {
    "Market": "market",
    "MARS": "mars",
    "CUHK03(L)": "cuhk03_labeled",
    "CUHK03(D)": "cuhk03_detected",
    "Duke": "duke",
}
"""What table 1 calls its test sets -> what the data files call them."""


@dataclass(frozen=True, slots=True)
class PublishedPoint:
    """One replay of figure 6.

    Attributes:
        policy: "chance", "nearness" or "margin"; the paper calls the first two random and distance.
        spent_macs: mean multiply-adds per query by `NETSCOPE_2018`.
        taken: the share of the queries that left at each exit.
        rank1, mean_average_precision: from 0 to 1.
    """

    policy: str
    spent_macs: float
    taken: tuple[float, ...]
    rank1: float
    mean_average_precision: float

    def __getitem__(self, measure: Measure) -> float:
        return self.rank1 if measure == "rank-1" else self.mean_average_precision


@dataclass(frozen=True, slots=True)
class PublishedNetwork:
    """A network without exits in figure 6.

    Attributes:
        macs: by netscope, those of all but TriNet at inputs of about 224x224.
        rank1: from 0 to 1; the figure has no mAP.
    """

    name: str
    macs: int
    rank1: float


FIGURE6_NETWORKS = (
    PublishedNetwork("TriNet(R)", 2_528_948_224, 0.8492),
    PublishedNetwork("SVDNet(C)", 709_398_816, 0.805),
    PublishedNetwork("SVDNet(R)+RE", 3_888_220_399, 0.871),
    PublishedNetwork("IDE(R)+KISSME", 3_886_925_312, 0.7360),
    PublishedNetwork("IDE(C)+KISSME", 674_923_280, 0.5861),
)
"""In the order of its legend."""


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """A row of table 1.

    Attributes:
        name: as printed, without the star of TriNet(R)+RE*.
        figures: column -> rank-1 and mAP in percent; only those that are printed.
        source: whose numbers they are.
        remarks: column -> what is wrong or particular in print.
    """

    name: str
    figures: Mapping[str, dict[Measure, float]]
    source: str
    remarks: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PublishedCount:
    """A cell of table 2.

    Attributes:
        column: of `COLUMNS`; the paper has one column for both kinds of boxes of CUHK03.
        value: as printed, without separators of thousands.
        unit: what is counted in the pictures to compare, "people", "images" or "cameras"; "" for nothing.
        splits: in which of "train", "query" and "gallery".
        remark: what is wrong or unclear in print; "" for nothing.
    """

    column: str
    quantity: str
    value: str
    unit: str
    splits: tuple[str, ...]
    remark: str


def published_figure6() -> list[PublishedPoint]:
    """50 budgets for each of the three policies, in the order of the budgets."""
    exits = range(1, len(NETSCOPE_2018.macs) + 1)
    return [
        PublishedPoint(
            row["policy"],
            float(row["spent_macs"]),
            tuple(float(row[f"spent_share_{exit}"]) for exit in exits),
            float(row["rank1"]) / 100,
            float(row["map"]) / 100,
        )
        for row in _read("figure6")
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


@cache
def published_table1() -> tuple[PublishedRow, ...]:
    """The 21 rows, in the paper's order, and one that section 5 has in words alone, without figures."""
    rows = []
    for row in _read("table1"):
        printed = {column: key for column, key in COLUMNS.items() if row[f"{key}_rank1"]}
        figures: dict[str, dict[Measure, float]] = {
            column: {"rank-1": float(row[f"{key}_rank1"]), "mAP": float(row[f"{key}_map"])}
            for column, key in printed.items()
        }
        remarks = {column: row["remark"] for column, key in printed.items() if row["remark_on"] in ("", key)}
        rows.append(PublishedRow(row["row"], figures, row["source"], remarks if row["remark"] else {}))
    return tuple(rows)


@cache
def published_table2() -> tuple[PublishedCount, ...]:
    """All cells, by column."""
    names = {key: column for column, key in COLUMNS.items()}
    return tuple(
        PublishedCount(
            names[row["data_set"]],
            row["quantity"],
            row["published"],
            row["unit"],
            tuple(row["splits"].split("+")) if row["splits"] else (),
            row["remark"],
        )
        for row in _read("table2")
    )


def _read(name: str) -> list[dict[str, str]]:
    with Path(__file__).with_name(f"{name}_published.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
