"""The report shows curves, distances, maps and where the network looked, in one file that loads nothing."""

import re
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from experiments.streams import drawn_evaluation

from dare import Benchmark, Embeddings, embed, evaluate, load_checkpoint, open_benchmark, open_runner
from dare.evaluation.evaluate import Evaluation
from dare.models.activation_maps import maps_of_picture
from dare.pages.report import write_report
from dare.retrieval.reranking import Reranking
from dare.verification.pairs import Pairs


@pytest.fixture(scope="module")
def benchmark(market: Path) -> Benchmark:
    return open_benchmark(market)


@pytest.fixture(scope="module")
def embeddings(benchmark: Benchmark, model: Path) -> Embeddings:
    return embed(open_runner(model), (*benchmark.query, *benchmark.gallery), root=benchmark.root)


@pytest.fixture(scope="module")
def evaluation(benchmark: Benchmark, embeddings: Embeddings, model: Path) -> Evaluation:
    return evaluate(embeddings, benchmark, costs=load_checkpoint(model).costs)


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str, **having: str) -> list[dict[str, str | None]]:
        return [found for name, found in self.tags if name == tag and having.items() <= found.items()]


def test_activation_maps_of_every_stage_stand_before_its_list(
    evaluation: Evaluation, model: Path, tmp_path: Path
) -> None:
    write_report(tmp_path / "r.html", evaluation, look=partial(maps_of_picture, load_checkpoint(model)))
    text = (tmp_path / "r.html").read_text()
    page = Page(text)
    probes = len(page.all("img", **{"class": "probe"}))
    looks = page.all("img", **{"class": "look"})
    assert len(looks) == 4 * probes > 0
    assert {look["alt"] for look in looks} == {f"where stage {number} answers" for number in (1, 2, 3, 4)}
    assert "Zagoruyko" in text
    assert "dare evaluate --model" not in text


def test_without_a_network_the_page_says_how_to_get_the_maps(evaluation: Evaluation, tmp_path: Path) -> None:
    write_report(tmp_path / "r.html", evaluation)
    text = (tmp_path / "r.html").read_text()
    assert not Page(text).all("img", **{"class": "look"})
    assert "Without activation maps: they need the network itself" in text


def test_pictures_that_are_gone_leave_the_page_whole(tmp_path: Path, model: Path) -> None:
    evaluation = drawn_evaluation(people=6)  # of pictures that do not exist
    write_report(tmp_path / "r.html", evaluation, look=partial(maps_of_picture, load_checkpoint(model)))
    page = Page((tmp_path / "r.html").read_text())
    assert page.all("img", **{"class": "probe"})
    assert not page.all("img", **{"class": "look"})


def test_nothing_is_loaded_run_or_allowed(evaluation: Evaluation, tmp_path: Path) -> None:
    write_report(tmp_path / "r.html", evaluation, embedding_maps=True)
    page = Page((tmp_path / "r.html").read_text())
    assert not page.all("script")
    assert not page.all("link")
    assert all((image["src"] or "").startswith("data:image/jpeg;base64,") for image in page.all("img"))
    assert all(image["alt"] for image in page.all("img"))
    assert all(drawing.get("aria-label") or drawing.get("aria-hidden") for drawing in page.all("svg"))
    assert not [name for _, found in page.tags for name in found if name == "style" or name.startswith("on")]
    (policy,) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert "default-src 'none'" in (policy["content"] or "")


