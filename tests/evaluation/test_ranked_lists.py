"""Ranked lists are those that the scores count."""

from dataclasses import replace

import numpy as np
import pytest
from experiments.streams import drawn_evaluation

from dare.datasets.sample import JUNK
from dare.evaluation.evaluate import evaluate
from dare.evaluation.ranked_lists import nearest, vectors_of
from dare.retrieval.distances import Space


@pytest.mark.parametrize("space", ["own", "shared"])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_the_first_match_of_a_list_is_at_the_rank_that_is_scored(distance: str, space: Space) -> None:
    drawn = drawn_evaluation(people=20, space=space)
    gallery = tuple(
        replace(sample, person=JUNK) if number % 9 == 0 else sample
        for number, sample in enumerate(drawn.benchmark.gallery)
    )
    benchmark = replace(drawn.benchmark, gallery=gallery)
    everything = replace(
        drawn.query,
        stages=tuple(np.concatenate(pair) for pair in zip(drawn.query.stages, drawn.gallery.stages, strict=True)),
        ids=drawn.query.ids + drawn.gallery.ids,
        people=np.zeros(len(drawn.query) + len(drawn.gallery)),
        cameras=np.zeros(len(drawn.query) + len(drawn.gallery)),
    )
    evaluation = evaluate(everything, benchmark, distance=distance)  # type: ignore[arg-type]
    rows = range(len(evaluation.query))
    for result, vectors in zip(evaluation.results, vectors_of(evaluation), strict=True):
        for row, entries in zip(rows, nearest(evaluation, vectors, rows, 10**6), strict=True):
            people = evaluation.gallery.people[entries]
            right = np.flatnonzero(people == evaluation.query.people[row])
            assert (right[0] if len(right) else -1) == result.scores.first_match[row]
            assert JUNK not in people
            assert len(set(entries)) == len(entries)
