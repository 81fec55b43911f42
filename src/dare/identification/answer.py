"""What an exit gives: a query's picture, its vector, whom it shows, how sure that is, and how long it takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from dare.anytime.confidence import margin, nearness
from dare.anytime.costs import ExitTimes
from dare.anytime.records import Confidence
from dare.gallery.entry import Where
from dare.gallery.store import Gallery, Hits, MismatchError
from dare.images.reading import UnreadableImageError, prepare, read_resized
from dare.retrieval.distances import another_model
from dare.runners.runner import Runner
from dare.runners.timing import measure

Picture = Path | str | NDArray[np.float32]
"""A file, or a prepared picture (3, H, W) as `dare.images.reading.prepare` makes them."""

LONGEST_DEADLINE = 86_400.0

DEPTH = 16
"""How many entries are looked at for a second person, before looking deeper."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Who a picture shows, as far as it was looked at.

    Attributes:
        exit: where the query left, counted from 0; -1 for a picture that could not be read.
        hits: (1, k), entries of the gallery, nearest first.
        confidence: higher is surer; NaN where there is nobody to be compared with.
        macs: multiply-adds spent, as the runner's costs count them.
        seconds: from the start of the query (in a stream: of its micro-batch) to this answer, on a monotonic clock.
        deadline_met: whether it came in time; True without a deadline.
        vector: (D,), the query's at this exit.
        problem: why there is no answer, or "".
    """

    exit: int
    hits: Hits
    confidence: float
    macs: int
    seconds: float
    deadline_met: bool
    vector: NDArray[np.float32]
    problem: str = ""

    @classmethod
    def unreadable(cls, problem: UnreadableImageError, seconds: float) -> "Answer":
        """No answer, and why."""
        return cls(-1, Hits.nothing(), np.nan, 0, seconds, True, np.zeros(0, np.float32), str(problem))


class DeadlineTooShortError(ValueError):
    """A deadline before the first exit can answer."""

    code = "deadline_too_short"

    @classmethod
    def of(cls, verb: str, seconds: float, deadline: float) -> "DeadlineTooShortError":
        """Told in milliseconds."""
        return cls(
            f"the first exit {verb} {1000 * seconds:.2f} ms, the deadline is {1000 * deadline:.2f} ms; "
            "give more time, or allow a late answer"
        )


def check(runner: Runner, gallery: Gallery, deadline: float | None = None) -> None:
    """Refuse a gallery whose vectors came from another network, and a deadline that is no positive time.

    Raises:
        MismatchError: another model.
        ValueError: the deadline.
    """
    if runner.digest != gallery.model:
        advice = "open the model that the gallery was made with, or index again"
        raise MismatchError(another_model("the gallery holds vectors", gallery.model, runner.digest, advice))
    if runner.space != gallery.space:
        raise MismatchError(
            f"the runner's exits have a space that is {runner.space}, the gallery was made for one that is "
            f"{gallery.space}; make it with space=runner.space, or index again"
        )
    if deadline is not None and not 0 < deadline <= LONGEST_DEADLINE:
        raise ValueError(f"a deadline is a positive number of seconds, at most a day, got {deadline}")


def prepared(image: Picture, runner: Runner) -> NDArray[np.float32]:
    """A picture (3, H, W) as the network takes it.

    Raises:
        UnreadableImageError: it cannot be read.
    """
    size = runner.preparation
    if isinstance(image, np.ndarray):
        if image.shape != (3, size.height, size.width):
            raise ValueError(f"expected a prepared picture (3, {size.height}, {size.width}), got {image.shape}")
        if not np.isfinite(image).all():
            raise ValueError("expected a prepared picture of finite numbers, got NaN or infinity; prepare it again")
        return image
    pixels: NDArray[np.float32] = prepare(read_resized(Path(image), size.height, size.width)[None], size)[0]
    return pixels


def look_up(
    gallery: Gallery,
    exit: int,
    vectors: NDArray[np.float32],
    count: int,
    where: Sequence[Where | None],
    confidence: Confidence,
) -> list[tuple[Hits, float]]:
    """The nearest entries of each query, (1, k), and its confidence; NaN where nothing is allowed to be found.

    A list that holds one person only is searched deeper, until another one is found or it is complete.

    Args:
        vectors: (Q, D).
        where: Q filters.
    """
    if confidence not in get_args(Confidence):
        raise ValueError(f"confidence must be one of {', '.join(get_args(Confidence))}, got {confidence!r}")
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    depth = max(count, DEPTH) if confidence == "margin" else count
    hits = gallery.search(exit, vectors, depth, where=list(where))
    found = []
    for query, allowed in enumerate(where):
        one = hits.of(query)
        if confidence == "nearness":
            sure = float(nearness(one.distances)[0])
        else:
            sure = _margin(gallery, exit, vectors[query : query + 1], one, allowed)
        found.append((one.first(count), sure))
    return found


def _margin(gallery: Gallery, exit: int, vector: NDArray[np.float32], hits: Hits, where: Where | None) -> float:
    while np.isnan(sure := float(margin(hits.distances, hits.people, complete=hits.complete)[0])):
        if hits.complete[0]:
            break
        hits = gallery.search(exit, vector, 4 * max(1, hits.distances.shape[1]), where=where).of(0)
    return sure


def measure_answers(
    runner: Runner,
    gallery: Gallery,
    *,
    batch: int = 1,
    repeats: int = 50,
    count: int = 10,
    where: Where | None = None,
    confidence: Confidence = "margin",
) -> ExitTimes:
    """Time every exit of a runner with the search in a gallery; arguments as in `dare.measure` and `dare.answers`.

    Raises:
        MismatchError: the gallery is of another model.
    """
    check(runner, gallery)

    def search(exit: int, vectors: NDArray[np.float32]) -> None:
        look_up(gallery, exit, vectors, count, [where] * len(vectors), confidence)

    searched = f"with search in {gallery.count()} entries"
    return measure(runner, batch=batch, repeats=repeats, search=search, searched=searched)


def warm_up(runner: Runner, gallery: Gallery, first: int = 0) -> None:
    """Answer once for nobody, so that the first query need not wait for a gallery to be read or code to be loaded.

    Args:
        first: the first exit that will answer.
    """
    size = runner.preparation
    blank = prepare(np.zeros((1, size.height, size.width, 3), np.uint8), size)
    for exit, vectors in enumerate(runner.exits(blank)):
        if exit >= first:
            look_up(gallery, exit, vectors, 1, [None], "nearness")
