"""Thresholds found on half of the people hold on the others, and belong to one network."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import reseal, save_picture

from dare.anytime.records import MeasurementError
from dare.datasets import Benchmark, Sample
from dare.evaluation.evaluate import Evaluation, evaluate
from dare.gallery.store import MismatchError
from dare.images.preparation import Preparation, Prepared
from dare.images.reading import UnreadableImageError, prepared
from dare.retrieval.distances import Space
from dare.retrieval.embeddings import Embeddings
from dare.retrieval.metrics import kissme
from dare.retrieval.reranking import Reranking
from dare.verification.rates import Curve, Errors, LikelihoodRatios, MatchThreshold, Rate
from dare.verification.verifier import ExitVerifier, Verifier, load_verifier, save_verifier
from dare.verification.verify import compare, fit_verifier

MODEL = "a" * 64


def evaluation(
    people: int = 40, seed: int = 0, distractors: int = 30, crops: int = 1, space: Space = "own"
) -> Evaluation:
    """Normal vectors of people seen by two cameras, at two exits of which the second is better; nobody has pictures."""
    random = np.random.default_rng(seed)

    def samples(split: str, labels: np.ndarray[Any, Any], cameras: np.ndarray[Any, Any]) -> tuple[Sample, ...]:
        rows = enumerate(zip(labels.tolist(), cameras.tolist(), strict=True))
        return tuple(Sample((Path(f"/data/{split}/{row}.jpg"),), person, camera) for row, (person, camera) in rows)

    asked = np.repeat(np.arange(1, people + 1), 3)
    listed = np.concatenate([asked, np.zeros(distractors, np.int64), np.full(7, -1), np.repeat(people + 1, 4)])
    query = samples("query", asked, np.ones_like(asked))
    gallery = samples("gallery", listed, np.arange(len(listed)) % 3 + 1)
    benchmark = Benchmark("made up", (), query, gallery, Path("/data"))
    labels = np.concatenate([asked, listed])
    centres = random.normal(size=(people + 2, 6))[labels]
    lonely = labels < 1
    centres[lonely] = random.normal(size=(lonely.sum(), 6))
    stages = tuple((centres + spread * random.normal(size=centres.shape)).astype(np.float32) for spread in (0.7, 0.3))
    ids = benchmark.identify((*query, *gallery))
    cameras = np.zeros(len(labels))
    return evaluate(Embeddings(stages, None, ids, labels, cameras, MODEL, crops=crops, space=space), benchmark)


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return fit_verifier(evaluation(), false_match_rate=0.01)


def test_half_of_the_people_find_what_holds_on_the_others(verifier: Verifier) -> None:
    assert [at.name for at in verifier.exits] == ["stage 1", "stage 2"]
    for at in verifier.exits:
        assert at.fitted.people == at.measured.people == 20
        assert at.fitted.false_match.value <= 0.01
        assert at.measured.false_match.low <= 0.01 <= at.measured.false_match.high
        assert at.calibration_error < 0.1
    first, second = verifier.exits
    assert second.measured.false_non_match.high < first.measured.false_non_match.low
    assert second.measured.equal_error < first.measured.equal_error
    pairs = verifier.exits[0].fitted.false_match.pairs + verifier.exits[0].measured.false_match.pairs
    assert pairs == 2 * 60 * (60 + 15 - 3) + 60 * 4  # of the half's entries, distractors too; and of the person alone
    assert verifier.notes == []


def test_in_one_space_a_querys_vector_of_the_exit_is_paired_with_an_entrys_of_the_last() -> None:
    """As if each exit had a space of its own, in which entries look as they do at the last exit."""
    shared = evaluation(space="shared")
    gallery = replace(shared.gallery, stages=(shared.gallery.stages[-1],) * 2, space="own")
    by_hand = replace(shared, query=replace(shared.query, space="own"), gallery=gallery)
    found, expected = (fit_verifier(one, false_match_rate=0.01) for one in (shared, by_hand))
    assert (found.space, expected.space) == ("shared", "own")
    for at, wanted in zip(found.exits, expected.exits, strict=True):
        assert (at.threshold, at.fitted, at.measured) == (wanted.threshold, wanted.fitted, wanted.measured)
    assert found.exits[0].threshold != fit_verifier(evaluation(), false_match_rate=0.01).exits[0].threshold
    assert [found.exits_of_pair(exit) for exit in (0, 1, -1)] == [(0, 1), (1, 1), (1, 1)]
    assert [expected.exits_of_pair(exit) for exit in (0, 1, -1)] == [(0, 0), (1, 1), (1, 1)]


def test_the_seed_draws_the_halves() -> None:
    made_up = evaluation()
    first, again, other = (fit_verifier(made_up, false_match_rate=0.01, seed=seed).exits[0] for seed in (0, 0, 1))
    assert first.threshold == again.threshold
    assert first.threshold != other.threshold


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    fit_verifier(evaluation(), false_match_rate=0.01, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]


def test_scarce_people_and_rates_that_do_not_hold_are_noted(verifier: Verifier) -> None:
    few = fit_verifier(evaluation(people=8, distractors=0), false_match_rate=0.03)
    assert "a rate of 0.03 takes impostor pairs of 100 couples of people (rule of three), got 6" in few.notes[0]
    at = verifier.exits[0]
    wrong = replace(at, measured=replace(at.measured, false_match=Rate(0.05, 0.04, 0.06, 10_000)))
    notes = replace(verifier, exits=(wrong,)).notes
    assert notes == ["stage 1: 5.00 [4.00, 6.00] % false matches on the other people, not what was asked for"]


def test_what_no_threshold_can_be_found_on_is_refused() -> None:
    made_up = evaluation()
    with pytest.raises(ValueError, match="takes at least 300,000 impostor pairs"):
        fit_verifier(made_up, false_match_rate=1e-5)
    with pytest.raises(ValueError, match="queries must show at least four, got 3"):
        fit_verifier(evaluation(people=3))
    with pytest.raises(ValueError, match="a seed is at least 0"):
        fit_verifier(made_up, seed=-1)
    with pytest.raises(ValueError, match="a prior probability is between 0 and 1"):
        fit_verifier(made_up, prior=1.0)
    with pytest.raises(ValueError, match="a false match rate is between 0 and 1"):
        fit_verifier(made_up, false_match_rate=1.0)
    for setting, what in (
        ({"metric": "KISSME"}, "a learnt metric"),
        ({"rerank": Reranking()}, "re-ranking"),
        ({"multi_query": "mean"}, "multi-query"),
    ):
        with pytest.raises(ValueError, match=f"got an evaluation with {what}; leave it out"):
            fit_verifier(replace(made_up, **setting))


def test_two_vectors_are_one_person_below_the_threshold_alone() -> None:
    verifier = by_hand()
    origin, across = np.zeros(3), np.array([3.0, 4.0, 0.0])
    at_threshold = verifier.same_person(origin, across, 0)
    assert (at_threshold.same, at_threshold.distance, at_threshold.threshold) == (False, 5.0, 5.0)
    below = verifier.same_person(origin, 0.99 * across, 0)
    assert below.same
    assert below.probability > at_threshold.probability
    assert at_threshold.probability == pytest.approx(0.5)  # log ratio 0, prior 0.5
    assert verifier.same_person(origin, across, 0, prior=0.2).probability == pytest.approx(0.2)
    assert verifier.same_person(np.zeros(2), np.ones(2)).exit == 1
    assert verifier.same_person(np.zeros(2), np.ones(2), -1).exit == 1


def test_cosine_verifiers_scale_vectors_first() -> None:
    verifier = replace(by_hand(), distance="cosine")
    verdict = verifier.same_person(np.array([2.0, 0.0, 0.0]), np.array([0.0, 9.0, 0.0]), 0)
    assert verdict.distance == pytest.approx(np.sqrt(2))
    with pytest.raises(ValueError, match="vector 1 is zero"):
        verifier.same_person(np.ones(3), np.zeros(3), 0)


def test_vectors_that_cannot_be_of_the_exit_are_refused() -> None:
    verifier = by_hand()
    with pytest.raises(ValueError, match="expected two vectors of 3 finite numbers, as stage 1 gives, got 3 and 2"):
        verifier.same_person(np.zeros(3), np.zeros(2), 0)
    for wrong in (np.nan, 1j):
        with pytest.raises(ValueError, match="got NaN, infinity or complex numbers"):
            verifier.same_person(np.zeros(2), np.full(2, wrong))
    with pytest.raises(ValueError, match="there are 2 exits, counted from 0, got 2"):
        verifier.same_person(np.zeros(2), np.zeros(2), 2)
    with pytest.raises(ValueError, match="at least 1 item"):
        replace(verifier, exits=())
    with pytest.raises(ValueError, match="'euclidean' or 'cosine'"):
        replace(verifier, distance="cos")


def by_hand() -> Verifier:
    """Two exits of 3 and 2 dimensions, thresholds 5 and 1."""
    nothing = Rate(0.1, 0.0, 0.2, 100)
    errors = Errors(nothing, nothing, 0.1, 10, 45)
    curve = Curve(np.array([1.0]), np.array([0.5]), np.array([0.5]))

    def at(name: str, size: int, distance: float) -> ExitVerifier:
        ratios = LikelihoodRatios(np.array([0.0, 2 * distance]), np.array([4.0, -4.0]))
        return ExitVerifier(name, size, MatchThreshold(distance, 0.9, 9.0), ratios, errors, errors, 0.01, curve)

    exits = at("stage 1", 3, 5.0), at("stage 2", 2, 1.0)
    return Verifier(MODEL, exits, 0.1, 0.5, "euclidean", 1, "", {"data": "none"})


def test_a_file_answers_as_what_it_was_written_from(verifier: Verifier, tmp_path: Path) -> None:
    save_verifier(tmp_path / "t.json", verifier)
    read = load_verifier(tmp_path / "t.json", MODEL)
    random = np.random.default_rng(0)
    for first, second in random.normal(size=(20, 2, 6)):
        for exit in (0, 1):
            assert read.same_person(first, second, exit) == verifier.same_person(first, second, exit)
    assert read.exits[0].threshold == verifier.exits[0].threshold
    assert (read.exits[0].fitted, read.exits[0].measured) == (verifier.exits[0].fitted, verifier.exits[0].measured)
    np.testing.assert_allclose(read.exits[0].curve.false_match, verifier.exits[0].curve.false_match, rtol=1e-5)
    assert read.about == {"data": "made up", "seed": 0, "people": 20, "other_people": 20}
    assert (tmp_path / "t.json").stat().st_size < 100_000


def test_a_file_says_which_pairs_its_thresholds_are_for_and_an_old_one_is_of_one_exit(
    verifier: Verifier, tmp_path: Path
) -> None:
    for space in ("own", "shared"):
        save_verifier(tmp_path / "t.json", replace(verifier, space=space))  # type: ignore[arg-type]
        assert load_verifier(tmp_path / "t.json", MODEL).space == space
    content = json.loads((tmp_path / "t.json").read_text())
    del content["space"]
    (tmp_path / "t.json").write_text(json.dumps(content))
    reseal(tmp_path / "t.json")
    assert load_verifier(tmp_path / "t.json", MODEL).space == "own"


def test_thresholds_of_another_or_an_unknown_network_are_refused(verifier: Verifier, tmp_path: Path) -> None:
    save_verifier(tmp_path / "t.json", verifier)
    with pytest.raises(MeasurementError, match="thresholds of model aaaaaaaaaaaa, this is model bbbbbbbbbbbb"):
        load_verifier(tmp_path / "t.json", "b" * 64)
    with pytest.raises(MeasurementError, match="don't say to which"):
        save_verifier(tmp_path / "u.json", replace(verifier, model=""))
    assert not (tmp_path / "u.json").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content.pop("prior"),
        lambda content: content["exits"][0].pop("threshold"),
        lambda content: content["exits"][0]["calibration"].update(distances=[2, 1], log_likelihood_ratios=[1, 0]),
        lambda content: content.update(exits=[]),
        lambda content: content.update(prior="half"),
        lambda content: content["exits"][0].update(more=1),
        lambda content: content.update(format=2),
        lambda content: content.update(crops=0),
        lambda content: content.update(tracklets=None),
        lambda content: content.update(false_match_rate=2),
        lambda content: content["exits"][0].update(dimensions="3"),
        lambda content: content.update(space="both"),
        lambda content: content.update(space="shared"),  # of exits of two sizes
        lambda content: content["exits"][0]["threshold"].update(distance=float("nan")),
        lambda content: content["exits"][0]["threshold"].update(distance=None),
        lambda content: content["exits"][0]["measured"]["false_match"].update(value="x"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, damage: Any) -> None:
    save_verifier(tmp_path / "t.json", by_hand())
    content = json.loads((tmp_path / "t.json").read_text())
    damage(content)
    (tmp_path / "t.json").write_text(json.dumps(content))
    with pytest.raises(MeasurementError, match="write it again with dare threshold"):
        load_verifier(tmp_path / "t.json", MODEL)
    with pytest.raises(MeasurementError, match="dare threshold writes it"):
        load_verifier(tmp_path / "none.json", MODEL)


class MeanColours:
    """A network of two exits; the second is never to be run."""

    exit_names = ("stage 1", "stage 2")
    preparation = Preparation(32, 16)
    digest = MODEL

    def exits(self, images: Any) -> Any:
        yield images.mean((2, 3))
        raise AssertionError("the second exit was run")


def test_pictures_are_compared_at_an_exit_and_no_further(tmp_path: Path) -> None:
    first, second = (save_picture(tmp_path / f"{seed}.jpg", seed) for seed in (1, 2))
    runner: Any = MeanColours()
    itself = compare(first, first, runner, by_hand(), exit=0)
    assert itself.same
    assert itself.distance == 0
    other = compare(first, second, runner, by_hand(), exit=0, prior=0.01)
    assert other.distance > 0
    assert other.prior == 0.01
    ten = compare(first, second, runner, replace(by_hand(), crops=10), exit=0)
    assert 0 < ten.distance != other.distance


def test_in_one_space_the_first_picture_leaves_at_the_exit_and_the_second_goes_through(tmp_path: Path) -> None:
    class Doubling(MeanColours):
        def exits(self, images: Any) -> Any:
            yield images.mean((2, 3))
            yield 2 * images.mean((2, 3))

    first, second = (save_picture(tmp_path / f"{seed}.jpg", seed) for seed in (1, 2))
    runner: Any = Doubling()
    alike = replace(by_hand().exits[0], name="stage 2")
    shared = replace(by_hand(), exits=(by_hand().exits[0], alike), space="shared")
    inputs = [prepared(picture, runner.preparation)[None] for picture in (first, second)]
    early, late = ([list(runner.exits(images))[exit][0] for images in inputs] for exit in (0, 1))
    for exit, vectors in ((0, (early[0], late[1])), (1, (late[0], late[1]))):
        verdict = compare(first, second, runner, shared, exit=exit)
        assert verdict.distance == pytest.approx(float(np.linalg.norm(vectors[0] - vectors[1])))
        assert verdict.exit == exit
    in_own = compare(first, second, runner, replace(shared, space="own"), exit=0)
    assert in_own.distance == pytest.approx(float(np.linalg.norm(early[0] - early[1])))


def test_pictures_of_another_network_or_unreadable_ones_are_refused(tmp_path: Path) -> None:
    picture = save_picture(tmp_path / "1.jpg")
    runner: Any = MeanColours()
    with pytest.raises(MismatchError, match="the thresholds are of model bbbbbbbbbbbb, this is model aaaaaaaaaaaa"):
        compare(picture, picture, runner, replace(by_hand(), model="b" * 64))
    with pytest.raises(MismatchError, match="unknown"):
        compare(picture, picture, runner, replace(by_hand(), model=""))
    with pytest.raises(MismatchError, match="thresholds of 1 exits, the network has 2"):
        compare(picture, picture, runner, replace(by_hand(), exits=by_hand().exits[:1]))
    with pytest.raises(MismatchError, match=r"the thresholds are for tracklets \(pooling: max\)"):
        compare(picture, picture, runner, replace(by_hand(), tracklets="max"))
    with pytest.raises(UnreadableImageError):
        compare(picture, tmp_path / "none.jpg", runner, by_hand(), exit=0)
    with pytest.raises(ValueError, match="means over 10 crops"):
        compare(Prepared(np.zeros((3, 32, 16), np.float32)), picture, runner, replace(by_hand(), crops=10), exit=0)


def test_a_learnt_metric_is_of_no_thresholds() -> None:
    """What `same_person` is given are the network's own vectors."""
    made_up = evaluation()
    samples = tuple(sample for sample in made_up.benchmark.gallery if sample.person > 0)
    benchmark = replace(made_up.benchmark, train=samples)
    both = Embeddings(
        tuple(np.concatenate(pair) for pair in zip(made_up.query.stages, made_up.gallery.stages, strict=True)),
        None,
        (*made_up.query.ids, *made_up.gallery.ids),
        np.concatenate([made_up.query.people, made_up.gallery.people]),
        np.concatenate([made_up.query.cameras, made_up.gallery.cameras]),
    )
    with pytest.raises(ValueError, match="learnt metric"):
        fit_verifier(evaluate(both, benchmark, metric=kissme))
