"""Thresholds, errors and probabilities against sorts, closed forms of normal vectors, and tables."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import binomtest, chi2

from dare.retrieval.labels import Labels
from dare.verification.decisions import equal_error_rate, errors_at, find_threshold, threshold_at
from dare.verification.pairs import Pairs
from dare.verification.rates import Curve, Errors, LikelihoodRatios, MatchThreshold, Rate

SIZE = 4
NEAR, FAR = math.sqrt(2) * 0.5, math.sqrt(2) * math.sqrt(1 + 0.5**2)
"""Per direction, by how much two vectors of one person and of two people differ: people are drawn around 0 with a
standard deviation of 1, their vectors around them with 0.5. Distances divided by these are chi with `SIZE` degrees of
freedom."""


def drawn(people: int = 60, each: int = 4, seed: int = 0, copies: int = 1) -> Pairs:
    """Normal vectors, each person's half as queries at one camera, half as entries at another."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(1, people + 1), each)
    centres = random.normal(size=(people, SIZE))[labels - 1]
    q, g = (centres + 0.5 * random.normal(size=(len(labels), SIZE)) for _ in range(2))
    rows = np.tile(np.arange(len(labels)), copies)
    people_of_rows = labels[rows]
    return Pairs(q[rows], g[rows], *(Labels(people_of_rows, np.full(len(rows), camera)) for camera in (1, 2)))


def whole(seed: int = 0) -> tuple[Pairs, NDArray[np.float32], NDArray[np.float32]]:
    """Pairs of vectors of whole numbers, of which many are as far apart, and both kinds of distances, sorted."""
    random = np.random.default_rng(seed)
    q, g = random.integers(-6, 7, (250, 2)), random.integers(-6, 7, (300, 2))
    query, gallery = (Labels(random.integers(1, 30, len(v)), random.integers(1, 4, len(v))) for v in (q, g))
    distances = np.sqrt(np.square(q[:, None] - g[None]).sum(2)).astype(np.float32)
    same = query.people[:, None] == gallery.people[None]
    crossing = query.cameras[:, None] != gallery.cameras[None]
    return Pairs(q, g, query, gallery), np.sort(distances[same & crossing]), np.sort(distances[~same])


@pytest.mark.parametrize("rate", [0.0002, 0.001, 0.03, 0.5, 0.999])
def test_the_threshold_is_the_largest_that_keeps_the_rate(rate: float) -> None:
    pairs, genuine, impostors = whole()
    found = find_threshold(pairs, rate, seed=0)
    assert (impostors < found.distance).mean() <= rate
    higher = np.nextafter(np.float32(found.distance), np.float32(np.inf))
    assert (impostors < higher).mean() > rate
    assert found.low <= found.distance <= found.high
    errors = errors_at(pairs, found.distance, seed=0)
    assert errors.false_match.value == (impostors < found.distance).mean()
    assert errors.false_match.pairs == len(impostors)
    assert errors.false_non_match.value == (genuine >= found.distance).mean()
    assert errors.false_non_match.pairs == len(genuine)
    for each in (errors.false_match, errors.false_non_match):
        assert 0 <= each.low <= each.value <= each.high <= 1


@pytest.mark.parametrize("seed", range(5))
def test_the_equal_error_rate_is_where_both_errors_meet(seed: int) -> None:
    pairs, genuine, impostors = whole(seed)
    thresholds = np.append(np.unique(np.concatenate([genuine, impostors])), np.inf)
    both = [((impostors < t).mean(), (genuine >= t).mean()) for t in thresholds]
    nearest = min(both, key=lambda pair: abs(pair[0] - pair[1]))
    assert equal_error_rate(pairs) == pytest.approx(np.mean(nearest))


def test_a_rate_that_too_few_pairs_speak_of_is_refused() -> None:
    pairs = drawn(people=10)  # 9 x 4 strangers' entries for each of 40 queries
    with pytest.raises(ValueError, match="takes at least 3,000 impostor pairs, got 1,440; ask for"):
        find_threshold(pairs, 0.001, seed=0)
    assert find_threshold(pairs, 0.0022, seed=0).distance > 0
    assert threshold_at(pairs, 0.001) is None
    for rate in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="between 0 and 1"):
            find_threshold(pairs, rate, seed=0)


def test_pairs_of_one_kind_alone_are_refused() -> None:
    alone = Labels(np.array([1, 1]), np.array([1, 2]))
    pairs = Pairs(np.zeros((2, 1)), np.zeros((2, 1)), alone, alone)
    with pytest.raises(ValueError, match=r"2 genuine pairs .* and 0 impostor pairs"):
        find_threshold(pairs, 0.1, seed=0)
    strangers = Labels(np.array([1, 2]), np.array([1, 2]))
    pairs = Pairs(np.zeros((2, 1)), np.zeros((2, 1)), strangers, strangers)
    with pytest.raises(ValueError, match="0 genuine pairs"):
        errors_at(pairs, 1.0, seed=0)


