"""From a picture to an answer: exit by exit, until the deadline, the policy or the last exit."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dare.anytime.confidence import margin, nearness
from dare.anytime.costs import ExitTimes
from dare.anytime.policies import ExitPolicy
from dare.gallery.store import Gallery, Hits, MismatchError, Where
from dare.images import UnreadableImageError, prepare, read_resized
from dare.runners.runner import Runner

Picture = Path | str | NDArray[np.float32]
"""A file, or a prepared picture (3, H, W) as `dare.images.prepare` makes them."""

Confidence = Literal["margin", "nearness"]


@dataclass(frozen=True, slots=True)
class Answer:
    """Who a picture shows, as far as it was looked at.

    Attributes:
        exit: where the query left, counted from 0; -1 for a picture that could not be read.
        hits: (1, k), people of the gallery, nearest first.
        confidence: higher is surer; NaN where there is nobody to be compared with.
        macs: multiply-adds spent, as the runner's costs count them.
        seconds: from the start of the query (in a stream: of its micro-batch) to this answer.
        deadline_met: whether it came in time; True without a deadline.
        problem: why there is no answer, or "".
    """

    exit: int
    hits: Hits
    confidence: float
    macs: int
    seconds: float
    deadline_met: bool
    problem: str = ""


class DeadlineTooShortError(ValueError):
    """A deadline before the first exit can answer."""


def answers(
    image: Picture,
    runner: Runner,
    gallery: Gallery,
    *,
    deadline: float | None = None,
    times: ExitTimes | None = None,
    count: int = 10,
    where: Where | None = None,
    confidence: Confidence = "margin",
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Answer]:
    """One answer per exit, each better than the one before; not asking for the next one is stopping.

    Args:
        image: the query.
        runner, gallery: of one model.
        deadline: seconds from the first question on. No exit is begun that would, by `times`, end after it, and
            between blocks the clock has the last word. The first exit answers, late or not.
        times: measured; without it only the clock stops the network.
        count: entries per answer.
        where: which entries of the gallery count.
        confidence: how sure an answer is: its margin to the nearest other person, or its nearness.
    """
    check_pair(runner, gallery)
    check_deadline(deadline)
    start = clock()
    until = np.inf if deadline is None else start + deadline
    answered = False

    def stop() -> bool:
        return answered and clock() > until

    pictures = _prepared([image], runner)
    if isinstance(pictures[0], UnreadableImageError):
        raise pictures[0]
    for exit, vectors in enumerate(runner.exits(pictures[0][None], stop)):
        hits, sure = _look_up(gallery, exit, vectors, count, where, confidence)
        now = clock()
        yield Answer(exit, hits, sure, runner.costs.macs[exit], now - start, now <= until)
        answered = True
        last = exit == len(runner.costs.macs) - 1
        if not last and times is not None and clock() + times.median[exit + 1] - times.median[exit] > until:
            return


def identify(
    image: Picture,
    runner: Runner,
    gallery: Gallery,
    *,
    deadline: float | None = None,
    policy: ExitPolicy | None = None,
    times: ExitTimes | None = None,
    allow_late: bool = False,
    count: int = 10,
    where: Where | None = None,
    confidence: Confidence = "margin",
    clock: Callable[[], float] = time.monotonic,
) -> Answer:
    """The best answer within the deadline, or the one at which the policy lets the query leave.

    Args:
        allow_late: answer from the first exit where the deadline is too short for it, instead of an error.

    Raises:
        DeadlineTooShortError: the first exit would not be ready by the deadline, and `allow_late` is not given.
    """
    check_deadline(deadline)
    if deadline is not None and times is not None and not allow_late and times.median[0] > deadline:
        raise DeadlineTooShortError(
            f"the first exit takes {1000 * times.median[0]:.2f} ms, the deadline is {1000 * deadline:.2f} ms; "
            "give more time, or allow a late answer"
        )
    found = answers(
        image,
        runner,
        gallery,
        deadline=deadline,
        times=times,
        count=count,
        where=where,
        confidence=confidence,
        clock=clock,
    )
    best = next(found)
    if not best.deadline_met and not allow_late:
        raise DeadlineTooShortError(
            f"the first exit took {1000 * best.seconds:.2f} ms, the deadline was {1000 * (deadline or 0):.2f} ms; "
            "give more time, or allow a late answer"
        )
    last = len(runner.costs.macs) - 1
    while best.exit < last and (policy is None or not policy.stops(best.exit, best.confidence)):
        later = next(found, None)
        if later is None or not later.deadline_met:
            break
        best = later
    return best


def identify_stream(
    images: Iterable[Picture],
    runner: Runner,
    gallery: Gallery,
    policy: ExitPolicy,
    *,
    micro_batch: int = 4,
    count: int = 10,
    where: Where | Callable[[int], Where | None] | None = None,
    confidence: Confidence = "margin",
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Answer]:
    """Answers to a stream of queries, in its order. The queries of a micro-batch that stay go on together.

    A picture that cannot be read gives an answer without hits that says why, and the stream goes on.

    Args:
        policy: asked exit by exit, at each exit in the stream's order.
        micro_batch: queries that run together.
        where: which entries of the gallery count: for all queries, or a function of a query's number in the stream.
    """
    check_pair(runner, gallery)
    if micro_batch < 1:
        raise ValueError(f"micro_batch must be at least 1, got {micro_batch}")
    queue, number = iter(images), 0
    while batch := list(islice(queue, micro_batch)):
        start = clock()
        results: dict[int, Answer] = {}
        pictures = _prepared(batch, runner)
        for place, picture in enumerate(pictures):
            if isinstance(picture, UnreadableImageError):
                results[place] = Answer(-1, NOTHING, np.nan, 0, clock() - start, True, str(picture))
        waiting = [place for place in range(len(batch)) if place not in results]
        exits = runner.exits(np.stack([pictures[place] for place in waiting])) if waiting else iter(())
        last = len(runner.costs.macs) - 1
        exit = 0
        while waiting:
            vectors = next(exits)
            staying = []
            for row, place in enumerate(waiting):
                allowed = where(number + place) if callable(where) else where
                hits, sure = _look_up(gallery, exit, vectors[row : row + 1], count, allowed, confidence)
                if exit == last or policy.stops(exit, sure):
                    results[place] = Answer(exit, hits, sure, runner.costs.macs[exit], clock() - start, True)
                else:
                    staying.append(row)
            waiting = [waiting[row] for row in staying]
            exit += 1
        yield from (results[place] for place in range(len(batch)))
        number += len(batch)


NOTHING = Hits(np.zeros((1, 0), str), np.zeros((1, 0), np.int64), np.zeros((1, 0), np.int64), np.zeros((1, 0)), True)


def check_pair(runner: Runner, gallery: Gallery) -> None:
    """Refuse a gallery whose vectors came from another network."""
    if runner.digest != gallery.model:
        raise MismatchError(
            f"the gallery holds vectors of model {gallery.model[:12] or 'unknown'}, the runner is model "
            f"{runner.digest[:12] or 'unknown'}; open the model that the gallery was made with, or index again"
        )


def check_deadline(deadline: float | None) -> None:
    """Refuse a deadline that is no positive time."""
    if deadline is not None and not 0 < deadline < np.inf:
        raise ValueError(f"a deadline is a positive number of seconds, got {deadline}")


def _prepared(images: list[Picture], runner: Runner) -> list[NDArray[np.float32] | UnreadableImageError]:
    """Each picture as the network takes it, or why it cannot be read."""
    size = runner.preparation
    pictures: list[NDArray[np.float32] | UnreadableImageError] = []
    for image in images:
        if isinstance(image, np.ndarray):
            if image.shape != (3, size.height, size.width):
                raise ValueError(f"expected a prepared picture (3, {size.height}, {size.width}), got {image.shape}")
            pictures.append(image)
            continue
        try:
            pixels = read_resized(Path(image), size.height, size.width)
            pictures.append(prepare(pixels[None], size)[0])
        except UnreadableImageError as problem:
            pictures.append(problem)
    return pictures


def _look_up(
    gallery: Gallery, exit: int, vector: NDArray[np.float32], count: int, where: Where | None, confidence: Confidence
) -> tuple[Hits, float]:
    """The nearest entries, and how sure that is; looks deeper where the list holds one person only."""
    hits = gallery.search(exit, vector, count, where=where)
    if confidence == "nearness":
        return hits, float(nearness(hits.distances)[0])
    deeper, depth = hits, count
    while np.isnan(sure := float(margin(deeper.distances, deeper.people, complete=deeper.complete)[0])):
        if deeper.complete:
            break
        depth *= 4
        deeper = gallery.search(exit, vector, depth, where=where)
    return hits, sure
