"""The paper's tables 1 and 2 as numbers."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dare.experiments.accuracy import Measure

COLUMNS = {
    "Market": "market",
    "MARS": "mars",
    "CUHK03(L)": "cuhk03_labeled",
    "CUHK03(D)": "cuhk03_detected",
    "Duke": "duke",
}
"""What table 1 calls its test sets -> what the data files call them."""

TABLE1 = Path(__file__).with_name("table1_published.csv")
TABLE2 = Path(__file__).with_name("table2_published.csv")


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


@cache
def published_table1() -> tuple[PublishedRow, ...]:
    """The 21 rows, in the paper's order."""
    with TABLE1.open(newline="", encoding="utf-8") as file:
        return tuple(
            PublishedRow(
                row["row"],
                {
                    column: {"rank-1": float(row[f"{key}_rank1"]), "mAP": float(row[f"{key}_map"])}
                    for column, key in COLUMNS.items()
                    if row[f"{key}_rank1"]
                },
                row["source"],
                {
                    column: row["remark"]
                    for column, key in COLUMNS.items()
                    if row["remark"] and row[f"{key}_rank1"] and row["remark_on"] in ("", key)
                },
            )
            for row in csv.DictReader(file)
        )


@cache
def published_table2() -> tuple[PublishedCount, ...]:
    """All cells, by column."""
    names = {key: column for column, key in COLUMNS.items()}
    with TABLE2.open(newline="", encoding="utf-8") as file:
        return tuple(
            PublishedCount(
                names[row["data_set"]],
                row["quantity"],
                row["published"],
                row["unit"],
                tuple(row["splits"].split("+")) if row["splits"] else (),
                row["remark"],
            )
            for row in csv.DictReader(file)
        )
