"""Cases are of the kind that they are called, their lists are those that are scored, and pictures need not be there."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from experiments.streams import drawn_evaluation
from matplotlib.figure import Figure

from dare.anytime.confidence import nearest_two
from dare.evaluation.evaluate import Evaluation, evaluate
from dare.experiments.figure7_8 import Cases, draw_figure7, draw_figure8, figure7, figure8
from dare.experiments.plots import new_figure, write_figure
from dare.experiments.query_stream import query_stream


def fused_evaluation(people: int = 60) -> Evaluation:
    """Three stages and the sum of their vectors, of pictures that do not exist."""
    plain = drawn_evaluation(people=people)
    sides = (plain.query, plain.gallery)
    stages = tuple(np.concatenate([side.stages[place] for side in sides]) for place in range(3))
    everything = replace(
        plain.query,
        stages=stages,
        fused=sum(stages),
        ids=sides[0].ids + sides[1].ids,
        people=np.zeros(len(stages[0])),
        cameras=np.zeros(len(stages[0])),
    )
    return evaluate(everything, plain.benchmark)


FUSED = fused_evaluation()


@pytest.fixture(scope="module")
def figure() -> Cases:
    return figure7([FUSED], count=2, ranks=4)


def test_the_fusion_is_always_right_and_the_stages_as_the_kind_says(figure: Cases) -> None:
    wanted = {"early": (True, False), "late": (False, True), "fused": (False, False), "agreed": (True, True)}
    assert [case.kind for case in figure.cases] == [kind for kind in wanted for _ in range(2)]
    for case in figure.cases:
        first, _, last, fused = (figure.right(case, entries[0]) for entries in case.lists)
        assert fused
        assert (first, last) == wanted[case.kind]


def test_lists_agree_with_the_scores(figure: Cases) -> None:
    for case in figure.cases:
        for result, entries in zip(FUSED.results, case.lists, strict=True):
            assert len(entries) == 4
            right = [figure.right(case, entry) for entry in entries]
            place = result.scores.first_match[case.query]
            assert (right.index(True) if any(right) else -1) == (place if place < 4 else -1)
            for entry in entries:
                same = FUSED.gallery.people[entry] == FUSED.query.people[case.query]
                assert figure.right(case, entry) == same
                if same:
                    assert FUSED.gallery.cameras[entry] != FUSED.query.cameras[case.query]


def test_every_query_that_the_fusion_gets_right_is_of_one_kind(figure: Cases) -> None:
    right = FUSED.results[-1].scores.first_match == 0
    assert sum(figure.found.values()) == right.sum()
    everyone = figure7([FUSED], count=10**6, ranks=1)
    assert sorted(case.query for case in everyone.cases) == np.flatnonzero(right).tolist()


def test_a_network_without_fusion_is_refused() -> None:
    with pytest.raises(ValueError, match="got a network with 3 embeddings and no fusion"):
        figure7([drawn_evaluation()])


def test_files_are_written_and_the_same_again(tmp_path) -> None:
    figure = figure7([FUSED], count=1, ranks=2)
    first, second = (draw_figure7(figure).write(tmp_path / name) for name in "ab")
    assert [path.name for path in first] == ["figure7.csv", "figure7.png", "figure7.svg"]
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes()
    lines = list(csv.DictReader(first[0].read_text().splitlines()))
    assert len(lines) == 4 * 4 * 2
    assert {line["vector"] for line in lines} == {"stage 1", "stage 2", "stage 3", "fusion"}


def test_no_case_at_all_still_makes_files(tmp_path) -> None:
    nothing = replace(figure7([FUSED]), cases=(), found=dict.fromkeys(("early", "late", "fused", "agreed"), 0))
    assert all(path.exists() for path in draw_figure7(nothing).write(tmp_path))


EVALUATION = drawn_evaluation(people=60)
FIGURE = figure8([EVALUATION], [query_stream(EVALUATION)], count=5)


def test_easy_queries_are_right_at_once_and_hard_ones_at_the_end() -> None:
    kinds = [case.kind for case in FIGURE.cases]
    assert kinds == sorted(kinds)
    assert kinds.count("easy") == 5
    assert kinds.count("hard") == min(5, FIGURE.found["hard"]) > 0
    for case in FIGURE.cases:
        right = [FIGURE.right(case, match) for (match,) in case.lists]
        assert len(right) == (1 if case.kind == "easy" else 3)
        assert right[-1]
    easy = [case.nearness for case in FIGURE.cases if case.kind == "easy"]
    hard = [
        (sum(FIGURE.right(case, match) for (match,) in case.lists), case.nearness)
        for case in FIGURE.cases
        if case.kind == "hard"
    ]
    assert easy == sorted(easy, reverse=True)
    assert hard == sorted(hard)
    assert hard[0][0] == 1


def test_matches_are_the_nearest_that_the_protocol_allows() -> None:
    query, gallery = EVALUATION.query, EVALUATION.gallery
    nearest = [nearest_two(q, g, query, gallery).nearest for q, g in zip(query.exits(), gallery.exits(), strict=True)]
    for case in FIGURE.cases:
        for exit, (match,) in enumerate(case.lists):
            q, g = query.exits()[exit][case.query], gallery.exits()[exit][match]
            assert np.linalg.norm(q.astype(float) - g) == pytest.approx(nearest[exit][case.query])
            if FIGURE.right(case, match):
                assert gallery.cameras[match] != query.cameras[case.query]


def test_half_as_many_leave_at_each_exit_as_at_the_one_before() -> None:
    assert FIGURE.taken == pytest.approx([4 / 7, 2 / 7, 1 / 7], abs=0.08)


def test_files_of_figure_8_are_written_and_the_same_again(tmp_path) -> None:
    first, second = (draw_figure8(FIGURE).write(tmp_path / name) for name in "ab")
    assert [path.name for path in first] == ["figure8.csv", "figure8.png", "figure8.svg"]
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes()
    assert len(first[0].read_text().splitlines()) == 1 + sum(len(case.lists) for case in FIGURE.cases)


def test_of_several_runs_the_means_are_shown_and_the_queries_of_the_first() -> None:
    runs = [EVALUATION, drawn_evaluation(people=60, seed=1)]
    streams = [query_stream(one) for one in runs]
    figure = figure8(runs, streams, count=5)
    assert figure.cases == FIGURE.cases
    other = figure8([runs[1]], [streams[1]])
    assert figure.taken == pytest.approx(np.mean([FIGURE.taken, other.taken], axis=0))
    assert figure.found["hard"] == (FIGURE.found["hard"] + other.found["hard"]) / 2


def test_a_layout_that_differs_in_its_last_digits_gives_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the layout does from one run to the next, by where objects lie in memory."""
    laid_out = Figure.draw_without_rendering
    chance = np.random.default_rng(0)

    def nearly(figure: Figure) -> None:
        laid_out(figure)
        figure.set_layout_engine("none")
        for part in figure.subfigs:
            part.bbox_relative.p1 = part.bbox_relative.p1 * (1 + 1e-15 * chance.normal(size=2))
        for axes in figure.get_axes():
            left, bottom, width, height = axes.get_position(original=True).bounds
            axes.set_position((left + 1e-16 * chance.normal(), bottom + 1e-16 * chance.normal(), width, height))

    monkeypatch.setattr(Figure, "draw_without_rendering", nearly)
    written = set()
    for name in ("a", "b", "c"):
        figure = new_figure(4, 6)
        for part in figure.subfigures(2, 1, height_ratios=[3, 5]):
            part.suptitle("people")
            for axes in part.subplots(3, 2).flat:
                axes.imshow(np.zeros((128, 64, 3), np.uint8))
        written.add(write_figure(figure, tmp_path / name)[1].read_bytes())
    assert len(written) == 1
