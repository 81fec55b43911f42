"""The report shows curves, distances, maps and where the network looked, in one file that loads nothing."""

import re
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import pytest
from experiments.streams import drawn_evaluation

from dare import Benchmark, Embeddings, Evaluation, embed, evaluate, load_checkpoint, open_benchmark, open_runner
from dare.models.activation_maps import maps_of_picture
from dare.report import FALSE_MATCH_RATE, write_report
from dare.retrieval.pair_distances import pair_distances


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
    assert "Without activation maps: these take the network itself" in text


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
    write_report(tmp_path / "r.html", evaluation, embedding_maps=True)
    labels = [drawing.get("aria-label") or "" for drawing in Page((tmp_path / "r.html").read_text()).all("svg")]
    (curves,) = (label for label in labels if label.startswith("Percent of the queries with a right answer"))
    for result, q, g in zip(evaluation.exits, evaluation.query.exits(), evaluation.gallery.exits(), strict=True):
        assert f"{result.name}: {100 * result.scores.cmc(1):.1f} at rank 1" in curves
        (distances,) = (label for label in labels if label.startswith(f"Distances at {result.name}: "))
        threshold = pair_distances(q, g, evaluation.query, evaluation.gallery).threshold(FALSE_MATCH_RATE)
        assert f"mark at {threshold:.3g}: 0.1 % of others" in distances
        assert any(
            re.match(rf"\d+ vectors of 12 people at {result.name}, laid out by t-SNE", label) for label in labels
        )


def test_small_sets_have_a_page_too(
    benchmark: Benchmark, embeddings: Embeddings, evaluation: Evaluation, tmp_path: Path
) -> None:
    few = evaluate(embeddings, benchmark, skipped=evaluation.gallery.ids)
    write_report(tmp_path / "r.html", few, embedding_maps=True)
    assert "there is nothing to show" in (tmp_path / "r.html").read_text()
    write_report(tmp_path / "r.html", evaluation)
    assert "too few pairs for a mark at 0.1 %" in (tmp_path / "r.html").read_text()


def test_the_same_evaluation_gives_the_same_page(tmp_path: Path) -> None:
    evaluation = drawn_evaluation()
    for name in "ab":
        write_report(tmp_path / name, evaluation, embedding_maps=True)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_cosine_distances_are_measured_as_such(benchmark: Benchmark, embeddings: Embeddings, tmp_path: Path) -> None:
    write_report(tmp_path / "r.html", evaluate(embeddings, benchmark, distance="cosine"))
    text = (tmp_path / "r.html").read_text()
    assert "cosine distance</text>" in text
    assert "Euclidean" not in text
