"""A benchmark's embeddings are scored at every exit, by the benchmark's own labels."""

import csv
import math
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import save_picture

from dare.anytime.costs import NETSCOPE_2018, ExitCosts
from dare.datasets import Benchmark, Sample, folder, market1501
from dare.evaluation.evaluate import evaluate
from dare.evaluation.learnt_distances import Learner
from dare.evaluation.per_query import write_per_query
from dare.pages.report import write_report
from dare.retrieval.distances import cosine, euclidean, normalised
from dare.retrieval.embeddings import Embeddings, EmbeddingsError
from dare.retrieval.labels import Labels
from dare.retrieval.metrics import kissme, xqda
from dare.retrieval.reranking import Reranking, k_reciprocal
from dare.retrieval.scoring import score


@pytest.fixture
def benchmark(market_folder: Path) -> Benchmark:
    return market1501(market_folder)


def made_up(benchmark: Benchmark, fused: bool = True, training: bool = False) -> Embeddings:
    """Vectors of all queries and gallery entries, in no particular order, and of the training pictures behind them."""
    random = np.random.default_rng(0)
    samples = (*benchmark.gallery, *benchmark.query, *(benchmark.train if training else ()))
    stages = tuple(random.normal(size=(len(samples), 8)).astype(np.float32) for _ in range(3))
    wrong = np.full(len(samples), 77)  # labels come from the benchmark, not from here
    ids = benchmark.identify(samples)
    return Embeddings(stages, stages[2] + stages[0] if fused else None, ids, wrong, wrong)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("rule", ["official", "step"])
def test_every_exit_scores_as_its_matrix_does(benchmark: Benchmark, distance: str, rule: str) -> None:
    embeddings = made_up(benchmark)
    result = evaluate(embeddings, benchmark, distance=distance, rule=rule)
    query, gallery = Labels.of(benchmark.query), Labels.of(benchmark.gallery)
    measure = euclidean if distance == "euclidean" else cosine
    gallery_rows = slice(0, len(benchmark.gallery))
    query_rows = slice(len(benchmark.gallery), None)
    for stage, vectors in zip(result.results, (*embeddings.stages, embeddings.fused), strict=True):
        assert vectors is not None
        expected = score(measure(vectors[query_rows], vectors[gallery_rows]), query, gallery, rule=rule)
        np.testing.assert_allclose(stage.scores.average_precision, expected.average_precision)


@pytest.mark.parametrize("learn", [kissme, xqda])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_distances_are_learnt_from_the_training_pictures_at_every_exit(
    benchmark: Benchmark, learn: Learner, distance: str, tmp_path: Path
) -> None:
    embeddings = made_up(benchmark, training=True)
    result = evaluate(embeddings, benchmark, distance=distance, metric=learn)
    scale = normalised if distance == "cosine" else np.asarray
    train, query, gallery = (Labels.of(part) for part in (benchmark.train, benchmark.query, benchmark.gallery))
    entries, end = len(benchmark.gallery), len(benchmark.gallery) + len(benchmark.query)
    for stage, vectors in zip(result.results, (*embeddings.stages, embeddings.fused), strict=True):
        assert vectors is not None
        known = scale(vectors)
        metric = learn(known[end:], train.people, train.cameras)
        distances = metric.distances(known[entries:end], known[:entries])
        expected = score(distances, query, gallery)
        np.testing.assert_allclose(stage.scores.average_precision, expected.average_precision)
        assert result.metric.startswith(metric.source)
    assert ("length 1" in result.metric) == (distance == "cosine")
    assert result.figures()["metric"] == result.metric
    write_report(tmp_path / "report.html", result)


