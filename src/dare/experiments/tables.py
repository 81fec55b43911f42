"""Tables 1 and 2: every system on every test set, and the data sets, as published and as measured and counted here."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dare.datasets.sample import DISTRACTOR, JUNK, Benchmark
from dare.evaluation.evaluate import evaluate
from dare.experiments.accuracy import MEASURES, Measure
from dare.experiments.plots import Made, Summary
from dare.experiments.published import COLUMNS, PublishedCount, PublishedRow, published_table1, published_table2
from dare.experiments.recipe import Recipe
from dare.experiments.sections import DataSet, Row
from dare.experiments.trainings import NotMeasuredError, Run, said_once
from dare.experiments.workplace import Workplace, worth_something
from dare.retrieval.embeddings import Embeddings
from dare.retrieval.metrics import kissme, xqda
from dare.retrieval.reranking import ZHONG_2017

Values = dict[Measure, float]  # rank-1 and mAP in percent
Found = dict[tuple[str, str], tuple[list[Values], list[tuple[str, str]]]]
"""Row and column -> what was measured in each run, and runs that are missing with the reason."""

METRICS = {"kissme": kissme, "xqda": xqda}

MEANING1 = (
    "In percent, rank-1 / mAP. Measured: the mean of the runs ± their sample standard deviation (one run less in the "
    "denominator); of a single run its value. Difference: measured less published. An empty place was not measured, "
    "and its notes say why."
)
MEANING2 = "Counted in the pictures read here, people without junk and distractors. An empty place was not counted."


@dataclass(frozen=True, slots=True)
class Cell:
    """A system on a test set.

    Attributes:
        row, column: their names in the table.
        published: None where the paper prints none.
        runs: what was measured, one for each run that could be.
        training, data: what was measured; "" where the recipe has nothing for this place.
        comparable: whether a difference between the two says anything: not where other pictures stand in.
        notes: what is particular in print, what stands in, how it was scored; `missing` at the end.
        missing: why some or all runs are missing; "" where none is.
        source: whose published numbers they are.
        stands_in: what was measured in place of the row's network or pictures; "" where these were.
    """

    row: str
    column: str
    published: Values | None
    runs: tuple[Values, ...]
    training: str
    data: str
    comparable: bool
    notes: tuple[str, ...]
    missing: str
    source: str
    stands_in: str = ""

    def mean(self, measure: Measure) -> float:
        """NaN without runs."""
        return float(np.mean([run[measure] for run in self.runs])) if self.runs else math.nan

    def deviation(self, measure: Measure) -> float:
        """With one run less in the denominator; NaN of fewer than two."""
        return float(np.std([run[measure] for run in self.runs], ddof=1)) if len(self.runs) > 1 else math.nan

    def difference(self, measure: Measure) -> float:
        """Measured less published, in percentage points; NaN where they are not two numbers of one thing."""
        return self.mean(measure) - self.published[measure] if self.published and self.comparable else math.nan

    def line(self) -> dict[str, Any]:
        """A line of the CSV file."""
        found: dict[str, Any] = {"row": self.row, "data_set": self.column}
        names: dict[Measure, str] = {"rank-1": "rank1", "mAP": "mAP"}
        for measure, name in names.items():
            found[f"published_{name}"] = _printed(self.published[measure]) if self.published else ""
        for measure, name in names.items():
            found[f"measured_{name}"] = _number(self.mean(measure), ".3f")
            found[f"measured_{name}_sd"] = _number(self.deviation(measure), ".3f")
        for measure, name in names.items():
            found[f"difference_{name}"] = _number(self.difference(measure), "+.3f")
        found |= {"runs": len(self.runs), "training": self.training, "measured_on": self.data}
        return found | {"notes": "; ".join(self.notes), "source": self.source}

    def shown(self) -> tuple[str, ...]:
        """The same for people: row, published, measured and difference, each as rank-1 / mAP, runs, and notes."""
        published = " / ".join(_printed(self.published[measure]) for measure in MEASURES) if self.published else "–"
        parts = [f"{_number(self.mean(one), '.1f')} ± {_number(self.deviation(one), '.1f')}" for one in MEASURES]
        measured = " / ".join(part.removesuffix(" ± ") for part in parts)
        difference = " / ".join(_number(self.difference(one), "+.1f") for one in MEASURES)
        row, runs = self.row + " (stand-in)" * bool(self.stands_in), str(len(self.runs) or "")
        return row, published, measured.strip(" /"), difference.strip(" /"), runs, "; ".join(self.notes)


def _printed(value: float) -> str:
    return f"{value:.1f}" if round(value, 1) == value else f"{value:g}"  # one decimal, as the paper prints all but one


def _number(value: float, form: str) -> str:
    return "" if math.isnan(value) else format(value, form)


def table1(workplace: Workplace) -> tuple[Cell, ...]:
    """All places of the table, in the paper's order, those that neither the paper nor the recipe has left out."""
    recipe = workplace.recipe
    found: Found = {}
    for training in recipe.trainings.values():
        own = [row for row in recipe.table1.values() if row.training == training.name]
        for data in training.data if own else ():
            for run in workplace.runs(training.name, data) if recipe.data[data].column else ():
                _measure(workplace, run, own, found)
    columns = {data.column: data for data in recipe.data.values()}
    return tuple(
        _cell(row, column, recipe.table1.get(row.name), columns.get(column), recipe, found)
        for column in COLUMNS
        for row in published_table1()
        if column in row.figures or (row.name, column) in found
    )


