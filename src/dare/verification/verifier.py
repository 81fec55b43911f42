"""Says whether two vectors of a network show one person, at every exit; kept in one JSON file per network."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from dare.anytime.records import STRICT, MeasurementError, read_record, write_record
from dare.evaluation.stages import Distance
from dare.retrieval.distances import Space, another_model, check_space, entry_exit, normalised
from dare.shipped.card import THRESHOLDS
from dare.shipped.network import shipped_at
from dare.verification.rates import (
    LEAST_PRIOR,
    RULE_OF_THREE,
    Count,
    Curve,
    Errors,
    LikelihoodRatios,
    MatchThreshold,
    Share,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """Whether two pictures show one person.

    Attributes:
        same: whether they are nearer than the threshold.
        probability: that they show one person, given the prior.
        distance, threshold: what was compared.
        exit: at which, counted from 0.
        prior: how likely one person was before anybody looked.
    """

    same: bool
    probability: float
    distance: float
    threshold: float
    exit: int
    prior: float


@dataclass(frozen=True, config=STRICT)
class ExitVerifier:
    """What was found at one exit.

    Attributes:
        name: of the exit.
        dimensions: of its vectors.
        threshold: for the rate of false matches that was asked for.
        likelihood_ratios: from distances to probabilities; "calibration" in files.
        fitted: what the threshold gets wrong on the people it was found on.
        measured: what it gets wrong on the others. This is what to expect.
        calibration_error: expected calibration error on the others, at the verifier's prior.
        curve: both rates of errors at all thresholds, on the others.
    """

    name: str
    dimensions: Count
    threshold: MatchThreshold
    likelihood_ratios: Annotated[LikelihoodRatios, Field(alias="calibration")]
    fitted: Errors
    measured: Errors
    calibration_error: Share
    curve: Curve


@dataclass(frozen=True, config=STRICT)
class Verifier:
    """Says whether two vectors of a network show one person.

    Attributes:
        model: digest of the network; other networks' vectors have other distances.
        exits: an `ExitVerifier` each.
        false_match_rate: that the thresholds are for.
        prior: how likely two pictures show one person before anybody looks, unless a question says otherwise.
        distance: "euclidean"; with "cosine", Euclidean distances of vectors scaled to length 1.
        crops: per picture, of which vectors are means.
        tracklets: how tracklets were pooled, "mean", "max" or "unknown"; "" for vectors of single pictures.
        about: how it was found, for people to read.
        space: of the vectors: "own" if both of a pair are of one exit; "shared" if the second is of the last exit.
    """

    model: str
    exits: Annotated[tuple[ExitVerifier, ...], Field(min_length=1)]
    false_match_rate: Annotated[float, Field(gt=0, lt=1)]
    prior: Annotated[float, Field(ge=LEAST_PRIOR, le=1 - LEAST_PRIOR)]
    distance: Distance
    crops: Literal[1, 10]
    tracklets: Literal["", "unknown", "mean", "max"]
    about: dict[str, Any]
    space: Space = "own"
    format: Literal[1] = 1

    @model_validator(mode="after")
    def _has_one_space(self) -> "Verifier":
        check_space(self.space, [at.dimensions for at in self.exits])
        return self

    def same_person(
        self,
        first: NDArray[np.floating],
        second: NDArray[np.floating],
        exit: int = -1,
        *,
        prior: float | None = None,
    ) -> Verdict:
        """Whether two vectors (D,) show one person.

        Args:
            first, second: of the exits that `exits_of_pair` names.
            exit: counted from 0; the last by default.
            prior: how likely that is before anybody looks; by default the verifier's.

        Raises:
            ValueError: vectors of another size, or not of finite real numbers; an unknown exit.
        """
        number, _ = self.exits_of_pair(exit)
        at, prior = self.exits[number], self.prior if prior is None else prior
        vectors = [np.asarray(vector).ravel() for vector in (first, second)]
        expected = f"expected two vectors of {at.dimensions} finite numbers, as {at.name} gives, got"
        if any(len(vector) != at.dimensions for vector in vectors):
            raise ValueError(f"{expected} {len(vectors[0])} and {len(vectors[1])}")
        if any(np.iscomplexobj(vector) or not np.isfinite(vector).all() for vector in vectors):
            raise ValueError(f"{expected} NaN, infinity or complex numbers")
        pair = np.stack(vectors).astype(np.float64)
        if self.distance == "cosine":
            pair = normalised(pair).astype(np.float64)
        distance = float(np.float32(np.linalg.norm(pair[0] - pair[1])))
        probability = float(at.likelihood_ratios.probability(distance, prior))
        return Verdict(distance < at.threshold.distance, probability, distance, at.threshold.distance, number, prior)

    def exits_of_pair(self, exit: int) -> tuple[int, int]:
        """The exits of the two vectors, counted from 0; in a shared space the second is of the last exit."""
        if not -len(self.exits) <= exit < len(self.exits):
            raise ValueError(f"there are {len(self.exits)} exits, counted from 0, got {exit}")
        number = exit % len(self.exits)
        return number, entry_exit(self.space, number, len(self.exits))

    @property
    def notes(self) -> list[str]:
        """What a reader of the figures should know."""
        notes = []
        wanted = RULE_OF_THREE / self.false_match_rate
        couples = min(min(at.fitted.couples, at.measured.couples) for at in self.exits)
        if couples < wanted:
            notes.append(
                f"a rate of {self.false_match_rate:g} takes impostor pairs of {wanted:,.0f} couples of people (rule of "
                f"three), got {couples:,}; the intervals are wide"
            )
        for at in self.exits:
            rate = at.measured.false_match
            if not rate.low <= self.false_match_rate <= rate.high:
                notes.append(f"{at.name}: {rate} % false matches on the other people, not what was asked for")
        return notes


def save_verifier(path: str | Path, verifier: Verifier) -> None:
    """Write what a verifier knows, in one piece.

    Raises:
        MeasurementError: it is not known of which network they are.
    """
    check_known(verifier.model)
    write_record(Path(path), verifier)


def check_known(model: str) -> None:
    """Refuse to save thresholds of an unknown network: they could be used with another one unnoticed."""
    if not model:
        raise MeasurementError(
            "thresholds belong to one network, and these vectors don't say to which; "
            "embed with dare embed, or give --model"
        )


def load_verifier(path: str | Path, model: str) -> Verifier:
    """Read thresholds of a network.

    Args:
        path: what `dare threshold` or `save_verifier` wrote, or the name of a shipped network.
        model: its digest: `runner.digest`, or the `model` of embeddings.

    Raises:
        MeasurementError: not there, damaged, or of another network.
        ShippedError: a shipped network's thresholds are damaged.
    """
    network = shipped_at(path)
    file = Path(path) if network is None else network.checked(THRESHOLDS)
    found = read_record(Verifier, file, "dare threshold")
    if found.model != model:
        raise MeasurementError(
            another_model(f"{path} holds thresholds", found.model, model, "find some for this one with dare threshold")
        )
    return found