def test_a_distance_needs_the_training_pictures_and_tells_of_people_who_are_tested(benchmark: Benchmark) -> None:
    with pytest.raises(
        EmbeddingsError,
        match=r"\(and 17 more of 18 pictures; there are embeddings of 14\); embed training pictures too",
    ):
        evaluate(made_up(benchmark), benchmark, metric=kissme)
    same = replace(benchmark, train=tuple(sample for sample in benchmark.gallery if sample.person > 0))
    notes = evaluate(made_up(benchmark), same, metric=kissme).notes
    assert "3 of 3 people asked for are among those the distance was learnt from; figures flatter it" in notes


@pytest.mark.heavy
def test_every_embedding_is_reranked_by_itself(benchmark: Benchmark) -> None:
    embeddings = made_up(benchmark)
    rerank = Reranking(k1=4, k2=2, weight=0.2, variant="fourth-power")
    result = evaluate(embeddings, benchmark, rerank=rerank)
    query, gallery = Labels.of(benchmark.query), Labels.of(benchmark.gallery)
    entries = len(benchmark.gallery)
    for stage, vectors in zip(result.results, (*embeddings.stages, embeddings.fused), strict=True):
        assert vectors is not None
        distances = k_reciprocal(vectors[entries:], vectors[:entries], k1=4, k2=2, weight=0.2, variant="fourth-power")
        expected = score(distances, query, gallery)
        np.testing.assert_array_equal(stage.scores.average_precision, expected.average_precision)
    assert result.figures()["rerank"] == {"k1": 4, "k2": 2, "weight": 0.2, "variant": "fourth-power", "junk": True}
    assert evaluate(embeddings, benchmark).figures()["rerank"] is None


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("reranked", [False, True])
def test_in_one_space_every_exit_is_scored_against_the_last_ones_gallery_and_beside_it_against_its_own(
    benchmark: Benchmark, distance: str, fused: bool, reranked: bool
) -> None:
    embeddings = replace(made_up(benchmark, fused), space="shared")
    rerank = Reranking(k1=4, k2=2) if reranked else None
    result = evaluate(embeddings, benchmark, distance=distance, rerank=rerank)
    query, gallery, entries = Labels.of(benchmark.query), Labels.of(benchmark.gallery), len(benchmark.gallery)
    scale = normalised if distance == "cosine" else np.asarray
    vectors = [scale(rows) for rows in embeddings.vectors()]
    measure = partial(k_reciprocal, k1=4, k2=2) if reranked else euclidean
    assert len(result.results) == len(vectors)
    for stage, rows in zip(result.results, vectors, strict=True):
        expected = score(measure(rows[entries:], vectors[-1][:entries]), query, gallery)
        np.testing.assert_allclose(stage.scores.average_precision, expected.average_precision)
        beside = score(measure(rows[entries:], rows[:entries]), query, gallery)
        assert stage.own_gallery is not None
        np.testing.assert_allclose(stage.own_gallery.average_precision, beside.average_precision)
    assert result.results[-1].own_gallery is result.results[-1].scores
    assert "one space, all exits against the gallery's vectors of the last" in result.settings


@pytest.mark.parametrize("learn", [kissme, xqda])
def test_in_one_space_one_distance_is_learnt_of_the_last_exit(benchmark: Benchmark, learn: Learner) -> None:
    embeddings = replace(made_up(benchmark, training=True), space="shared")
    result = evaluate(embeddings, benchmark, metric=learn)
    train, query, gallery = (Labels.of(part) for part in (benchmark.train, benchmark.query, benchmark.gallery))
    entries, end = len(benchmark.gallery), len(benchmark.gallery) + len(benchmark.query)
    last = embeddings.fused
    assert last is not None
    metric = learn(last[end:], train.people, train.cameras)
    for stage, vectors in zip(result.results, embeddings.vectors(), strict=True):
        expected = score(metric.distances(vectors[entries:end], last[:entries]), query, gallery)
        np.testing.assert_allclose(stage.scores.average_precision, expected.average_precision)
    assert result.metric == metric.source


