"""From distances of pairs to decisions: a threshold for a rate of false matches, its errors, and a probability.

Two pictures are said to show one person if their distance is below the threshold. A *false match* is an impostor pair
below it, a *false non-match* a genuine pair that is not. Every rate comes with a 95 % interval over the people: a
bootstrap draws them anew, with all of their pictures, so an impostor pair counts as often as both of its people were
drawn (Owen, "The pigeonhole bootstrap", 2007). Pairs of the same people are no independent evidence, and this is what
says so. Where the bootstrap has too few errors to draw from, the exact binomial interval takes over.
"""

import math
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator
from pydantic.dataclasses import dataclass

from dare.anytime.records import STRICT
from dare.verification.pairs import Counts, Pairs, lower_bits, value_at

RESAMPLES = 1000
CONFIDENCE = 0.95
RULE_OF_THREE = 3  # no error in n trials says, at 95 %, that their rate is below 3 / n
DRAWN_TOGETHER = 20  # resamples, so that their weights of many people are not all in memory
CALIBRATION_BINS = 15
CURVE_POINTS = 120
LEAST_PRIOR = 1e-12  # one person in more than have ever lived; nearer to 0 or 1 a float64 says nothing else any more


ARRAYS = ConfigDict(**STRICT, arbitrary_types_allowed=True)


def _numbers(values: Any) -> NDArray[np.float64]:
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise ValueError("expected a list of finite numbers")
    return array.astype(np.float64)


Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Distance = Annotated[float, Field(ge=0)]
Array = Annotated[NDArray[np.float64], BeforeValidator(_numbers), PlainSerializer(lambda array: array.tolist())]
# Curves are for drawing: six digits will do.
RoundedArray = Annotated[
    NDArray[np.float64],
    BeforeValidator(_numbers),
    PlainSerializer(lambda array: [float(f"{value:.6g}") for value in array]),
]


@dataclass(frozen=True, config=STRICT)
class Rate:
    """A share of pairs.

    Attributes:
        value: from 0 to 1.
        low, high: its 95 % interval.
        pairs: how many it is a share of.
    """

    value: Share
    low: Share
    high: Share
    pairs: Count

    @model_validator(mode="after")
    def _lies_in_its_interval(self) -> "Rate":
        if not self.low <= self.value <= self.high:
            raise ValueError(f"a rate lies in its interval, got {self.value} in {self.low} to {self.high}")
        return self

    def __str__(self) -> str:
        digits = max(1, 2 - math.floor(math.log10(100 * self.high))) if self.high > 0 else 1
        low, high = (f"{100 * end:.{digits}f}" for end in (self.low, self.high))
        return f"{100 * self.value:.{digits}f} [{low}, {high}]"


@dataclass(frozen=True, eq=False, config=ARRAYS)
class LikelihoodRatios:
    """What a distance says of two pictures: how much likelier it is among genuine pairs than among impostors.

    The ratio does not depend on how many of either there were, so that any prior can be put to it.

    Attributes:
        distances: (K,), increasing.
        log_likelihood_ratios: (K,), not increasing; linear between the distances, constant beyond them.
    """

    distances: Array
    log_likelihood_ratios: Array

    @model_validator(mode="after")
    def _falls(self) -> "LikelihoodRatios":
        if not len(self.distances) or self.distances.shape != self.log_likelihood_ratios.shape:
            raise ValueError(
                f"expected as many ratios as distances, got {len(self.log_likelihood_ratios)} and {len(self.distances)}"
            )
        if (np.diff(self.distances) <= 0).any() or (np.diff(self.log_likelihood_ratios) > 0).any():
            raise ValueError("expected distances that increase, and ratios that don't")
        return self

    @classmethod
    def of(cls, counts: Counts, people: int, couples: int) -> "LikelihoodRatios":
        """Isotonic regression: the best fit that does not rise, which is the slope of the ROC curve's convex hull
        (Fawcett & Niculescu-Mizil, "PAV and the ROC convex hull", 2007).

        One more person as far apart as any pair, and one more couple of people as near, are counted in. So no
        probability is ever 0 or 1, however many pairs there are of few people.

        Args:
            people, couples: of which the genuine and the impostor pairs are.
        """
        from scipy.optimize import isotonic_regression

        genuine, impostors = counts.genuine / counts.genuine.sum(), counts.impostors / counts.impostors.sum()
        genuine[-1] += 1 / people
        impostors[0] += 1 / couples
        weights = genuine + impostors
        fit = isotonic_regression(genuine / weights, weights=weights, increasing=False)
        first = fit.blocks[:-1]
        centres = np.add.reduceat(weights * counts.distances, first) / np.add.reduceat(weights, first)
        share = fit.x[first]
        return cls(centres, np.log(share / (1 - share)))

    def probability(self, distances: NDArray[np.floating] | float, prior: float) -> NDArray[np.float64]:
        """That two pictures so far apart show one person.

        Args:
            distances: of any shape.
            prior: how likely that was before anybody looked, from 1e-12 to 1 - 1e-12.
        """
        from scipy.special import expit, logit

        check_prior(prior)
        ratios = np.interp(distances, self.distances, self.log_likelihood_ratios)
        chances: NDArray[np.float64] = expit(ratios + logit(prior))
        return chances

    def error(self, counts: Counts, prior: float) -> float:
        """Expected calibration error on pairs: by how much probabilities miss the share of genuine pairs, in the mean
        over pairs of which a share of `prior` is genuine, in 15 bins of probability."""
        chances = self.probability(counts.distances, prior)
        genuine = prior * counts.genuine / counts.genuine.sum()
        impostors = (1 - prior) * counts.impostors / counts.impostors.sum()
        bins = np.minimum((chances * CALIBRATION_BINS).astype(np.intp), CALIBRATION_BINS - 1)
        missed = np.bincount(bins, genuine - (genuine + impostors) * chances, minlength=CALIBRATION_BINS)
        return float(np.abs(missed).sum())


