"""Charts are plain SVG that says its numbers in words too, and shows them where they belong."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from dare.pages.charts import Axes, accuracy_over_cost, match_curves, pair_histogram, ticks
from dare.pages.embedding_map import embedding_map, names, sample

EDGES = np.linspace(0, 4, 5)


def parsed(drawing: str) -> ET.Element:
    root = ET.fromstring(drawing)
    assert root.tag == "svg"
    assert "script" not in drawing
    assert "http" not in drawing
    assert "style" not in drawing
    return root


def points(element: ET.Element) -> list[tuple[float, float]]:
    return [tuple(map(float, pair.split(","))) for pair in element.attrib["points"].split()]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("low", "high", "count", "expected"),
    [
        (0, 100, 4, [0, 25, 50, 75, 100]),
        (60, 100, 5, [60, 70, 80, 90, 100]),
        (0.13, 0.91, 4, [0.2, 0.4, 0.6, 0.8]),
        (1.2, 1.3, 2, [1.2, 1.25, 1.3]),
    ],
)
def test_ticks_are_round_numbers_within_the_range(low: float, high: float, count: int, expected: list[float]) -> None:
    assert ticks(low, high, count) == pytest.approx(expected)


def test_corners_of_the_axes_are_corners_of_the_frame() -> None:
    axes = Axes((2, 4), (0, 10), 100, 60, left=10, right=20, top=5, bottom=15)
    assert (axes.across(2), axes.across(4)) == (10, 80)
    assert (axes.down(0), axes.down(10)) == (45, 5)


def test_match_curves_rise_from_rank_1_and_are_told_in_words() -> None:
    curves = {"stage 1": np.linspace(0.4, 0.9, 50), "<fusion>": np.linspace(0.6, 1, 50)}
    drawing = match_curves(curves)
    root = parsed(drawing)
    lines = root.findall("polyline")
    assert len(lines) == 2
    for line in lines:
        heights = [y for _, y in points(line)]
        assert len(heights) == 50
        assert heights == sorted(heights, reverse=True)
    assert "stage 1: 40.0 at rank 1" in root.attrib["aria-label"]
    assert "<fusion>: 60.0 at rank 1" in root.attrib["aria-label"]
    assert "<fusion>" not in drawing
    parsed(match_curves({"one entry": np.array([1.0])}))
    parsed(match_curves({"no query is right": np.zeros(50)}))


def test_accuracy_over_cost_has_a_dot_per_exit_and_measure() -> None:
    measures = {"rank-1": [50.0, 60.0], "mAP": [30.0, 40.0]}
    root = parsed(accuracy_over_cost(["stage 1", "fusion"], [20.0, 100.0], measures))
    assert [title.text for title in root.iter("title")] == [
        "rank-1, stage 1: 50.0",
        "rank-1, fusion: 60.0",
        "mAP, stage 1: 30.0",
        "mAP, fusion: 40.0",
    ]
    assert "stage 1 at 20 % of the cost: rank-1 50.0, mAP 30.0" in root.attrib["aria-label"]


def area(outline: list[tuple[float, float]]) -> float:
    """By the shoelace formula."""
    x, y = np.array(outline).T
    return abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2


def test_both_areas_of_a_histogram_are_of_one_size_however_many_pairs_they_stand_for() -> None:
    drawing = pair_histogram("stage 1", EDGES, np.array([6, 3, 1, 0]), np.array([0, 10, 300, 190]), threshold=1.5)
    root = parsed(drawing)
    other, same = root.findall("polygon")
    assert (other.attrib["class"], same.attrib["class"]) == ("area other", "area same")
    assert area(points(other)) == pytest.approx(area(points(same)), rel=0.01)
    heights = [y for _, y in points(same)[1:-1]]
    assert heights[::2] == heights[1::2]
    assert heights[::2] == sorted(heights[::2])
    (mark,) = (line for line in root.findall("line") if line.attrib["class"] == "mark")
    lefts = [x for x, _ in points(same)]
    assert float(mark.attrib["x1"]) == pytest.approx(lefts[0] + 1.5 / 4 * (lefts[-1] - lefts[0]), abs=0.2)
    assert "10 pairs of one person, median 0.5; 500 pairs of two, median 2.5; mark at 1.5" in root.attrib["aria-label"]


def test_a_histogram_without_a_threshold_or_with_one_far_away_has_no_mark() -> None:
    for threshold in (None, 9.0):
        assert "mark" not in pair_histogram("x", EDGES, np.ones(4, int), np.ones(4, int), threshold=threshold)


def test_people_have_colours_and_cameras_shapes() -> None:
    places = np.array([[0.0, 0], [1, 0], [0, 2], [3, 1]])
    people, cameras = ["ada", "ada", "<bob>", "<bob>"], ["camera 2", "camera 1", "camera 1", "camera 2"]
    drawing = embedding_map("stage 1", places, people, cameras, ["camera 1", "camera 2"], "as drawn")
    root = parsed(drawing)
    found = {path.findtext("title"): (path.attrib["class"], path.attrib["d"]) for path in root.findall("path")}
    assert {title: kind for title, (kind, _) in found.items()} == {
        "ada, camera 2": "p1",
        "ada, camera 1": "p1",
        "<bob>, camera 1": "p2",
        "<bob>, camera 2": "p2",
    }
    shape = {title: re.sub(r"^M[\d. ]+", "", marks) for title, (_, marks) in found.items()}  # without the place
    assert shape["ada, camera 1"] == shape["<bob>, camera 1"] != shape["ada, camera 2"]
    assert root.attrib["aria-label"] == "4 vectors of 2 people at stage 1, as drawn"
    assert names(people) == ["ada", "<bob>"]
    assert parsed(sample("person", 13)).find("path").attrib["class"] == "p2"  # type: ignore[union-attr]


def test_a_unit_is_equally_long_across_and_down() -> None:
    places = np.array([[0.0, 0], [1, 0], [0, 1]])
    drawing = embedding_map("x", places, ["a", "b", "c"], ["", "", ""], [""], "")
    a, b, c = (np.array(mark, float) for mark in re.findall(r"M([\d.]+) ([\d.]+)", drawing))
    assert b[0] - a[0] == pytest.approx(a[1] - c[1], abs=0.2)
