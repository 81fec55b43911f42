"""From a picture to an answer, exit by exit, until the deadline, the policy or the last exit.

To follow one query, start with `answers`: the picture is read (dare.images), the network gives a vector per exit
(dare.runners), each vector finds the nearest entries (dare.gallery), and their distances say how sure the answer is
(dare.anytime.confidence). `dare.identification.stream` does the same for many queries.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from dare.anytime.confidence import LIST, agreement, margin, nearness
from dare.anytime.costs import ExitTimes
from dare.anytime.policies import Deadline, ExitPolicy
from dare.anytime.records import Confidence
from dare.gallery.entry import Where
from dare.gallery.store import Gallery, Hits, MismatchError
from dare.images.reading import Query, UnreadableImageError, prepared
from dare.retrieval.distances import another_model
from dare.runners.runner import Runner
from dare.runners.timing import measure

LONGEST_DEADLINE = 86_400.0

DEPTHS: dict[Confidence, int] = {"margin": 16, "nearness": 1, "agreement": LIST}
"""How many entries are searched at least; a margin that finds no second person among them looks deeper."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Who a picture shows, by what one exit sees.

    Attributes:
        exit: where the query left, counted from 0; -1 for a picture that could not be read.
        hits: (1, k), entries of the gallery, nearest first.
        confidence: higher is surer; NaN if there was no entry to compare with. Such a query leaves at the first exit.
        macs: multiply-adds spent, as the runner's costs count them.
        seconds: from the start of the query (in a stream: of its micro-batch) to this answer, on a monotonic clock.
        deadline_met: whether it came in time; True without a deadline.
        vector: (D,), the query's at this exit.
        problem: why there is no answer, or "".
        reading: seconds of reading and preparing the picture.
    """

    exit: int
    hits: Hits
    confidence: float
    macs: int
    seconds: float
    deadline_met: bool
    vector: NDArray[np.float32]
    problem: str = ""
    reading: float = 0.0

    @classmethod
    def unreadable(cls, problem: UnreadableImageError, seconds: float) -> "Answer":
        """For a picture that can't be used."""
        return cls(-1, Hits.nothing(), math.nan, 0, seconds, True, np.zeros(0, np.float32), str(problem))


class DeadlineTooShortError(ValueError):
    """A deadline before the first exit can answer."""

    code = "deadline_too_short"

    @classmethod
    def of(cls, verb: str, seconds: float, deadline: float) -> "DeadlineTooShortError":
        """Times are told in milliseconds; the deadline is what was left at the start."""
        left = f"the deadline is {1000 * deadline:.2f} ms" if deadline > 0 else f"due {-1000 * deadline:.2f} ms ago"
        return cls(f"the first exit {verb} {1000 * seconds:.2f} ms, {left}; give more time, or allow a late answer")


def answers(
    image: Query,
    runner: Runner,
    gallery: Gallery,
    *,
    deadline: float | None = None,
    due: float | None = None,
    times: ExitTimes | None = None,
    count: int = 10,
    where: Where | None = None,
    confidence: Confidence = "margin",
    first: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Answer]:
    """One answer per exit, each better than the one before; not asking for the next one is stopping.

    Args:
        image: the query: a file, an image of Pillow, RGB pixels (H, W, 3) of uint8 and any size, or `Prepared`.
        runner, gallery: of one model.
        deadline: seconds, counted from when the first answer is asked for. No exit is begun that would, by `times`, end
            after it, and before each block of the network the clock is asked again. The first exit answers in any case.
        due: the deadline as a time on `clock`, instead; it may be past.
        times: from `measure_answers`, which include the search; without them only the clock stops the network.
        count: entries per answer.
        where: which entries of the gallery count.
        confidence: how sure an answer is: its margin to the nearest other person, its nearness, or its agreement.
        first: the first exit to answer; before it the gallery is not searched and no deadline stops the network.

    Raises:
        UnreadableImageError: of the picture.
        MismatchError: the gallery is of another model.
        ValueError: a deadline that isn't positive or is longer than a day, or one beside `due`.
    """
    start = clock()
    check(runner, gallery, deadline)
    until = due_time(deadline, due, start)
    last = len(runner.costs.macs) - 1
    if not 0 <= first <= last or (times is not None and len(times.steps) != last + 1):
        raise ValueError(f"the network has {last + 1} exits, got times of {times} and {first} as the first to answer")
    picture = prepared(image, runner.preparation)[None]
    reading = clock() - start
    too_late = Deadline(until, (0.0,) * (last + 1) if times is None else times.steps, clock)
    walk = runner.walk(picture)
    for exit, macs in enumerate(runner.costs.macs):
        vectors = walk.exit((lambda: clock() > until) if exit > first else None)
        if vectors is None:
            return
        if exit < first:
            continue
        hits, sure = look_up(gallery, exit, vectors, count, [where], confidence)[0]
        seconds = clock() - start
        yield Answer(exit, hits, sure, macs, seconds, start + seconds <= until, vectors[0], reading=reading)
        if exit == last or too_late.stops(exit, sure):
            return


