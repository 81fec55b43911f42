"""What is measured of pairs of images: error rates, thresholds, curves, likelihood ratios of distances."""

import math
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator
from pydantic.dataclasses import dataclass

from dare.anytime.records import STRICT
from dare.verification.pairs import Counts

RULE_OF_THREE = 3  # no error in n trials says, at 95 %, that their rate is below 3 / n
CALIBRATION_BINS = 15
CURVE_POINTS = 120
LEAST_PRIOR = 1e-12  # one person in more than have ever lived; float64 can't tell smaller ones apart near 1

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
    """How much likelier a distance is among genuine pairs than among impostors, whatever the prior.

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
                f"expected one ratio per distance, got {len(self.log_likelihood_ratios)} for {len(self.distances)}"
            )
        if (np.diff(self.distances) <= 0).any() or (np.diff(self.log_likelihood_ratios) > 0).any():
            raise ValueError("expected distances that increase, and ratios that don't")
        return self

    @classmethod
    def of(cls, counts: Counts, people: int, couples: int) -> "LikelihoodRatios":
        """Isotonic regression: the best fit that does not rise, which is the slope of the ROC curve's convex hull
        (Fawcett & Niculescu-Mizil, "PAV and the ROC convex hull", 2007).

        One more person at the largest distance and one more couple at the smallest are counted in, so no probability
        is ever 0 or 1.

        Args:
            people, couples: how many of them the genuine and the impostor pairs show.
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
        """The probability that two images at these distances show one person, given a prior from 1e-12 to 1 - 1e-12."""
        from scipy.special import expit, logit

        check_prior(prior)
        ratios = np.interp(distances, self.distances, self.log_likelihood_ratios)
        chances: NDArray[np.float64] = expit(ratios + logit(prior))
        return chances

    def error(self, counts: Counts, prior: float) -> float:
        """Expected calibration error in 15 bins of probability, over pairs of which a share of `prior` is genuine: the
        mean difference between probabilities and shares of genuine pairs."""
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

    distances: Array
    false_match: Array
    false_non_match: Array

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
        people: how many there are genuine pairs of.
        couples: of different people, how many there are impostor pairs of.
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


def check_rate(false_match_rate: float) -> None:
    if not 0 < false_match_rate < 1:
        raise ValueError(f"a false match rate is between 0 and 1, got {false_match_rate}")


def check_prior(prior: float) -> None:
    if not LEAST_PRIOR <= prior <= 1 - LEAST_PRIOR:
        raise ValueError(f"a prior probability is between 0 and 1, no nearer to them than {LEAST_PRIOR:g}, got {prior}")
