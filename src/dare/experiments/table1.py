"""Table 1: rank-1 and mAP of every system on every test set, as published and as measured here."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dare.experiments.accuracy import MEASURES, Measure
from dare.experiments.plots import Section
from dare.experiments.published import COLUMNS, PublishedRow, published_table1
from dare.experiments.recipe import Recipe
from dare.experiments.sections import DataSet, Metric, Row, Training
from dare.experiments.trainings import NotMeasuredError
from dare.experiments.workplace import Workplace, last_exit, said_once

Figures = dict[Measure, float]
"""Rank-1 and mAP in percent."""
Missing = list[tuple[str, str]]
"""Runs and why they are missing."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A system on a test set.

    Attributes:
        row: its name in the table.
        column: a name in `COLUMNS`.
        published: None where the paper prints none.
        runs: what was measured, one for each run that could be; none of them where nothing could.
        training, data: what was measured; "" where the recipe has nothing for this place.
        comparable: whether a difference between the two says anything: not where other pictures stand in.
        remarks: what is particular in print, what stands in, how it was scored.
        missing: why some or all runs are; "" where none is.
        source: whose published numbers they are.
    """

    row: str
    column: str
    published: Figures | None
    runs: tuple[Figures, ...]
    training: str
    data: str
    comparable: bool
    remarks: tuple[str, ...]
    missing: str
    source: str

    @property
    def notes(self) -> tuple[str, ...]:
        """All that is to be said of it."""
        return (*self.remarks, self.missing) if self.missing else self.remarks

    def mean(self, measure: Measure) -> float:
        """Over the runs; NaN of none."""
        return float(np.mean([run[measure] for run in self.runs])) if self.runs else math.nan

    def deviation(self, measure: Measure) -> float:
        """The sample standard deviation of the runs, with one run less in the denominator; NaN of fewer than two."""
        return float(np.std([run[measure] for run in self.runs], ddof=1)) if len(self.runs) > 1 else math.nan

    def difference(self, measure: Measure) -> float:
        """Measured less published, in percentage points; NaN where one of them is missing or they are of two things."""
        return self.mean(measure) - self.published[measure] if self.published and self.comparable else math.nan

    def line(self) -> dict[str, Any]:
        """A line of the CSV file."""
        found: dict[str, Any] = {"row": self.row, "data_set": self.column}
        names = {"rank-1": "rank1", "mAP": "mAP"}
        for measure in MEASURES:
            found[f"published_{names[measure]}"] = _printed(self.published[measure]) if self.published else ""
        for measure in MEASURES:
            found[f"measured_{names[measure]}"] = _number(self.mean(measure), ".3f")
            found[f"measured_{names[measure]}_sd"] = _number(self.deviation(measure), ".3f")
        for measure in MEASURES:
            found[f"difference_{names[measure]}"] = _number(self.difference(measure), "+.3f")
        ends = {"runs": len(self.runs), "training": self.training, "measured_on": self.data}
        return found | ends | {"notes": "; ".join(self.notes), "source": self.source}

    def shown(self) -> tuple[str, ...]:
        """The same for people: published, measured and difference, each as rank-1 / mAP, runs, and notes."""
        published = " / ".join(_printed(self.published[measure]) for measure in MEASURES) if self.published else "–"
        measured, difference = "", ""
        if self.runs:
            measured = " / ".join(_with_deviation(self.mean(one), self.deviation(one)) for one in MEASURES)
            difference = " / ".join(_number(self.difference(one), "+.1f") for one in MEASURES).strip(" /")
        return published, measured, difference, str(len(self.runs) or ""), "; ".join(self.notes)


HEADER = ("published", "measured", "difference", "runs", "notes")
"""Of what `Cell.shown` gives."""

MEANING = (
    "In percent, rank-1 / mAP. Measured: the mean of the runs ± their sample standard deviation (one run less in the "
    "denominator); of a single run its value. Difference: measured less published. An empty place was not measured, "
    "and its notes say why."
)


def table1(recipe: Recipe, workplace: Workplace) -> tuple[Cell, ...]:
    """All places of the table, in the paper's order, those that neither the paper nor the recipe has left out.

    Trains, embeds and scores what the recipe's rows need.
    """
    found: dict[tuple[str, str], tuple[list[Figures], Missing]] = {}
    rows = recipe.table1
    for training in recipe.trainings.values():
        own = [row for row in recipe.table1.values() if row.training == training.name]
        for name in training.data:
            if own and recipe.data[name].column:
                _measure(workplace, training, recipe.data[name], own, found)
    columns = {data.column: data for data in recipe.data.values()}
    return tuple(
        _cell(row, column, rows.get(row.name), columns.get(column), recipe, found.get((row.name, column)))
        for column in COLUMNS
        for row in published_table1()
        if column in row.figures or (row.name, column) in found
    )


def sections(cells: Sequence[Cell]) -> tuple[Section, ...]:
    """The table for people, by data set."""
    header = ("system", *HEADER)
    return tuple(
        Section(column, header, tuple((cell.row, *cell.shown()) for cell in cells if cell.column == column))
        for column in dict.fromkeys(cell.column for cell in cells)
    )


def missing(cells: Sequence[Cell]) -> tuple[str, ...]:
    """Why cells are not measured, or not all of their runs, each reason once for each data set."""
    rows: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        if cell.missing:
            rows.setdefault((cell.column, cell.missing), []).append(cell.row)
    everyone = Counter(cell.column for cell in cells)
    return tuple(
        f"{column}: {reason} ({'all rows' if len(own) == everyone[column] else ', '.join(own)})"
        for (column, reason), own in rows.items()
    )


def _measure(
    workplace: Workplace,
    training: Training,
    data: DataSet,
    rows: Sequence[Row],
    found: dict[tuple[str, str], tuple[list[Figures], Missing]],
) -> None:
    """Score one training on one data set for all rows that are made of it: figures, and why some are missing."""
    assert data.column is not None
    places = {row.name: found.setdefault((row.name, data.column), ([], [])) for row in rows}
    for run in workplace.runs(training.name, data.name):
        try:
            vectors = workplace.embeddings(run, with_training=any(row.metric for row in rows))
            benchmark = workplace.benchmark(data.name)
        except NotMeasuredError as reason:
            for _, missing in places.values():
                missing.append((f"run {run.number + 1}", str(reason)))
            continue
        for row in rows:
            figures, missing = places[row.name]
            try:
                metric: Metric | None = row.metric_on(data.name)
                scores = last_exit(vectors, benchmark, training, metric, row.reranked).exits[-1].scores
            except NotMeasuredError as reason:
                missing.append((f"run {run.number + 1}", str(reason)))
                continue
            figures.append({"rank-1": 100 * scores.cmc(1), "mAP": 100 * scores.mean_average_precision})


def _cell(
    published: PublishedRow,
    column: str,
    row: Row | None,
    data: DataSet | None,
    recipe: Recipe,
    found: tuple[list[Figures], Missing] | None,
) -> Cell:
    remarks = [published.remarks[column]] if column in published.remarks else []
    training = recipe.trainings[row.training] if row else None
    figures, lost = found or ([], [])
    missing = ""
    if data is None:
        missing = "not measured: the recipe has no data set for this column"
    elif training is None:
        missing = "not measured: the recipe has no training for this row"
    elif found is None:
        missing = f"not measured: training {training.name} is not for {data.name}"
    elif not figures:
        missing = f"not measured: {said_once(lost)}"
    else:
        stands_in = filter(None, (training.stands_in, row.stands_in if row else "", data.stands_in))
        if text := ", ".join(stands_in) or recipe.stands_in:
            remarks.append(f"stands in: {text}")
        remarks += _how_scored(training, row, data)
        if lost:
            missing = f"{len(figures)} of {len(figures) + len(lost)} runs; {said_once(lost)}"
    return Cell(
        published.name,
        column,
        published.figures.get(column),
        tuple(figures),
        training.name if training and found else "",
        data.name if data and found else "",
        not (recipe.stands_in or (data and data.stands_in)),
        tuple(remarks),
        missing,
        published.source if column in published.figures else "",
    )


def _how_scored(training: Training, row: Row | None, data: DataSet) -> Iterator[str]:
    if training.crops == 10:
        yield "ten crops"
    if training.distance != "euclidean":
        yield f"{training.distance} distance"
    if row and (metric := row.metric_on(data.name)):
        yield f"distance learnt by {metric}, all directions kept"


def _printed(value: float) -> str:
    """One decimal, as the paper prints all but one."""
    return f"{value:.1f}" if round(value, 1) == value else f"{value:g}"


def _with_deviation(mean: float, deviation: float) -> str:
    return f"{mean:.1f}" if math.isnan(deviation) else f"{mean:.1f} ± {deviation:.1f}"


def _number(value: float, form: str) -> str:
    return "" if math.isnan(value) else format(value, form)
