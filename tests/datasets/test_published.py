"""Counts as they were published."""

from pathlib import Path

import pytest

from dare.datasets import Sample
from dare.datasets.cuhk03 import PUBLISHED as CUHK03
from dare.datasets.market import DUKEMTMC, MARKET1501
from dare.datasets.mars import PUBLISHED as MARS
from dare.datasets.msmt17 import PUBLISHED as MSMT17
from dare.datasets.published import Published

DATA_SETS = Path(__file__).parents[2] / "docs" / "data-sets.md"


def samples(*people: int) -> tuple[Sample, ...]:
    return tuple(Sample((Path(f"{place}.jpg"),), person, 1) for place, person in enumerate(people))


def test_people_are_compared_where_there_are_as_many_samples() -> None:
    published = Published("Shops", (3, 2, 3), (2, 2))
    assert published.differences({"a": samples(1, 1, 2), "b": samples(3, 4), "c": samples(3, -1, 0)}) == []
    assert published.differences({"a": samples(1, 1, -1), "b": samples(3, 3), "c": samples(3)}) == [
        "a has 1 people, Shops as published 2",
        "b has 1 people, Shops as published 2",
        "c has 1 images, Shops as published 3",
    ]


@pytest.mark.parametrize(
    ("title", "published"),
    [
        ("Market-1501", MARKET1501),
        ("CUHK03, detected", CUHK03["detected"]),
        ("CUHK03, labeled", CUHK03["labeled"]),
        ("MSMT17", MSMT17),
        ("MARS, tracklets", MARS),
        ("DukeMTMC-reID", DUKEMTMC),
    ],
)
def test_the_documentation_has_the_same_counts(title: str, published: Published) -> None:
    line = next(line for line in DATA_SETS.read_text().splitlines() if line.startswith(f"| {title} |"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert [int(cell.replace(",", "")) for cell in cells[3:]] == list(published.samples)
    assert cells[2] == ", ".join(f"{people:,}" for people in published.people)
