"""All pictures of a person at a camera ask together, with queries or with Market-1501's hand-drawn boxes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from conftest import make_market, save_picture
from numpy.typing import NDArray

from dare.datasets import Benchmark, Sample, folder, market1501, multi_query
from dare.evaluation.evaluate import evaluate
from dare.retrieval.embeddings import Embeddings, EmbeddingsError

How = Literal["mean", "max"]


def made_up(benchmark: Benchmark, samples: Sequence[Sample], seed: int = 0) -> Embeddings:
    """Random vectors, alike for pictures of one person."""
    random = np.random.default_rng(seed)
    people = np.array([sample.person for sample in samples])
    towards = random.normal(size=(people.max() + 2, 6))
    stages = tuple((towards[people] + random.normal(size=(len(people), 6))).astype(np.float32) for _ in range(2))
    return Embeddings(stages, stages[0] - stages[1], benchmark.identify(samples), people, people)


def by_loops(
    vectors: NDArray[Any], row_of: dict[str, int], benchmark: Benchmark, queries: Sequence[Sample], how: How
) -> tuple[list[float], list[int]]:
    """Average precision by trapezoids, and the place of the first match, of every person and camera asked for."""
    precisions, places = [], []
    for person, camera in dict.fromkeys((query.person, query.camera) for query in benchmark.query):
        own = [
            vectors[row_of[benchmark.identify([query])[0]]].astype(float)
            for query in queries
            if (query.person, query.camera) == (person, camera)
        ]
        probe = sum(own) / len(own) if how == "mean" else np.array([max(values) for values in zip(*own, strict=True)])
        valid = []
        for entry in benchmark.gallery:
            if entry.person == -1 or (entry.person, entry.camera) == (person, camera):
                continue
            difference = vectors[row_of[benchmark.identify([entry])[0]]].astype(float) - probe
            valid.append((float((difference**2).sum()), entry.person == person))
        right = [match for _, match in sorted(valid, key=lambda pair: pair[0])]
        found, area, before = 0, 0.0, 1.0
        for rank, match in enumerate(right, start=1):
            found += match
            if match:
                area += (before + found / rank) / 2
            before = found / rank
        precisions.append(area / found)
        places.append(right.index(True))
    return precisions, places


@pytest.fixture
def benchmark(tmp_path: Path) -> Benchmark:
    """Queries of four people at two cameras, one to four each; nothing is on the disk."""
    random = np.random.default_rng(3)

    def samples(split: str, people: Sequence[int], least: int) -> tuple[Sample, ...]:
        return tuple(
            Sample((tmp_path / split / f"{person:04d}_c{camera}_{n}.jpg",), person, camera)
            for person in people
            for camera in (1, 2, 3)
            for n in range(random.integers(least, 5))
        )

    return Benchmark(
        "mine", (), samples("query", (1, 2, 3, 4), 1), samples("gallery", (-1, 0, 1, 2, 3, 4), 2), tmp_path
    )


@pytest.mark.parametrize("how", ["mean", "max"])
def test_pooled_queries_score_as_a_loop_over_people_and_cameras_does(benchmark: Benchmark, how: How) -> None:
    embeddings = made_up(benchmark, (*benchmark.gallery, *benchmark.query))
    row_of = {id: row for row, id in enumerate(embeddings.ids)}
    result = evaluate(embeddings, benchmark, multi_query=how)
    assert len(result.query) == 12 < len(benchmark.query)
    for stage, vectors in zip(result.results, (*embeddings.stages, embeddings.fused), strict=True):
        assert vectors is not None
        precisions, places = by_loops(vectors, row_of, benchmark, benchmark.query, how)
        np.testing.assert_allclose(stage.scores.average_precision, precisions, atol=1e-9)
        assert stage.scores.first_match.tolist() == places
    assert result.multi_query == how
    assert result.figures()["multi_query"] == how
    assert "multi-query: the query pictures themselves, joined by person and camera" in result.notes
    assert any(f"pictures make 12 queries, the {how} of" in note for note in result.notes)


def test_single_queries_are_left_as_they_are_and_nothing_is_said(benchmark: Benchmark) -> None:
    result = evaluate(made_up(benchmark, (*benchmark.gallery, *benchmark.query)), benchmark)
    assert len(result.query) == len(benchmark.query)
    assert result.multi_query is None
    assert not any("multi-query" in note for note in result.notes)


@pytest.fixture
def market(tmp_path: Path) -> Path:
    """Market-1501's layout with hand-drawn boxes: of queried people, one at an unasked camera, and one of training."""
    root = make_market(tmp_path / "market")
    for person in (4, 5, 6):
        for camera in (1, 2, 3):
            for frame in (1, 7, 8):
                save_picture(root / "gt_bbox" / f"{person:04d}_c{camera}s1_{frame:06d}_00.jpg", person + camera + frame)
    save_picture(root / "gt_bbox" / "0001_c1s1_000001_00.jpg", 3)
    (root / "gt_bbox" / "Thumbs.db").write_text("x")
    return root