def test_figures_tell_of_one_space_and_those_of_other_networks_are_as_they_were(benchmark: Benchmark) -> None:
    embeddings = made_up(benchmark)
    plain = evaluate(embeddings, benchmark)
    assert [stage.own_gallery for stage in plain.results] == [None] * 4
    assert "one space" not in plain.settings
    assert not {"space", "own_gallery"} & {*plain.figures(), *plain.figures()["results"][0]}
    one_space = evaluate(replace(embeddings, space="shared"), benchmark)
    figures = one_space.figures()
    assert figures["space"] == "shared"
    for row, before in zip(figures["results"], plain.figures()["results"], strict=True):
        assert row["own_gallery"] == {"rank1": before["rank1"], "mAP": before["mAP"]}
    assert figures["results"][0]["mAP"] != plain.figures()["results"][0]["mAP"]


def test_fast_reids_variant_on_vectors_of_any_length_is_noted(benchmark: Benchmark) -> None:
    rerank = Reranking(k1=4, k2=2, variant="fast-reid")
    note = "variant fast-reid is meant for vectors of length 1, as cosine distance makes them"
    assert note in evaluate(made_up(benchmark), benchmark, rerank=rerank).notes
    assert note not in evaluate(made_up(benchmark), benchmark, rerank=rerank, distance="cosine").notes


def test_the_last_stage_is_no_exit_where_there_is_fusion(benchmark: Benchmark) -> None:
    costs = ExitCosts((10, 20, 30), "made up")
    result = evaluate(made_up(benchmark), benchmark, costs=costs)
    assert [(stage.name, stage.is_exit, stage.macs) for stage in result.results] == [
        ("stage 1", True, 10),
        ("stage 2", True, 20),
        ("stage 3", False, 30),
        ("fusion", True, 30),
    ]
    assert [exit.name for exit in result.exits] == ["stage 1", "stage 2", "fusion"]
    plain = evaluate(made_up(benchmark, fused=False), benchmark, costs=costs)
    assert [stage.is_exit for stage in plain.results] == [True, True, True]


def test_notes_tell_of_queries_without_a_match_ties_and_pictures_left_out(benchmark: Benchmark) -> None:
    lonely = tuple(sample for sample in benchmark.gallery if sample.person != 4)
    result = evaluate(made_up(benchmark), replace(benchmark, gallery=lonely))
    assert "2 of 6 queries have no valid match in the gallery; no mean counts them" in result.notes
    embeddings = made_up(benchmark)
    alike = replace(embeddings, stages=tuple(np.ones_like(stage) for stage in embeddings.stages))
    assert any(
        "stage 1: 6 queries have their first match exactly as far" in n for n in evaluate(alike, benchmark).notes
    )
    left_out = benchmark.identify(benchmark.query[:1])
    shorter = evaluate(embeddings.rows(range(len(embeddings) - 6)).__class__(
        embeddings.stages, embeddings.fused, embeddings.ids, embeddings.people, embeddings.cameras
    ), benchmark, skipped=left_out)  # fmt: skip
    assert len(shorter.query) == 5
    assert "1 pictures were left out: unreadable, or without an embedding" in shorter.notes


def test_no_match_at_all_gives_nan_not_an_error(benchmark: Benchmark) -> None:
    result = evaluate(made_up(benchmark), replace(benchmark, gallery=benchmark.gallery[:2]))
    assert math.isnan(result.results[0].scores.mean_average_precision)


def test_unknown_distances_and_costs_of_another_network_are_refused(benchmark: Benchmark) -> None:
    with pytest.raises(ValueError, match="distance must be 'euclidean' or 'cosine', got 'cos'"):
        evaluate(made_up(benchmark), benchmark, distance="cos")  # type: ignore[arg-type]
    found = made_up(benchmark)
    zero = replace(found, stages=(np.zeros_like(found.stages[0]), *found.stages[1:]))
    with pytest.raises(ValueError, match="stage 1: vector 0 is zero"):
        evaluate(zero, benchmark, distance="cosine")
    with pytest.raises(ValueError, match="expected costs of 3 exits, got 1"):
        evaluate(made_up(benchmark), benchmark, costs=ExitCosts((10,), "made up"))


