"""Cases are of the kind that they are called, and their lists are those that are scored."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from experiments.streams import drawn_evaluation

from dare.evaluation.evaluate import Evaluation, evaluate
from dare.experiments.figure7 import Figure7, figure7, write_figure7


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


EVALUATION = fused_evaluation()


@pytest.fixture(scope="module")
def figure() -> Figure7:
    return figure7([EVALUATION], count=2, ranks=4)


def test_the_fusion_is_always_right_and_the_stages_as_the_kind_says(figure: Figure7) -> None:
    wanted = {"early": (True, False), "late": (False, True), "fused": (False, False), "agreed": (True, True)}
    assert [case.kind for case in figure.cases] == [kind for kind in wanted for _ in range(2)]
    for case in figure.cases:
        first, _, last, fused = (entries[0].right for entries in case.lists)
        assert fused
        assert (first, last) == wanted[case.kind]


def test_lists_agree_with_the_scores(figure: Figure7) -> None:
    for case in figure.cases:
        for result, entries in zip(EVALUATION.results, case.lists, strict=True):
            assert len(entries) == 4
            right = [entry.right for entry in entries]
            place = result.scores.first_match[case.query]
            assert (right.index(True) if any(right) else -1) == (place if place < 4 else -1)
            for entry in entries:
                same = EVALUATION.gallery.people[entry.gallery] == EVALUATION.query.people[case.query]
                assert entry.right == same
                if same:
                    assert EVALUATION.gallery.cameras[entry.gallery] != EVALUATION.query.cameras[case.query]


def test_every_query_that_the_fusion_gets_right_is_of_one_kind(figure: Figure7) -> None:
    right = EVALUATION.results[-1].scores.first_match == 0
    assert sum(figure.found.values()) == right.sum()
    everyone = figure7([EVALUATION], count=10**6, ranks=1)
    assert sorted(case.query for case in everyone.cases) == np.flatnonzero(right).tolist()


def test_a_network_without_fusion_is_refused() -> None:
    with pytest.raises(ValueError, match="got a network with 3 embeddings and no fusion"):
        figure7([drawn_evaluation()])


def test_files_are_written_and_the_same_again(tmp_path) -> None:
    figure = figure7([EVALUATION], count=1, ranks=2)
    first, second = (write_figure7(figure, tmp_path / name) for name in "ab")
    assert [path.name for path in first] == ["figure7.csv", "figure7.png", "figure7.svg"]
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes()
    lines = list(csv.DictReader(first[0].read_text().splitlines()))
    assert len(lines) == 4 * 4 * 2
    assert {line["vector"] for line in lines} == {"stage 1", "stage 2", "stage 3", "fusion"}


def test_no_case_at_all_still_makes_files(tmp_path) -> None:
    nothing = replace(figure7([EVALUATION]), cases=(), found=dict.fromkeys(("early", "late", "fused", "agreed"), 0))
    assert all(path.exists() for path in write_figure7(nothing, tmp_path))