def test_normal_vectors_have_the_threshold_and_errors_of_the_closed_form() -> None:
    pairs = drawn(people=600)
    for rate in (0.001, 0.01, 0.1):
        exact = FAR * math.sqrt(chi2.ppf(rate, SIZE))
        found = find_threshold(pairs, rate, seed=0)
        assert found.low < exact < found.high
        assert found.distance == pytest.approx(exact, rel=0.05)
        missed = errors_at(pairs, found.distance, seed=0).false_non_match
        assert missed.value == pytest.approx(1 - chi2.cdf((found.distance / NEAR) ** 2, SIZE), abs=0.03)

    def gap(distance: float) -> float:
        return float(chi2.cdf((distance / FAR) ** 2, SIZE) - 1 + chi2.cdf((distance / NEAR) ** 2, SIZE))

    meets = brentq(gap, 0.1, 10)
    assert equal_error_rate(pairs) == pytest.approx(chi2.cdf((meets / FAR) ** 2, SIZE), abs=0.01)


def exact_ratio(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log of how much likelier a distance is for one person than for two."""
    squares = np.square(distances)
    ratio: NDArray[np.float64] = SIZE * math.log(FAR / NEAR) - squares / 2 * (1 / NEAR**2 - 1 / FAR**2)
    return ratio


@pytest.mark.parametrize("prior", [0.02, 0.5, 0.9])
def test_probabilities_are_those_of_the_closed_form_on_other_people(prior: float) -> None:
    pairs, others = drawn(people=600), drawn(people=600, seed=100)
    calibration = LikelihoodRatios.of(pairs.counts, pairs.genuine_people, pairs.impostor_couples)
    distances = np.linspace(0.3, 3.5, 50)
    exact = 1 / (1 + np.exp(-exact_ratio(distances) - math.log(prior / (1 - prior))))
    assert np.abs(calibration.probability(distances, prior) - exact).mean() < 0.02
    counts = others.counts
    assert calibration.error(counts, prior) < 0.015
    true = LikelihoodRatios(distances, exact_ratio(distances))
    assert true.error(counts, prior) < 0.015


def test_wrong_probabilities_have_a_large_calibration_error() -> None:
    counts = drawn(people=300).counts
    sure = LikelihoodRatios(np.array([0.0, 1e-3]), np.array([3.0, 3.0]))  # says 0.95 whatever the distance
    assert sure.error(counts, 0.5) == pytest.approx(1 / (1 + math.exp(-3)) - 0.5, abs=1e-6)


def test_the_fit_is_the_slope_of_the_roc_curves_convex_hull() -> None:
    """Within every block of the regression the likelihood ratio is that of the block; found here by a slow hull."""
    pairs = drawn(people=30)
    counts = pairs.counts
    genuine, impostors = counts.genuine / counts.genuine.sum(), counts.impostors / counts.impostors.sum()
    genuine[-1] += 1 / pairs.genuine_people
    impostors[0] += 1 / pairs.impostor_couples
    points = np.stack([np.append(0, np.cumsum(impostors)), np.append(0, np.cumsum(genuine))], axis=1)
    slopes, here = [], 0
    while here < len(points) - 1:
        steps = points[here + 1 :] - points[here]
        steepest = max(range(len(steps)), key=lambda n: (math.atan2(steps[n][1], steps[n][0]), n))
        slopes.append(steps[steepest][1] / steps[steepest][0])
        here += steepest + 1
    found = LikelihoodRatios.of(counts, pairs.genuine_people, pairs.impostor_couples)
    np.testing.assert_allclose(np.unique(np.exp(found.log_likelihood_ratios)), np.unique(slopes), rtol=1e-6)


def test_probabilities_fall_with_distance_and_are_never_certain() -> None:
    pairs = drawn(people=40)
    calibration = LikelihoodRatios.of(pairs.counts, pairs.genuine_people, pairs.impostor_couples)
    chances = calibration.probability(np.linspace(0, 100, 1000), 0.5)
    assert (np.diff(chances) <= 0).all()
    assert 0 < chances[-1] < 0.1
    assert 0.9 < chances[0] < 1
    for prior in (0.0, 1.0, 1e-320, math.nan):
        with pytest.raises(ValueError, match="a prior probability is between 0 and 1"):
            calibration.probability(1.0, prior)


def test_another_prior_moves_the_odds_and_nothing_else() -> None:
    pairs = drawn(people=40)
    calibration = LikelihoodRatios.of(pairs.counts, pairs.genuine_people, pairs.impostor_couples)
    even, rare = (calibration.probability(np.linspace(0.5, 3, 9), prior) for prior in (0.5, 0.01))
    np.testing.assert_allclose(rare / (1 - rare), even / (1 - even) / 99)


def test_more_pictures_of_the_same_people_make_no_rate_surer() -> None:
    once, often = drawn(people=25), drawn(people=25, copies=5)
    threshold = find_threshold(once, 0.05, seed=0).distance
    few, many = (errors_at(pairs, threshold, seed=0) for pairs in (once, often))
    for rate, again in ((few.false_match, many.false_match), (few.false_non_match, many.false_non_match)):
        assert again.pairs == 25 * rate.pairs
        assert again.high - again.low == pytest.approx(rate.high - rate.low, rel=1e-9)
    wrong = round(many.false_match.value * many.false_match.pairs)
    independent = binomtest(wrong, many.false_match.pairs).proportion_ci()
    assert many.false_match.high - many.false_match.low > 3 * (independent.high - independent.low)


def test_where_nothing_went_wrong_the_interval_is_that_of_as_many_couples() -> None:
    pairs = drawn(people=25, copies=3)
    errors = errors_at(pairs, 0.0, seed=0)
    assert (errors.false_match.value, errors.false_non_match.value) == (0, 1)
    assert errors.couples == 25 * 24 // 2
    assert errors.false_match.high == pytest.approx(1 - 0.025 ** (1 / 300))
    assert errors.false_non_match.low == pytest.approx(0.025 ** (1 / 25))


def test_intervals_hold_the_truth_about_as_often_as_they_promise() -> None:
    threshold = FAR * math.sqrt(chi2.ppf(0.02, SIZE))
    missed = 1 - chi2.cdf((threshold / NEAR) ** 2, SIZE)
    held = [0, 0]
    for seed in range(60):
        pairs = drawn(people=40, each=2, seed=1000 + 2 * seed)
        errors = errors_at(pairs, threshold, seed=seed)
        held[0] += errors.false_match.low <= 0.02 <= errors.false_match.high
        held[1] += errors.false_non_match.low <= missed <= errors.false_non_match.high
    assert min(held) >= 52  # of 57 expected; fewer than 52 have a chance of 1 in 100


def test_a_curve_falls_in_one_error_as_it_rises_in_the_other() -> None:
    pairs, genuine, impostors = whole()
    curve = Curve.of(pairs.counts)
    assert (np.diff(curve.distances) > 0).all()
    for threshold, matches, misses in zip(curve.distances, curve.false_match, curve.false_non_match, strict=True):
        assert matches == pytest.approx((impostors < threshold).mean())
        assert misses == pytest.approx((genuine >= threshold).mean())
    assert (curve.false_match[-1], curve.false_non_match[-1]) == (1, 0)


def test_rates_are_written_with_the_digits_they_have() -> None:
    assert str(Rate(0.001, 0.00079, 0.00128, 10**7)) == "0.100 [0.079, 0.128]"
    assert str(Rate(0.5042, 0.474, 0.531, 10**4)) == "50.4 [47.4, 53.1]"
    assert str(Rate(0.0, 0.0, 0.0, 10)) == "0.0 [0.0, 0.0]"


def test_what_cannot_have_been_measured_is_refused() -> None:
    rate = Rate(0.1, 0.0, 0.2, 100)
    for numbers in ((0.1, 0.2, 0.3, 5), (0.1, 0.0, 1.5, 5), (math.nan, 0.0, 1.0, 5), (0.1, 0.0, 0.2, 0)):
        with pytest.raises(ValueError, match="Rate"):
            Rate(*numbers)
    for ends in ((math.nan, 0, 1), (-1, -2, 1), (1, 2, 3), (1, 0, math.inf)):
        with pytest.raises(ValueError, match="Threshold"):
            MatchThreshold(*ends)
    with pytest.raises(ValueError, match="Errors"):
        Errors(rate, rate, 1.1, 1, 1)
    with pytest.raises(ValueError, match="rates, from 0 to 1"):
        Curve(np.array([1.0]), np.array([2.0]), np.array([0.0]))


def test_a_calibration_checks_itself() -> None:
    for distances, ratios, message in (
        ([1, 1], [2, 1], "increase"),
        ([1, 2], [1, 2], "increase"),
        ([1], [math.nan], "finite"),
        ([1, 2], [1], "one ratio per distance"),
    ):
        with pytest.raises(ValueError, match=message):
            LikelihoodRatios(np.asarray(distances), np.asarray(ratios))
