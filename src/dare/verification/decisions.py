"""From distances of pairs to decisions: a threshold for a rate of false matches, its errors, and a probability.

Two pictures are said to show one person if their distance is below the threshold. A *false match* is an impostor pair
below it, a *false non-match* a genuine pair that is not. Every rate comes with a 95 % interval over the people: a
bootstrap draws them anew, with all of their pictures, so an impostor pair counts as often as both of its people were
drawn (Owen, "The pigeonhole bootstrap", 2007), since pairs of the same people are not independent. Where the bootstrap
has too few errors to draw from, the exact binomial interval takes over.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dare.verification.pairs import Pairs, lower_bits, value_at
from dare.verification.rates import RULE_OF_THREE, Errors, MatchThreshold, Rate, check_rate

RESAMPLES = 1000
CONFIDENCE = 0.95
DRAWN_TOGETHER = 20  # resamples, so that their weights of many people are not all in memory


def threshold_at(pairs: Pairs, false_match_rate: float) -> float | None:
    """The largest distance below which at most this share of the impostor pairs lies, exactly.

    None where fewer than three could lie below it: too few to say anything (rule of three).
    """
    check_rate(false_match_rate)
    allowed = math.floor(false_match_rate * pairs.impostors * (1 + 1e-12))
    return pairs.ranked([allowed])[0] if allowed >= RULE_OF_THREE else None


def find_threshold(pairs: Pairs, false_match_rate: float, seed: int) -> MatchThreshold:
    """The threshold for a rate of false matches, with its interval; `seed` is the bootstrap's.

    Raises:
        ValueError: the rate is not between 0 and 1, or needs more impostor pairs than there are.
    """
    check_pairs(pairs)
    distance = threshold_at(pairs, false_match_rate)
    if distance is None:
        raise ValueError(
            f"a false match rate of {false_match_rate:g} takes at least {RULE_OF_THREE / false_match_rate:,.0f} "
            f"impostor pairs, got {pairs.impostors:,}; ask for "
            f"{1.05 * RULE_OF_THREE / pairs.impostors:.2g} or more, or give more people"
        )
    rate = _false_match(pairs, distance, seed)
    ranks = [min(pairs.impostors - 1, math.floor(end * pairs.impostors)) for end in (rate.low, rate.high)]
    low, high = pairs.ranked(ranks)
    return MatchThreshold(distance, min(low, distance), max(high, distance))


def errors_at(pairs: Pairs, threshold: float, seed: int) -> Errors:
    """What a threshold gets wrong on these pairs; `seed` is the bootstrap's."""
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
        equal_error_rate(pairs),
        pairs.genuine_people,
        pairs.impostor_couples,
    )


def equal_error_rate(pairs: Pairs) -> float:
    """The mean of both rates of errors at the threshold where they are nearest to each other."""
    counts = pairs.counts
    matches = np.cumsum(counts.impostors) / pairs.impostors
    misses = 1 - np.cumsum(counts.genuine) / len(pairs.genuine)
    place = int((matches >= misses).argmax())  # in the last bucket at the latest: 1 >= 0
    bucket = counts.buckets[place]
    inside = (counts.impostors[place], pairs.lower(counts.buckets[[place]])[0], pairs.impostors)
    within = pairs.genuine[(pairs.genuine >= value_at(bucket)) & (pairs.genuine < value_at(bucket + 1))]
    genuine = (counts.genuine[place], lower_bits(within), len(pairs.genuine))
    matches, misses = (
        end + (np.concatenate([[0], np.cumsum(lower)]) - count) * sign / total
        for end, sign, (count, lower, total) in ((matches[place], 1, inside), (misses[place], -1, genuine))
    )
    nearest = int(np.abs(matches - misses).argmin())
    return float((matches[nearest] + misses[nearest]) / 2)


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
    """A rate with its resampled interval, at least as wide as that of independent trials, or where all went one way, of
    independent groups."""
    from scipy.stats import binomtest  # slow to import, and Clopper & Pearson's interval (1934) by default

    known = resampled[~np.isnan(resampled)]
    low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]) if len(known) else (0.0, 1.0)
    one_way = wrong in (0, trials)
    exact = binomtest(*((groups if wrong else 0, groups) if one_way else (wrong, trials))).proportion_ci(CONFIDENCE)
    return Rate(wrong / trials, float(min(low, exact.low)), float(max(high, exact.high)), trials)
