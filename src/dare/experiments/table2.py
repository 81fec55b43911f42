"""Table 2: the data sets, as the paper describes them and as they are counted here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dare.datasets.sample import DISTRACTOR, JUNK, Benchmark
from dare.experiments.plots import Section
from dare.experiments.published import COLUMNS, PublishedCount, published_table2
from dare.experiments.trainings import NotMeasuredError
from dare.experiments.workplace import Workplace

BESIDE = {
    "queries": ("images", ("query",)),
    "gallery": ("images", ("gallery",)),
    "query tracklets": ("tracklets", ("query",)),
    "gallery tracklets": ("tracklets", ("gallery",)),
}
"""What the paper's table lacks and the protocols need: what is counted, in which splits. Tracklets where there are
any."""


@dataclass(frozen=True, slots=True)
class Count:
    """A number about a data set.

    Attributes:
        column: of `COLUMNS`.
        published: as printed, without separators of thousands; "" for what the paper does not have.
        counted: in the pictures that were given; None where they were not, or where nothing is to be counted.
        comparable: whether the two should be equal: not where other pictures stand in.
        remarks: what is wrong or unclear in print, what stands in.
        missing: why nothing was counted; "" where it was, or where nothing is to be counted.
    """

    column: str
    quantity: str
    published: str
    counted: int | None
    comparable: bool
    remarks: tuple[str, ...]
    missing: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """All that is to be said of it."""
        return (*self.remarks, self.missing) if self.missing else self.remarks

    @property
    def agrees(self) -> bool | None:
        """None where there are not two numbers of one thing."""
        if self.counted is None or not self.published.isdigit() or not self.comparable:
            return None
        return int(self.published) == self.counted

    def line(self) -> dict[str, Any]:
        """A line of the CSV file."""
        return {
            "data_set": self.column,
            "quantity": self.quantity,
            "published": self.published,
            "counted": "" if self.counted is None else self.counted,
            "agrees": {None: "", True: "yes", False: "no"}[self.agrees],
            "notes": "; ".join(self.notes),
        }

    def shown(self) -> tuple[str, ...]:
        """The same for people."""
        line = self.line()
        published = f"{int(self.published):,}" if self.published.isdigit() else self.published or "–"
        counted = "" if self.counted is None else f"{self.counted:,}"
        return self.quantity, published, counted, line["agrees"], line["notes"]


HEADER = ("", "published", "counted", "agrees", "notes")
"""Of what `Count.shown` gives."""

MEANING = (
    "Counted: in the pictures that were read here, people without junk and distractors. An empty place was not counted."
)


def table2(workplace: Workplace) -> tuple[Count, ...]:
    """All cells by data set, in the paper's order; with those that the protocols need and the paper lacks."""
    known = {data.column: data for data in workplace.recipe.data.values()}
    found: list[Count] = []
    for column in COLUMNS:
        printed = [one for one in published_table2() if one.column == column]
        data = known.get(column)
        if data is None:
            found += [_missing(one, "the recipe has no such data set") for one in printed]
            continue
        try:
            benchmark = workplace.benchmark(data.name)
        except NotMeasuredError as reason:
            found += [_missing(one, str(reason)) for one in printed]
            continue
        told = data.stands_in or workplace.recipe.stands_in
        stands_in = (f"stands in: {told}",) if told else ()
        for one in printed:
            remark = (one.remark,) if one.remark else ()
            counted = _count(benchmark, one.unit, one.splits) if one.unit else None
            found.append(
                Count(column, one.quantity, one.value, counted, not stands_in, (*remark, *stands_in * bool(one.unit)))
            )
        has_tracklets = any(len(sample.images) > 1 for sample in benchmark.gallery)
        for quantity, (unit, splits) in BESIDE.items():
            if (unit == "tracklets") == has_tracklets:
                found.append(Count(column, quantity, "", _count(benchmark, unit, splits), not stands_in, stands_in))
    return tuple(found)


def sections(counts: Sequence[Count]) -> tuple[Section, ...]:
    """The table for people, by data set."""
    return tuple(
        Section(column, HEADER, tuple(count.shown() for count in counts if count.column == column))
        for column in dict.fromkeys(count.column for count in counts)
    )


def _missing(one: PublishedCount, reason: str) -> Count:
    why = f"not counted: {reason}" if one.unit else ""
    return Count(one.column, one.quantity, one.value, None, True, (one.remark,) if one.remark else (), why)


def _count(benchmark: Benchmark, unit: str, splits: tuple[str, ...]) -> int:
    samples = [sample for split in splits for sample in getattr(benchmark, split)]
    if unit == "images":
        return sum(len(sample.images) for sample in samples)
    if unit == "tracklets":
        return len(samples)
    if unit == "cameras":
        return len({sample.camera for sample in samples})
    return len({sample.person for sample in samples} - {JUNK, DISTRACTOR})