@dataclass(frozen=True, eq=False, config=ARRAYS)
class Curve:
    """Both rates of errors at every threshold: a DET curve, and the distributions of both kinds of pairs.

    Attributes:
        distances: (T,), thresholds, increasing.
        false_match, false_non_match: (T,), rates there.
    """

    distances: RoundedArray
    false_match: RoundedArray
    false_non_match: RoundedArray

    @model_validator(mode="after")
    def _has_rates(self) -> "Curve":
        rates = (self.false_match, self.false_non_match)
        if any(each.shape != self.distances.shape or (each < 0).any() or (each > 1).any() for each in rates):
            raise ValueError("expected both rates, from 0 to 1, at each distance of a curve")
        return self

    @classmethod
    def of(cls, counts: Counts) -> "Curve":
        """At up to 120 thresholds, evenly among the buckets that hold pairs."""
        ends = np.linspace(0, len(counts.buckets) - 1, min(CURVE_POINTS, len(counts.buckets))).astype(np.intp)
        below = [np.cumsum(kind) / kind.sum() for kind in (counts.impostors, counts.genuine)]
        return cls(counts.ends[ends], below[0][ends], 1 - below[1][ends])


@dataclass(frozen=True, config=STRICT)
class Errors:
    """What a threshold gets wrong.

    Attributes:
        false_match: of impostor pairs.
        false_non_match: of genuine pairs.
        equal_error: the rate of both at the threshold where they are equal; that threshold is another one.
        people: of whom there are genuine pairs.
        couples: of different people, of whom there are impostor pairs.
    """

    false_match: Rate
    false_non_match: Rate
    equal_error: Share
    people: Count
    couples: Count


@dataclass(frozen=True, config=STRICT)
class MatchThreshold:
    """Where to draw the line; a pair is said to match if its distance is below.

    Attributes:
        distance: the largest one that keeps the rate of false matches.
        low, high: its 95 % interval: the distances with the rates at the ends of the false match rate's interval
            (Woodruff, "Confidence intervals for medians and other position measures", 1952).
    """

    distance: Distance
    low: Distance
    high: Distance

    @model_validator(mode="after")
    def _lies_in_its_interval(self) -> "MatchThreshold":
        if not self.low <= self.distance <= self.high:
            raise ValueError(f"a threshold lies in its interval, got {self.distance} in {self.low} to {self.high}")
        return self


def threshold_at(pairs: Pairs, counts: Counts, false_match_rate: float) -> float | None:
    """The largest distance below which at most this share of the impostor pairs lies, exactly.

    None where fewer than three could lie below it: too few to know anything of (rule of three).

    Args:
        counts: of these pairs.
    """
    check_rate(false_match_rate)
    allowed = math.floor(false_match_rate * pairs.impostors * (1 + 1e-12))
    return float(pairs.ranked([allowed], counts)[0]) if allowed >= RULE_OF_THREE else None


def find_threshold(pairs: Pairs, counts: Counts, false_match_rate: float, seed: int) -> MatchThreshold:
    """The threshold for a rate of false matches, with its interval.

    Args:
        counts: of these pairs.
        seed: of the bootstrap.

    Raises:
        ValueError: a rate that is not between 0 and 1, or that needs more impostor pairs than there are.
    """
    check_rate(false_match_rate)
    check_pairs(pairs)
    distance = threshold_at(pairs, counts, false_match_rate)
    if distance is None:
        raise ValueError(
            f"a false match rate of {false_match_rate:g} takes {RULE_OF_THREE / false_match_rate:,.0f} impostor pairs "
            f"to know anything of, and here are {pairs.impostors:,}; ask for "
            f"{1.05 * RULE_OF_THREE / pairs.impostors:.2g} or more, or give more people"
        )
    rate = _false_match(pairs, distance, seed)
    ranks = [min(pairs.impostors - 1, math.floor(end * pairs.impostors)) for end in (rate.low, rate.high)]
    low, high = map(float, pairs.ranked(ranks, counts))
    return MatchThreshold(distance, min(low, distance), max(high, distance))