def identify(
    image: Query,
    runner: Runner,
    gallery: Gallery,
    *,
    deadline: float | None = None,
    due: float | None = None,
    policy: ExitPolicy | None = None,
    times: ExitTimes | None = None,
    allow_late: bool = False,
    count: int = 10,
    where: Where | None = None,
    confidence: Confidence = "margin",
    clock: Callable[[], float] = time.perf_counter,
) -> Answer:
    """The deepest answer within the deadline, or the one at which the policy lets the query leave.

    With `due` instead of `deadline`, time that the picture has waited before this call counts too.

    Args:
        policy: asked at every exit but the last.
        allow_late: answer from the first exit if the deadline is too short for it, instead of an error.

    Other arguments and errors are those of `answers`.

    Raises:
        DeadlineTooShortError: the first exit would not be, or was not, ready by the deadline.
    """
    start = clock()
    check(runner, gallery, deadline)
    until = due_time(deadline, due, start)
    if times is not None and start + times.median[0] > until and not allow_late:
        raise DeadlineTooShortError.of("takes", times.median[0], until - start)
    last = len(runner.costs.macs) - 1
    found = answers(
        image,
        runner,
        gallery,
        due=until,
        times=times,
        count=count,
        where=where,
        confidence=confidence,
        first=last if until == math.inf and policy is None else 0,  # nobody asks what earlier exits say
        clock=clock,
    )
    best = next(found)
    if not best.deadline_met and not allow_late:
        raise DeadlineTooShortError.of("took", best.seconds, until - start)
    while best.exit < last and not (
        math.isnan(best.confidence) or (policy and policy.stops(best.exit, best.confidence))
    ):
        later = next(found, None)
        if later is None or not later.deadline_met:
            break
        best = later
    return best


def due_time(deadline: float | None, due: float | None, start: float) -> float:
    """When an answer is due, on the clock; infinity without a deadline."""
    if due is not None and (deadline is not None or math.isnan(due)):
        raise ValueError(f"give either a deadline or the time when an answer is due, got {deadline} and {due}")
    return due if due is not None else math.inf if deadline is None else start + deadline


def check(runner: Runner, gallery: Gallery, deadline: float | None = None) -> None:
    """Refuse a gallery whose vectors came from another network, and a deadline that isn't a positive time.

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


def look_up(
    gallery: Gallery,
    exit: int,
    vectors: NDArray[np.float32],
    count: int,
    where: Sequence[Where | None],
    confidence: Confidence,
) -> list[tuple[Hits, float]]:
    """The nearest entries of each query, (1, k), and its confidence; NaN if no entry can be compared.

    A list that holds one person only is searched deeper, until it holds another one or is complete.

    Args:
        vectors: (Q, D).
        where: Q filters.
    """
    if confidence not in get_args(Confidence):
        raise ValueError(f"confidence must be one of {', '.join(get_args(Confidence))}, got {confidence!r}")
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    hits = gallery.search(exit, vectors, max(count, DEPTHS[confidence]), where=where)
    found = []
    for query, allowed in enumerate(where):
        one = deeper = hits.of(query)
        if confidence == "nearness":
            sure = nearness(one.distances)
        elif confidence == "agreement":
            sure = agreement(one.distances, one.people)
        else:
            while np.isnan(sure := margin(deeper.distances, deeper.people, complete=deeper.complete)):
                if deeper.complete[0]:
                    break
                depth = 4 * max(1, deeper.distances.shape[1])
                deeper = gallery.search(exit, vectors[query : query + 1], depth, where=allowed).of(0)
        found.append((one.first(count), float(sure[0])))
    return found


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
    """Answer once for a black picture, so that the first query need not wait for the gallery and code to be loaded.

    Args:
        first: the first exit that will answer.
    """
    black = np.zeros((runner.preparation.height, runner.preparation.width, 3), np.uint8)
    for _ in answers(black, runner, gallery, first=first, count=1, confidence="nearness"):
        pass
