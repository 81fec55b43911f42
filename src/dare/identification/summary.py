"""What a stream of answers spent, where its queries left, and how right they were where that is known."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dare.anytime.budgets import Costs, exit_costs, static_mixes
from dare.anytime.confidence import Allowed
from dare.anytime.costs import ExitCosts
from dare.datasets.sample import Sample
from dare.gallery.entry import Where
from dare.gallery.store import Gallery
from dare.identification.answer import Answer
from dare.images.reading import prepared
from dare.retrieval.labels import Labelled, Labels
from dare.retrieval.scoring import score_vectors
from dare.runners.runner import Runner

BATCH = 32

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

    Args:
        cameras_known: False compares with all but the very same picture.
        own: from `themselves`.

    Raises:
        ValueError: the queries lack labels that the rule needs.
    """
    if not cameras_known and allowed != "all":
        raise ValueError(f"the cameras of the queries are unknown, so {allowed} can't be applied; compare with all")
    if not cameras_known:
        return [None if id is None else Where(not_ids=(id,)) for id in own]
    if allowed == "all":
        return [None] * len(samples)
    if allowed == "other-cameras":
        return [Where(not_cameras=(sample.camera,)) for sample in samples]
    unknown = [sample for sample in samples if sample.person < 0]
    if unknown:
        raise ValueError(f"the paper's protocol needs to know who is in {unknown[0].images[0]}; compare with all")
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
    people, cameras, entries = _labels(samples, gallery, own)
    precision, first = np.full(len(exits), np.nan), np.full(len(exits), -1, np.int64)
    for exit in set(exits.tolist()) - {-1}:
        rows = np.flatnonzero((exits == exit) & (people >= 0))
        if len(rows) and gallery.count():
            vectors = np.stack([answers[int(row)].vector for row in rows])
            scores = score_vectors(vectors, gallery.vectors(exit), Labels(people[rows], cameras[rows]), entries)
            precision[rows], first[rows] = scores.average_precision, scores.first_match
    answered, matched = exits[exits >= 0], first >= 0
    return StreamSummary(
        len(answered),
        int((exits < 0).sum()),
        tuple(np.bincount(answered, minlength=len(costs.macs)).tolist()),
        costs.mean(answered),
        int(matched.sum()),
        float((first[matched] == 0).mean()) if matched.any() else math.nan,
        float(precision[matched].mean()) if matched.any() else math.nan,
    )


def static_mix(
    samples: Sequence[Sample],
    runner: Runner,
    gallery: Gallery,
    costs: Costs,
    spent: float,
    own: Sequence[str | None] | None = None,
) -> tuple[float, float]:
    """The rank-1 and the mAP that queries reach at this mean cost if nobody looks at them: random ones leave early.

    Each is that of the mix of exits which is best for it. All samples go through the whole network once more.

    Args:
        samples: that can be read; one at least has a known person with a valid match.
        costs: of leaving at each exit.
        spent: per query, in the unit of the costs.
        own: as of `summarise`.
    """
    people, cameras, entries = _labels(samples, gallery, own)
    batches = []
    for start in range(0, len(samples), BATCH):
        part = [prepared(sample.images[0], runner.preparation) for sample in samples[start : start + BATCH]]
        batches.append(list(runner.exits(np.stack(part))))
    values: list[tuple[float, float]] = []
    for exit, parts in enumerate(zip(*batches, strict=True)):
        scores = score_vectors(np.concatenate(parts), gallery.vectors(exit), Labels(people, cameras), entries)
        values.append((scores.cmc(1), scores.mean_average_precision))
    budget = max(spent, float(exit_costs(costs)[0]))
    rank1, precision = (float(static_mixes(costs, each, [budget])[0] @ each) for each in np.asarray(values).T)
    return rank1, precision


def _labels(
    samples: Sequence[Sample], gallery: Gallery, own: Sequence[str | None] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], Labelled]:
    """People and cameras of queries, and the labels of entries."""
    people = np.asarray([sample.person for sample in samples], np.int64)
    if own is None:
        return people, np.asarray([sample.camera for sample in samples], np.int64), gallery.labels()
    rows_of = {id: row for row, id in enumerate(gallery.ids())}  # each picture is a camera of its own
    cameras = np.asarray([NO_CAMERA if id is None else rows_of[id] for id in own], np.int64)
    return people, cameras, Labels(gallery.labels().people, np.arange(len(rows_of)))
