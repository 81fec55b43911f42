"""Easy and hard queries are what they are called, and files are written without any picture to read."""

import numpy as np
import pytest
from experiments.streams import drawn_evaluation, drawn_stream

from dare.anytime.confidence import nearest_two
from dare.experiments.figure8 import figure8, write_figure8
from dare.experiments.query_stream import query_stream

EVALUATION = drawn_evaluation(people=60)
FIGURE = figure8([EVALUATION], [query_stream(EVALUATION)], count=5)


def test_easy_queries_are_right_at_once_and_hard_ones_at_the_end() -> None:
    kinds = [case.kind for case in FIGURE.cases]
    assert kinds == sorted(kinds)
    assert kinds.count("easy") == 5
    assert kinds.count("hard") == min(5, FIGURE.found["hard"]) > 0
    for case in FIGURE.cases:
        right = [match.right for match in case.matches]
        assert len(right) == (1 if case.kind == "easy" else 3)
        assert right[-1]
    easy = [case.nearness for case in FIGURE.cases if case.kind == "easy"]
    hard = [(sum(m.right for m in case.matches), case.nearness) for case in FIGURE.cases if case.kind == "hard"]
    assert easy == sorted(easy, reverse=True)
    assert hard == sorted(hard)
    assert hard[0][0] == 1


def test_matches_are_the_nearest_that_the_protocol_allows() -> None:
    query, gallery = EVALUATION.query, EVALUATION.gallery
    nearest = [nearest_two(q, g, query, gallery).nearest for q, g in zip(query.exits(), gallery.exits(), strict=True)]
    for case in FIGURE.cases:
        for match in case.matches:
            q, g = query.exits()[match.exit][case.query], gallery.exits()[match.exit][match.gallery]
            assert np.linalg.norm(q.astype(float) - g) == pytest.approx(nearest[match.exit][case.query])
            if match.right:
                assert gallery.cameras[match.gallery] != query.cameras[case.query]


def test_half_as_many_leave_at_each_exit_as_at_the_one_before() -> None:
    assert FIGURE.taken == pytest.approx([4 / 7, 2 / 7, 1 / 7], abs=0.08)


def test_a_stream_of_other_queries_is_refused() -> None:
    with pytest.raises(ValueError, match="expected the stream of 180 queries at 3 exits, got 200 at 4"):
        figure8([EVALUATION], [drawn_stream()])


def test_files_are_written_and_the_same_again(tmp_path) -> None:
    first, second = (write_figure8(FIGURE, tmp_path / name) for name in "ab")
    assert [path.name for path in first] == ["figure8.csv", "figure8.png", "figure8.svg"]
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes()
    assert len(first[0].read_text().splitlines()) == 1 + sum(len(case.matches) for case in FIGURE.cases)


def test_of_several_runs_the_means_are_shown_and_the_queries_of_the_first() -> None:
    runs = [EVALUATION, drawn_evaluation(people=60, seed=1)]
    streams = [query_stream(one) for one in runs]
    figure = figure8(runs, streams, count=5)
    assert figure.cases == FIGURE.cases
    other = figure8([runs[1]], [streams[1]])
    assert figure.taken == pytest.approx((FIGURE.taken + other.taken) / 2)
    assert figure.found["hard"] == (FIGURE.found["hard"] + other.found["hard"]) / 2
