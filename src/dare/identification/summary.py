"""What a stream of answers spent, where its queries left, and how right they were where that is known."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from dare.anytime.confidence import Allowed
from dare.anytime.costs import ExitCosts
from dare.datasets.sample import Sample
from dare.gallery.entry import Where
from dare.gallery.store import Gallery
from dare.identification.answer import Answer
from dare.retrieval.labels import Labelled, Labels
from dare.retrieval.scoring import score_vectors

NO_CAMERA = -2
"""Of queries that are no entry of the gallery, where each picture counts as a camera of its own."""


@dataclass(frozen=True, slots=True)
class StreamSummary:
    """Figures of a stream.

    Attributes:
        queries: how many were answered.
        unreadable: how many pictures could not be read.
        left: (E,), how many left at each exit.
        mean_macs: spent per answered query.
        scored: queries whose person is known and has a valid match in the gallery.
        rank1, mean_average_precision: of these, by the official rule; NaN where there are none.
    """

    queries: int
    unreadable: int
    left: tuple[int, ...]
    mean_macs: float
    scored: int
    rank1: float
    mean_average_precision: float


def filters(
    samples: Sequence[Sample], cameras_known: bool, allowed: Allowed, own: Sequence[str | None]
) -> list[Where | None]:
    """Which entries each query of a stream is compared with.

    `paper`: all but its own person's at its own camera, which takes its label to know; `other-cameras`: those of other
    cameras; `all`. Where cameras are not known, all but the very same picture.

    Args:
        own: from `themselves`.

    Raises:
        ValueError: what is needed is not known of the queries, or another rule.
    """
    if allowed not in get_args(Allowed):
        raise ValueError(f"queries are compared with {', '.join(get_args(Allowed))}, got {allowed!r}")
    if not cameras_known and allowed != "all":
        raise ValueError(f"the cameras of the queries are not known, so {allowed} cannot be told; compare with all")
    if not cameras_known:
        return [None if id is None else Where(not_ids=(id,)) for id in own]
    if allowed == "all":
        return [None] * len(samples)
    if allowed == "other-cameras":
        return [Where(not_cameras=(sample.camera,)) for sample in samples]
    unknown = [sample for sample in samples if sample.person < 0]
    if unknown:
        raise ValueError(f"the paper's protocol needs to know whom {unknown[0].images[0]} shows; compare with all")
    return [Where(not_seen=(sample.person, sample.camera)) for sample in samples]


def themselves(samples: Sequence[Sample], gallery: Gallery) -> list[str | None]:
    """The id of the entry that is the very picture of each query, if there is one."""
    ids = dict(zip(gallery.pictures(), gallery.ids(), strict=True))
    return [ids.get(str(sample.images[0].resolve())) for sample in samples]


def summarise(
    answers: Sequence[Answer],
    samples: Sequence[Sample],
    gallery: Gallery,
    costs: ExitCosts,
    own: Sequence[str | None] | None = None,
) -> StreamSummary:
    """Sum up the answers to samples, in their order.

    Accuracy follows the official protocol, over the whole gallery: entries of a query's person and camera do not count
    for it, nor do entries of unknown people.

    Args:
        own: from `themselves`, where cameras are not known: then only the very same picture does not count.
    """
    exits = np.asarray([answer.exit for answer in answers], np.int64)
    answered = exits[exits >= 0]
    precision, first = _scores(exits, answers, samples, gallery, own)
    matched = first >= 0
    return StreamSummary(
        len(answered),
        int((exits < 0).sum()),
        tuple(np.bincount(answered, minlength=len(costs.macs)).tolist()),
        costs.mean(answered),
        int(matched.sum()),
        float((first[matched] == 0).mean()) if matched.any() else math.nan,
        float(precision[matched].mean()) if matched.any() else math.nan,
    )


def _scores(
    exits: NDArray[np.int64],
    answers: Sequence[Answer],
    samples: Sequence[Sample],
    gallery: Gallery,
    own: Sequence[str | None] | None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Average precision and place of the first match of each query; NaN and -1 where there is none."""
    people = np.asarray([sample.person for sample in samples], np.int64)
    cameras = np.asarray([sample.camera for sample in samples], np.int64)
    entries: Labelled = gallery.labels()
    if own is not None:
        rows_of = {id: row for row, id in enumerate(gallery.ids())}
        cameras = np.asarray([NO_CAMERA if id is None else rows_of[id] for id in own], np.int64)
        entries = Labels(entries.people, np.arange(len(rows_of)))  # each picture is a camera of its own
    precision, first = np.full(len(exits), np.nan), np.full(len(exits), -1, np.int64)
    for exit in set(exits.tolist()) - {-1}:
        rows = np.flatnonzero((exits == exit) & (people >= 0))
        if not len(rows) or not gallery.count():
            continue
        vectors = np.stack([answers[int(row)].vector for row in rows])
        scores = score_vectors(vectors, gallery.vectors(exit), Labels(people[rows], cameras[rows]), entries)
        precision[rows], first[rows] = scores.average_precision, scores.first_match
    return precision, first