def test_every_exit_has_its_curve_its_distances_and_its_map(tmp_path: Path) -> None:
    evaluation = drawn_evaluation(people=40)
    write_report(tmp_path / "r.html", evaluation, embedding_maps=True, false_match_rate=0.01)
    labels = [drawing.get("aria-label") or "" for drawing in Page((tmp_path / "r.html").read_text()).all("svg")]
    (curves,) = (label for label in labels if label.startswith("Percent of queries with a correct match"))
    for result, q, g in zip(evaluation.exits, evaluation.query.exits(), evaluation.gallery.exits(), strict=True):
        assert f"{result.name}: {100 * result.scores.cmc(1):.1f} at rank 1" in curves
        (distances,) = (label for label in labels if label.startswith(f"Distances at {result.name}: "))
        pairs = Pairs(q, g, evaluation.query, evaluation.gallery)
        (threshold,) = pairs.ranked([pairs.impostors // 100])
        assert f"mark at {threshold:.3g}: 1 % of others" in distances
        assert any(
            re.match(rf"\d+ vectors of 12 people at {result.name}, laid out by t-SNE", label) for label in labels
        )


def test_cameras_with_names_are_called_by_them(tmp_path: Path) -> None:
    evaluation = drawn_evaluation(people=40)
    named = replace(evaluation, benchmark=replace(evaluation.benchmark, camera_names={1: "<till>"}))
    write_report(tmp_path / "r.html", named, embedding_maps=True)
    page = (tmp_path / "r.html").read_text()
    assert "&lt;till&gt;" in page
    assert "<till>" not in page
    assert "camera 1<" not in page


def test_small_sets_have_a_page_too(
    benchmark: Benchmark, embeddings: Embeddings, evaluation: Evaluation, tmp_path: Path
) -> None:
    few = evaluate(embeddings, benchmark, skipped=evaluation.gallery.ids)
    write_report(tmp_path / "r.html", few, embedding_maps=True)
    text = (tmp_path / "r.html").read_text()
    assert "there is nothing to show" in text
    assert "nan" not in text.partition("</style>")[2]
    assert "<td>–</td>" in text
    write_report(tmp_path / "r.html", evaluation)
    assert "too few pairs for a mark at 0.1 %" in (tmp_path / "r.html").read_text()
    with pytest.raises(ValueError, match="a false match rate is between 0 and 1, got 2"):
        write_report(tmp_path / "none.html", evaluation, false_match_rate=2)


def test_an_exit_whose_vectors_are_all_equal_has_no_map_and_the_others_do(tmp_path: Path) -> None:
    drawn = drawn_evaluation(people=6)
    sides = [
        replace(side, stages=(np.ones_like(side.stages[0]), *side.stages[1:])) for side in (drawn.query, drawn.gallery)
    ]
    write_report(tmp_path / "r.html", replace(drawn, query=sides[0], gallery=sides[1]), embedding_maps=True)
    text = (tmp_path / "r.html").read_text()
    assert text.count('<div class="map">') == 2
    assert "<b>stage 1</b>: all vectors are equal, nothing to lay out" in text


def test_the_page_names_all_settings_of_its_figures(tmp_path: Path) -> None:
    drawn = drawn_evaluation(people=6)
    write_report(tmp_path / "r.html", drawn)
    plain = (tmp_path / "r.html").read_text()
    assert "Euclidean distance; crops unknown; average precision by the official rule." in plain
    assert "re-ranked" not in plain
    gallery = replace(drawn.gallery, crops=10, pooling="max")
    samples = [replace(drawn.benchmark.gallery[0], images=(Path("/nowhere/1.jpg"), Path("/nowhere/2.jpg")))]
    benchmark = replace(drawn.benchmark, gallery=(*samples, *drawn.benchmark.gallery[1:]))
    special = replace(drawn, benchmark=benchmark, gallery=gallery, metric="KISSME", rerank=Reranking())
    write_report(tmp_path / "r.html", replace(special, multi_query="mean"), embedding_maps=True)
    text = (tmp_path / "r.html").read_text()
    assert "Learnt distance (at the last by KISSME); 10 crops; tracklets pooled by max; multi-query by mean;" in text
    assert f"official rule; {Reranking()}; every query knows all others" in text
    assert text.count("The distances are the original ones, not the re-ranked.") == 2
    assert "learnt distance</text>" in text


def test_the_same_evaluation_gives_the_same_page(tmp_path: Path) -> None:
    evaluation = drawn_evaluation()
    for name in "ab":
        write_report(tmp_path / name, evaluation, embedding_maps=True)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_cosine_distances_are_measured_as_such(benchmark: Benchmark, embeddings: Embeddings, tmp_path: Path) -> None:
    write_report(tmp_path / "r.html", evaluate(embeddings, benchmark, distance="cosine"))
    text = (tmp_path / "r.html").read_text()
    assert "distance of vectors of length 1</text>" in text  # as `dare threshold` measures them
    assert "Cosine distance (Euclidean, of vectors of length 1)" in text
    assert "Euclidean distance" not in text
