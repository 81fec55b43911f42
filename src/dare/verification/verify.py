"""Is this the same person? A threshold for a rate of false matches and a calibrated probability, at every exit.

`fit_verifier` finds them on a random half of a data set's people, and measures them on the other half.
`Verifier.same_person` answers for two vectors, `compare` for two pictures.
"""

from collections.abc import Callable
from itertools import islice
from typing import Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dare.datasets.sample import DISTRACTOR, JUNK
from dare.evaluation.evaluate import Evaluation
from dare.evaluation.stages import Distance
from dare.gallery.store import MismatchError
from dare.images.preparation import Prepared, prepare, ten_crops
from dare.images.reading import Query, pixels_of, prepared
from dare.retrieval.distances import another_model, normalised
from dare.retrieval.embeddings import Embeddings
from dare.runners.runner import Runner
from dare.verification.decisions import errors_at, find_threshold
from dare.verification.pairs import Pairs
from dare.verification.rates import Curve, LikelihoodRatios, check_prior, check_rate
from dare.verification.verifier import ExitVerifier, Verdict, Verifier


def fit_verifier(
    evaluation: Evaluation,
    *,
    false_match_rate: float = 0.001,
    prior: float = 0.5,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Verifier:
    """Find thresholds and probabilities on half of a benchmark's people, and measure them on the other half.

    Pairs are the queries and gallery entries that scoring compares: not junk, not one person at one camera;
    distractors are strangers. Query people are halved at random, and so are distractors and people in the gallery
    only; pairs across the halves are not used. Where exits share a space, an entry's vector is of the last exit.

    Args:
        evaluation: of the network's own distances: no learnt metric, no re-ranking, no multi-query.
        false_match_rate: the share of impostor pairs that may be taken for one person.
        prior: how likely two pictures show one person before anybody looks.
        seed: of the halves and of the bootstrap.
        on_progress: called with exits done and in all.

    Raises:
        ValueError: fewer than four people among the queries, too few impostor pairs for the rate, no genuine pairs.
    """
    check_settings(false_match_rate, prior, seed)
    for given, what in (
        (evaluation.metric, "a learnt metric"),
        (evaluation.rerank, "re-ranking"),
        (evaluation.multi_query, "multi-query"),
    ):
        if given:
            raise ValueError(
                f"thresholds are for pairs of a network's own vectors, got an evaluation with {what}; leave it out"
            )
    sides = _halves(evaluation.query, evaluation.gallery, seed)
    names = [result.name for result in evaluation.exits]
    exits = []
    for number, name in enumerate(names):
        known, others = (_pairs(query, gallery, number, evaluation.distance) for query, gallery in sides)
        threshold = find_threshold(known, false_match_rate, seed)
        ratios = LikelihoodRatios.of(known.counts, known.genuine_people, known.impostor_couples)
        fitted, measured = (errors_at(pairs, threshold.distance, seed) for pairs in (known, others))
        error, curve = ratios.error(others.counts, prior), Curve.of(others.counts)
        size = evaluation.query.exits()[number].shape[1]
        exits.append(ExitVerifier(name, size, threshold, ratios, fitted, measured, error, curve))
        on_progress(number + 1, len(names))
    return Verifier(
        evaluation.query.model,
        tuple(exits),
        false_match_rate,
        prior,
        evaluation.distance,
        cast(Literal[1, 10], evaluation.query.crops),
        cast(Literal["", "unknown", "mean", "max"], evaluation.tracklets),
        {
            "data": evaluation.benchmark.name,
            "seed": seed,
            "people": exits[0].fitted.people,
            "other_people": exits[0].measured.people,
            **({"note": evaluation.trained_on} if evaluation.trained_on else {}),
        },
        evaluation.query.space,
    )


def check_settings(false_match_rate: float, prior: float, seed: int) -> None:
    """Raise the ValueError of `fit_verifier` before any work is done."""
    check_rate(false_match_rate)
    check_prior(prior)
    if seed < 0:
        raise ValueError(f"a seed is at least 0, got {seed}")


def check_people(asked: ArrayLike) -> NDArray[np.integer]:
    """The distinct people among queries; raises the ValueError of `fit_verifier` if there are too few."""
    people = np.setdiff1d(asked, [JUNK])
    if len(people) < 4:
        raise ValueError(
            f"thresholds are found on half of the people, so queries must show at least four, got {len(people)}"
        )
    return people


def compare(
    first: Query, second: Query, runner: Runner, verifier: Verifier, *, exit: int = -1, prior: float | None = None
) -> Verdict:
    """Whether two pictures show one person; the network runs as far as the exit and no further.

    Where exits share a space the first picture is looked at as a query, which leaves at the exit, and the second one as
    an entry of a gallery, which goes through the whole network.

    Args:
        exit: counted from 0; the last by default.
        prior: as in `Verifier.same_person`.

    Raises:
        MismatchError: the verifier is for another network, or for tracklets.
        UnreadableImageError: a picture cannot be read.
    """
    if not verifier.model or runner.digest != verifier.model:
        advice = "find thresholds for this one with dare threshold"
        raise MismatchError(another_model("the thresholds are", verifier.model, runner.digest, advice))
    if len(verifier.exits) != len(runner.exit_names):
        raise MismatchError(f"thresholds of {len(verifier.exits)} exits, the network has {len(runner.exit_names)}")
    if verifier.tracklets:
        raise MismatchError(
            f"the thresholds are for tracklets (pooling: {verifier.tracklets}), which lie nearer than "
            "single pictures; give the tracklets' vectors to Verifier.same_person, or find thresholds for pictures"
        )
    pair = verifier.exits_of_pair(exit)
    if prior is not None:
        check_prior(prior)
    vectors = [
        np.mean([next(islice(runner.exits(batch), number, None))[0] for batch in _crops(picture, runner, verifier)], 0)
        for picture, number in zip((first, second), pair, strict=True)
    ]
    return verifier.same_person(vectors[0], vectors[1], pair[0], prior=prior)


def _crops(picture: Query, runner: Runner, verifier: Verifier) -> list[NDArray[np.float32]]:
    """A picture as the network takes it, (1, 3, H, W), or its ten crops."""
    if verifier.crops == 1:
        return [prepared(picture, runner.preparation)[None]]
    if isinstance(picture, Prepared):
        raise ValueError(
            f"vectors are means over {verifier.crops} crops, which a prepared picture doesn't have; give its file"
        )
    from dare.images.pixels import resize

    size = runner.preparation
    pixels = resize(pixels_of(picture), *size.uncropped)[None]
    return [prepare(crop, size) for crop in ten_crops(pixels, size.height, size.width)]


def _halves(query: Embeddings, gallery: Embeddings, seed: int) -> list[tuple[Embeddings, Embeddings]]:
    """Query and gallery rows of two halves of the people."""
    asked = check_people(query.people)
    random = np.random.default_rng(seed)
    chosen = _half(asked, random)
    alone = _half(np.setdiff1d(gallery.people, [*asked, JUNK, DISTRACTOR]), random)
    in_first = np.isin(gallery.people, [*chosen, *alone])
    if DISTRACTOR not in asked:
        in_first[_half(np.flatnonzero(gallery.people == DISTRACTOR), random)] = True
    asked_in_first = np.isin(query.people, chosen)
    return [
        (query.rows(np.flatnonzero(asked_in_first == side)), gallery.rows(np.flatnonzero(in_first == side)))
        for side in (True, False)
    ]


def _half(values: NDArray[np.integer], random: np.random.Generator) -> NDArray[np.integer]:
    return random.permutation(values)[: len(values) // 2]


def _pairs(query: Embeddings, gallery: Embeddings, exit: int, distance: Distance) -> Pairs:
    q, g = query.exits_against(gallery)[exit]
    vectors = (normalised(q), normalised(g)) if distance == "cosine" else (q, g)
    return Pairs(*vectors, query, gallery)