def test_one_person_alone_is_noted(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        save_picture(tmp_path / "ada" / f"{number}.jpg", number)
    benchmark = folder(tmp_path)
    embeddings = Embeddings(
        (np.eye(3, dtype=np.float32),), None, benchmark.identify(benchmark.query), np.zeros(3), np.zeros(3)
    )
    assert any("show one person" in note for note in evaluate(embeddings, benchmark).notes)


def test_embeddings_of_another_data_set_are_refused(benchmark: Benchmark) -> None:
    embeddings = made_up(benchmark)
    with pytest.raises(EmbeddingsError, match=r"query/.* \(and 5 more of 14 pictures; there are embeddings of 8\)"):
        evaluate(embeddings.rows(range(len(benchmark.gallery))), benchmark)


def test_without_cameras_only_the_same_picture_is_excluded(tmp_path: Path) -> None:
    for person in (1, 2):
        for number in (1, 2):
            save_picture(tmp_path / str(person) / f"{number}.jpg", 10 * person + number)
    benchmark = folder(tmp_path)
    vectors = np.array([[0.0], [0.1], [1.0], [1.1]], np.float32)
    embeddings = Embeddings((vectors,), None, benchmark.identify(benchmark.query), np.zeros(4), np.zeros(4))
    result = evaluate(embeddings, benchmark)
    # Each picture finds the other one of its person first; had it found itself, two matches would be counted.
    assert result.results[0].scores.average_precision.tolist() == [1.0] * 4
    assert result.results[0].scores.inverse_negative_penalty.tolist() == [1.0] * 4
    assert any("only matches with the very same picture are excluded" in note for note in result.notes)


def test_costs_check_themselves_and_name_their_source() -> None:
    assert NETSCOPE_2018.macs == (523_568_640, 1_150_094_336, 2_060_915_200, 2_542_295_040)
    assert ExitCosts((10, 30), "made up").mean([0, 1, 1, 0]) == 20
    assert ExitCosts((10, 30), "made up").times(10).macs == (100, 300)
    for macs in ((), (0, 1), (2, 1), (1, 1)):
        with pytest.raises(ValueError, match="exit costs must"):
            ExitCosts(macs, "made up")


def test_the_report_is_one_file_with_framed_pictures(benchmark: Benchmark, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(path, evaluate(made_up(benchmark), benchmark, costs=ExitCosts((10, 20, 30), "made up")))
    page = path.read_text()
    assert "<svg" in page
    assert 'class="right"' in page
    assert 'class="wrong"' in page
    assert "data:image/jpeg;base64," in page
    assert "http://" not in page
    assert "https://" not in page
    assert 'src="data:' in page
    assert "-1_c1s1" not in page  # junk is in no list
    for name in ("stage 1", "stage 2", "(stage 3)", "fusion"):
        assert name in page


@pytest.mark.parametrize("junk", [True, False])
def test_a_report_of_reranked_distances_says_so_and_lists_by_them(
    benchmark: Benchmark, tmp_path: Path, junk: bool
) -> None:
    embeddings = made_up(benchmark, fused=False)
    # Whoever is listed first is the nearest by the matrix.
    result = evaluate(embeddings, benchmark, rerank=Reranking(k1=4, k2=2, weight=0.0, junk=junk))
    write_report(tmp_path / "report.html", result)
    page = (tmp_path / "report.html").read_text()
    settings = "re-ranked: k1 4, k2 2, weight 0.0, variant zhong"
    assert f"{settings}; every query" in page or f"{settings}, without junk; every query" in page
    people, cameras = result.gallery.people, result.gallery.cameras
    part = np.flatnonzero(people != -1) if not junk else np.arange(len(people))
    expected = k_reciprocal(result.query.stages[0], result.gallery.stages[0][part], k1=4, k2=2, weight=0.0)
    lists = re.findall(r'title="(query/[^"]+)".*?<figure>(.*?)</figure>', page, re.DOTALL)
    assert lists
    for probe, pictures in lists:
        row = result.query.ids.index(probe)
        own = (people == result.query.people[row]) & (cameras == result.query.cameras[row])
        order = part[np.argsort(expected[row], kind="stable")]
        valid = [result.gallery.ids[entry] for entry in order if people[entry] != -1 and not own[entry]]
        assert re.findall(r'title="([^"]+)"', pictures) == valid[:5]


def test_a_report_can_be_written_without_costs_and_without_matches(benchmark: Benchmark, tmp_path: Path) -> None:
    nothing = evaluate(made_up(benchmark), replace(benchmark, gallery=benchmark.gallery[:2]))
    write_report(tmp_path / "report.html", nothing)
    assert "there is nothing to show" in (tmp_path / "report.html").read_text()


def test_names_in_a_report_are_escaped(tmp_path: Path) -> None:
    for person in ("<b>ada", "bob"):
        for number in (1, 2):
            save_picture(tmp_path / person / f"{number}.jpg", hash((person, number)) % 1000)
    benchmark = folder(tmp_path)
    embeddings = Embeddings(
        (np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32),), None,
        benchmark.identify(benchmark.query), np.zeros(4), np.zeros(4),
    )  # fmt: skip
    write_report(tmp_path / "report.html", evaluate(embeddings, benchmark))
    assert "<b>ada" not in (tmp_path / "report.html").read_text()


def test_the_means_over_a_file_of_queries_are_the_figures(benchmark: Benchmark, tmp_path: Path) -> None:
    nobody = Sample(benchmark.query[0].images, 99, 1)
    embeddings = made_up(benchmark)
    first = benchmark.query[1]
    called = {"names": {first.person: "=Anna"}, "camera_names": {first.camera: "till"}}
    asked = replace(benchmark, query=(*benchmark.query[1:], nobody), **called)
    result = evaluate(embeddings, asked)
    write_per_query(tmp_path / "queries.csv", result)
    with (tmp_path / "queries.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(asked.query) * len(result.results)
    assert [line["query"] for line in lines[: len(asked.query)]] == list(result.query.ids)
    assert (lines[0]["person"], lines[0]["camera"]) == ("'=Anna", "till")
    for stage in result.results:
        own = [line for line in lines if line["exit"] == stage.name]
        assert (own[-1]["rank"], own[-1]["AP"], own[-1]["INP"]) == ("", "", "")
        matched = [line for line in own if line["rank"]]
        assert {line["is_exit"] for line in own} == {str(int(stage.is_exit))}
        for rank in (1, 5):
            share = sum(int(line["rank"]) <= rank for line in matched) / len(matched)
            assert share == pytest.approx(stage.scores.cmc(rank), rel=1e-12)
        for column, mean in (("AP", "mean_average_precision"), ("INP", "mean_inverse_negative_penalty")):
            values = [float(line[column]) for line in matched]
            assert sum(values) / len(values) == pytest.approx(getattr(stage.scores, mean), rel=1e-12)


def test_the_fusion_is_said_where_it_is_known(benchmark: Benchmark, tmp_path: Path) -> None:
    embeddings = made_up(benchmark)
    result = evaluate(embeddings, benchmark, fusion=(-0.54, 0.0, 1.25))
    assert result.fused == "-0.540 x stage 1 + 0.000 x stage 2 + 1.250 x stage 3"
    assert result.figures()["fusion"] == [-0.54, 0.0, 1.25]
    write_report(tmp_path / "report.html", result)
    assert f"Fusion: {result.fused}." in (tmp_path / "report.html").read_text()
    assert (evaluate(embeddings, benchmark).fused, evaluate(embeddings, benchmark).figures()["fusion"]) == ("", None)