def _measure(workplace: Workplace, run: Run, rows: Sequence[Row], found: Found) -> None:
    """Score a run for all rows that are made of it."""
    places = [found.setdefault((row.name, run.data.column or ""), ([], [])) for row in rows]
    number = f"run {run.number + 1}"
    try:
        vectors = workplace.embeddings(run, with_training=any(row.metric for row in rows))
    except NotMeasuredError as reason:
        for _, missing in places:
            missing.append((number, str(reason)))
        return
    for row, (values, missing) in zip(rows, places, strict=True):
        try:
            values.append(_last_exit(vectors, workplace.benchmark(run.data.name), run, row))
        except NotMeasuredError as reason:
            missing.append((number, str(reason)))


def _last_exit(vectors: Embeddings, benchmark: Benchmark, run: Run, row: Row) -> Values:
    only = replace(vectors, stages=(vectors.exits()[-1],), names=("last exit",), fused=None)
    metric, rerank = row.metric_on(run.data.name), ZHONG_2017 if "+RR" in row.name else None
    learner = METRICS[metric] if metric else None
    try:
        found = evaluate(only, benchmark, distance=run.training.distance, metric=learner, rerank=rerank)
    except ValueError as error:
        raise NotMeasuredError(str(error)) from error
    scores = worth_something(found).exits[-1].scores
    return {"rank-1": 100 * scores.cmc(1), "mAP": 100 * scores.mean_average_precision}


def _cell(
    published: PublishedRow, column: str, row: Row | None, data: DataSet | None, recipe: Recipe, found: Found
) -> Cell:
    notes = [published.remarks[column]] if column in published.remarks else []
    training = recipe.trainings[row.training] if row else None
    measured = (published.name, column) in found
    values, lost = found.get((published.name, column), ([], []))
    missing = stands_in = ""
    if data is None:
        missing = "not measured: the recipe has no data set for this column"
    elif training is None or row is None:
        missing = "not measured: the recipe has no training for this row"
    elif not measured:
        missing = f"not measured: training {training.name} is not for {data.name}"
    elif not values:
        missing = f"not measured: {said_once(lost)}"
    else:
        stands_in = ", ".join(filter(None, (training.stands_in, row.stands_in, data.stands_in))) or recipe.stands_in
        notes += [f"stands in: {stands_in}"] * bool(stands_in)
        notes += ["ten crops"] * (training.crops == 10)
        notes += [f"{training.distance} distance"] * (training.distance != "euclidean")
        if metric := row.metric_on(data.name):
            notes.append(f"distance learnt by {metric}, all directions kept")
        if lost:
            missing = f"{len(values)} of {len(values) + len(lost)} runs; {said_once(lost)}"
    return Cell(
        published.name,
        column,
        published.figures.get(column),
        tuple(values),
        training.name if training and measured else "",
        data.name if data and measured else "",
        not (recipe.stands_in or (data and data.stands_in)),
        (*notes, missing) if missing else tuple(notes),
        missing,
        published.source if column in published.figures else "",
        stands_in,
    )