def errors_at(pairs: Pairs, counts: Counts, threshold: float, seed: int) -> Errors:
    """What a threshold gets wrong on these pairs, whoever it was found on.

    Args:
        counts: of these pairs.
        seed: of the bootstrap.
    """
    check_pairs(pairs)
    missed = pairs.genuine >= threshold
    per_unit = np.bincount(pairs.genuine_units, minlength=pairs.units)
    missed_per_unit = np.bincount(pairs.genuine_units[missed], minlength=pairs.units)
    resampled = []
    for times in _resamples(pairs.units, seed):
        total = times @ per_unit
        resampled.append(np.where(total > 0, times @ missed_per_unit / np.maximum(total, 1), np.nan))
    misses = _rate(int(missed.sum()), len(missed), pairs.genuine_people, np.concatenate(resampled))
    return Errors(
        _false_match(pairs, threshold, seed),
        misses,
        equal_error_rate(pairs, counts),
        pairs.genuine_people,
        pairs.impostor_couples,
    )


def equal_error_rate(pairs: Pairs, counts: Counts) -> float:
    """The rate of false matches at the threshold where it is nearest to that of false non-matches; their mean there."""
    matches = np.cumsum(counts.impostors) / pairs.impostors
    misses = 1 - np.cumsum(counts.genuine) / len(pairs.genuine)
    place = int((matches >= misses).argmax())  # in the last bucket at the latest: 1 >= 0
    bucket = int(counts.buckets[place])
    inside = (counts.impostors[place], pairs.lower([bucket])[0], pairs.impostors)
    within = pairs.genuine[(pairs.genuine >= value_at(bucket, 0)) & (pairs.genuine < counts.ends[place])]
    genuine = (counts.genuine[place], lower_bits(within), len(pairs.genuine))
    matches, misses = (
        end + (np.concatenate([[0], np.cumsum(lower)]) - count) * sign / total
        for end, sign, (count, lower, total) in ((matches[place], 1, inside), (misses[place], -1, genuine))
    )
    nearest = int(np.abs(matches - misses).argmin())
    return float((matches[nearest] + misses[nearest]) / 2)


def check_rate(false_match_rate: float) -> None:
    if not 0 < false_match_rate < 1:
        raise ValueError(f"a false match rate is between 0 and 1, got {false_match_rate}")


def check_prior(prior: float) -> None:
    if not LEAST_PRIOR <= prior <= 1 - LEAST_PRIOR:
        raise ValueError(f"a prior probability is between 0 and 1, no nearer to them than {LEAST_PRIOR:g}, got {prior}")


def check_pairs(pairs: Pairs) -> None:
    """Refuse pairs of one kind only."""
    if not len(pairs.genuine) or not pairs.impostors:
        raise ValueError(
            f"there are {len(pairs.genuine):,} genuine pairs (one person, two cameras) and {pairs.impostors:,} "
            "impostor pairs; errors need both, so give more people, seen by more cameras"
        )


def _false_match(pairs: Pairs, threshold: float, seed: int) -> Rate:
    from scipy.sparse import coo_array

    queries, entries = pairs.nearer(threshold)
    shape = (pairs.units, pairs.units)
    couples = coo_array((np.ones(len(queries)), (queries, entries)), shape=shape).tocsr()
    own = pairs.query_counts * pairs.gallery_counts  # pairs of a person with themselves are no impostors
    resampled = []
    for times in _resamples(pairs.units, seed):
        wrong = (times * (couples @ times.T).T).sum(1)
        total = (times @ pairs.query_counts) * (times @ pairs.gallery_counts) - np.square(times) @ own
        resampled.append(np.where(total > 0, wrong / np.maximum(total, 1), np.nan))
    return _rate(len(queries), pairs.impostors, pairs.impostor_couples, np.concatenate(resampled))


def _resamples(units: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """How often each unit is drawn, (r, units), the same for whatever is asked."""
    random = np.random.default_rng(seed)
    for start in range(0, RESAMPLES, DRAWN_TOGETHER):
        count = min(DRAWN_TOGETHER, RESAMPLES - start)
        drawn = random.integers(units, size=(count, units)) + np.arange(count)[:, None] * units
        yield np.bincount(drawn.ravel(), minlength=count * units).reshape(count, units).astype(np.float64)


def _rate(wrong: int, trials: int, groups: int, resampled: NDArray[np.float64]) -> Rate:
    """A rate with its interval: what resampling says, but never less than so many independent trials would; where all
    trials went one way, than so many independent groups of trials would."""
    from scipy.stats import binomtest  # slow to import, and Clopper & Pearson's interval (1934) by default

    known = resampled[~np.isnan(resampled)]
    low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]) if len(known) else (0.0, 1.0)
    one_way = wrong in (0, trials)
    exact = binomtest(*((groups if wrong else 0, groups) if one_way else (wrong, trials))).proportion_ci(CONFIDENCE)
    return Rate(wrong / trials, float(min(low, exact.low)), float(max(high, exact.high)), trials)