@pytest.mark.parametrize("how", ["mean", "max"])
def test_market1501_asks_with_its_hand_drawn_boxes(market: Path, how: How) -> None:
    single = market1501(market)
    together = multi_query(single)
    assert {sample.images[0].parent.name for sample in together.query} == {"gt_bbox"}
    assert {(s.person, s.camera) for s in together.query} == {(s.person, s.camera) for s in single.query}
    assert len(together.query) == 18
    assert multi_query(together) == together
    embeddings = made_up(together, (*together.gallery, *together.query))
    row_of = {id: row for row, id in enumerate(embeddings.ids)}
    result = evaluate(embeddings, single, multi_query=how)
    precisions, places = by_loops(embeddings.stages[0], row_of, single, together.query, how)
    np.testing.assert_allclose(result.results[0].scores.average_precision, precisions, atol=1e-9)
    assert result.results[0].scores.first_match.tolist() == places
    assert "multi-query: the hand-drawn boxes in gt_bbox/, joined by person and camera" in result.notes
    assert any(note.startswith(f"multi-query: 18 pictures make 6 queries, the {how} of 3.0") for note in result.notes)


def test_without_hand_drawn_boxes_market1501_says_that_each_query_asks_alone(market_folder: Path) -> None:
    single = market1501(market_folder)
    embeddings = made_up(single, (*single.gallery, *single.query))
    result, alone = evaluate(embeddings, single, multi_query="mean"), evaluate(embeddings, single)
    assert any(
        "there is no gt_bbox/, so each picture is a query of its own, as in single-query" in note
        for note in result.notes
    )
    assert result.results[0].scores.average_precision.tolist() == alone.results[0].scores.average_precision.tolist()


def test_what_multi_query_cannot_do_is_refused(market: Path, tmp_path: Path) -> None:
    single = market1501(market)
    embeddings = made_up(single, (*single.gallery, *single.query))
    with pytest.raises(
        EmbeddingsError, match=r"no embedding of gt_bbox/.* \(and 17 more .*as dare embed --multi-query"
    ):
        evaluate(embeddings, single, multi_query="mean")
    with pytest.raises(ValueError, match="pooling must be 'mean' or 'max', got 'median'"):
        evaluate(embeddings, single, multi_query="median")  # type: ignore[arg-type]
    for box in (market / "gt_bbox").glob("0005_c2*"):
        box.unlink()
    with pytest.raises(ValueError, match=r"gt_bbox has no picture of person 5 at camera 2, who is a query \(1 such"):
        multi_query(single)
    for person in ("ada", "bob"):
        save_picture(tmp_path / "mine" / person / "1.jpg")
    with pytest.raises(ValueError, match="joins the pictures of a person at a camera, and cameras aren't known here"):
        multi_query(folder(tmp_path / "mine"))


def test_pictures_left_out_are_not_pooled(benchmark: Benchmark) -> None:
    embeddings = made_up(benchmark, (*benchmark.gallery, *benchmark.query))
    first = benchmark.query[0]
    left_out = [
        id
        for id, sample in zip(benchmark.identify(benchmark.query), benchmark.query, strict=True)
        if (sample.person, sample.camera) == (first.person, first.camera)
    ]
    shorter = evaluate(embeddings, benchmark, multi_query="mean", skipped=left_out)
    kept = replace(benchmark, query=benchmark.query[len(left_out) :])
    expected = evaluate(embeddings, kept, multi_query="mean")
    assert len(shorter.query) == 11
    assert shorter.figures()["results"] == expected.figures()["results"]