def reproduce_table1(workplace: Workplace) -> Made:
    """Table 1 of a recipe."""
    cells = table1(workplace)
    made_of = dict.fromkeys((cell.training, cell.data) for cell in cells if cell.runs)
    runs = tuple(run for training, data in made_of for run in workplace.runs(training, data))
    reasons: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        if cell.missing:
            reasons.setdefault((cell.column, cell.missing), []).append(cell.row)
    everyone = Counter(cell.column for cell in cells)
    missing = (
        f"{column}: {reason} ({'all rows' if len(own) == everyone[column] else ', '.join(own)})"
        for (column, reason), own in reasons.items()
    )
    header = ("system", "published", "measured", "difference", "runs", "notes")
    return Made(
        {"table1": [cell.line() for cell in cells]},
        _by_column(header, [(cell.column, cell.shown()) for cell in cells]),
        meaning=MEANING1,
        runs=runs,
        missing=tuple(missing),
        stands_in=tuple(dict.fromkeys(run.stands_in for run in runs if run.stands_in)),
    )


def _by_column(header: tuple[str, ...], rows: Sequence[tuple[str, tuple[str, ...]]]) -> tuple[Summary, ...]:
    """The table for people, by data set."""
    columns = dict.fromkeys(column for column, _ in rows)
    return tuple(Summary(one, header, tuple(row for column, row in rows if column == one)) for one in columns)


BESIDE = {
    "images": {"queries": "query", "gallery": "gallery"},
    "tracklets": {"query tracklets": "query", "gallery tracklets": "gallery"},
}
"""What the paper's table 2 lacks and the protocols need: what is counted, and in which splits."""


def table2(workplace: Workplace) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Lines of the CSV file by data set, in the paper's order, with those that the protocols need and the paper lacks;
    and data sets that were not counted, with the reason."""
    known = {data.column: data for data in workplace.recipe.data.values()}
    lines, missing = [], {}
    for column in COLUMNS:
        wanted = [one for one in published_table2() if one.column == column]
        benchmark, stands_in, note = None, "", "not counted: the recipe has no such data set"
        if data := known.get(column):
            stands_in = data.stands_in or workplace.recipe.stands_in
            try:
                benchmark = workplace.benchmark(data.name)
            except NotMeasuredError as reason:
                note = f"not counted: {reason}"
        if not benchmark:
            missing[column] = note
        else:
            note = f"stands in: {stands_in}" if stands_in else ""
            unit = "tracklets" if any(len(sample.images) > 1 for sample in benchmark.gallery) else "images"
            wanted += [PublishedCount(column, name, "", unit, (split,), "") for name, split in BESIDE[unit].items()]
        for one in wanted:
            counted = _count(benchmark, one) if benchmark and one.unit else None
            lines.append(
                {
                    "data_set": column,
                    "quantity": one.quantity,
                    "published": one.value,
                    "counted": "" if counted is None else counted,
                    "agrees": "" if stands_in or counted is None else agrees(one.value, counted),
                    "notes": "; ".join(filter(None, (one.remark, note if one.unit else ""))),
                }
            )
    return lines, missing


def agrees(published: str, counted: int) -> str:
    """Whether a count is what is printed; "" where no number is."""
    return ("yes" if published == str(counted) else "no") if published.isdigit() else ""


def _count(benchmark: Benchmark, wanted: PublishedCount) -> int:
    samples = [sample for split in wanted.splits for sample in getattr(benchmark, split)]
    return {
        "images": sum(len(sample.images) for sample in samples),
        "tracklets": len(samples),
        "cameras": len({sample.camera for sample in samples}),
        "people": len({sample.person for sample in samples} - {JUNK, DISTRACTOR}),
    }[wanted.unit]


def reproduce_table2(workplace: Workplace) -> Made:
    """Table 2 of a recipe."""
    lines, missing = table2(workplace)
    shown = []
    for line in lines:
        published = f"{int(line['published']):,}" if line["published"].isdigit() else line["published"] or "–"
        counted = "" if line["counted"] == "" else f"{line['counted']:,}"
        shown.append((line["data_set"], (line["quantity"], published, counted, line["agrees"], line["notes"])))
    told = (data.stands_in or workplace.recipe.stands_in for data in workplace.recipe.data.values())
    return Made(
        {"table2": lines},
        _by_column(("", "published", "counted", "agrees", "notes"), shown),
        meaning=MEANING2,
        missing=tuple(f"{column}: {note}" for column, note in missing.items()),
        stands_in=tuple(dict.fromkeys(filter(None, told))),
    )
