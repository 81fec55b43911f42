"""The data files of tables 1 and 2 hold what is printed; the numbers here were typed from the paper's text."""

import math

import pytest

from dare.experiments.published import COLUMNS, published_table1, published_table2

PRINTED = {
    "CNN+DCGAN(R)": {"Duke": (67.7, 47.1)},
    "ST-RNN(C)": {"MARS": (70.6, 50.7)},
    "MSCAN(C)": {"Market": (80.3, 57.5), "MARS": (71.8, 56.1)},
    "PAN(R)": {"Market": (82.2, 63.3), "CUHK03(L)": (36.9, 35.0), "CUHK03(D)": (36.3, 34.0), "Duke": (71.6, 51.5)},
    "SVDNet(R)": {"CUHK03(D)": (41.5, 37.2), "Duke": (76.7, 56.8)},
    "TriNet(R)": {"Market": (84.9, 69.1), "MARS": (79.8, 67.7)},
    "TriNet(R)+RE": {"CUHK03(L)": (64.3, 59.8), "CUHK03(D)": (61.8, 57.6)},
    "DaRe(R)+RE": {"Market": (88.5, 74.2), "MARS": (82.6, 71.7), "CUHK03(L)": (64.5, 60.2)},
    "DaRe(De)": {"Market": (86.0, 69.9), "MARS": (84.2, 72.1), "Duke": (74.5, 56.3)},
    "IDE(R)+ML+RR": {"Market": (77.1, 63.6), "CUHK03(D)": (34.7, 37.4)},
    "TriNet(R)+RE+RR": {"CUHK03(L)": (70.9, 71.7), "CUHK03(D)": (68.9, 69.36)},
    "SVDNet(R)+RE+RR": {"Market": (89.1, 83.9), "Duke": (84.0, 78.3)},
    "DaRe(De)+RE+RR": {"Market": (90.9, 86.7), "MARS": (85.1, 81.9), "CUHK03(D)": (70.6, 71.6), "Duke": (84.4, 80.0)},
}


@pytest.mark.parametrize("name", PRINTED)
def test_a_row_of_table_1_is_what_is_printed(name: str) -> None:
    (row,) = [row for row in published_table1() if row.name == name]
    assert row.source
    for column, (rank1, precision) in PRINTED[name].items():
        assert row.figures[column] == {"rank-1": rank1, "mAP": precision}


def test_table_1_is_whole() -> None:
    """21 rows; the numbers of cells per column were counted in print."""
    rows = [row for row in published_table1() if row.figures]
    assert len(rows) == len({row.name for row in rows}) == 21
    assert [row.name for row in published_table1() if not row.figures] == ["TriNet(R) at 60,000 iterations"]
    counts = {column: sum(column in row.figures for row in rows) for column in COLUMNS}
    assert counts == {"Market": 18, "MARS": 14, "CUHK03(L)": 14, "CUHK03(D)": 14, "Duke": 13}
    for row in rows:
        for figures in row.figures.values():
            assert all(0 < value < 100 and math.isfinite(value) for value in figures.values())
            assert row.name.endswith("RR") or figures["rank-1"] > figures["mAP"], row.name


def test_the_swapped_cell_is_the_right_way_round_and_says_so() -> None:
    row = published_table1()[0]
    assert row.name == "CNN+DCGAN(R)"
    assert row.figures["Market"] == {"rank-1": 78.1, "mAP": 56.2}
    assert row.remarks == {"Market": "printed swapped: rank-1 56.2, mAP 78.1"}


@pytest.mark.parametrize(
    ("column", "quantity", "value"),
    [
        ("Market", "identities", "1501"),
        ("Market", "boxes", "32668"),
        ("Market", "test images", "19732"),
        ("MARS", "boxes", "1191003"),
        ("MARS", "train images", "509914"),
        ("MARS", "test people", "635"),
        ("CUHK03(L)", "train images", "7368"),
        ("CUHK03(D)", "train images", "7365"),
        ("CUHK03(D)", "identities", "1360"),
        ("Duke", "boxes", "36411"),
        ("Duke", "cameras", "8"),
        ("Duke", "test images", "2228"),
    ],
)
def test_a_cell_of_table_2_is_what_is_printed(column: str, quantity: str, value: str) -> None:
    (found,) = [one for one in published_table2() if (one.column, one.quantity) == (column, quantity)]
    assert found.value == value


def test_table_2_has_the_same_quantities_of_every_data_set() -> None:
    quantities = {column: [one.quantity for one in published_table2() if one.column == column] for column in COLUMNS}
    assert len({tuple(names) for names in quantities.values()}) == 1
    assert len(quantities["Market"]) == 9


@pytest.mark.parametrize(
    ("column", "quantity", "parts"),
    [
        ("Market", "boxes", (12_936, 19_732)),
        ("MARS", "boxes", (509_914, 681_089)),
        ("Duke", "boxes", (16_522, 2_228, 17_661)),
    ],
)
def test_boxes_are_the_sum_of_the_splits_that_are_named(column: str, quantity: str, parts: tuple[int, ...]) -> None:
    (found,) = [one for one in published_table2() if (one.column, one.quantity) == (column, quantity)]
    assert int(found.value) == sum(parts)
    assert len(found.splits) == len(parts)
