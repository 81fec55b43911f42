"""From a picture to an answer: exit by exit, until the deadline, the policy or the last exit.

Who follows one query reads `answers` first, then `identify`; `identify_stream` is the same for many. The network is
behind `runner` (dare.runners), the people behind `gallery` (dare.gallery), and a policy says when to stop
(dare.anytime.policies).
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count as count_up
from itertools import islice

import numpy as np

from dare.anytime.costs import ExitTimes
from dare.anytime.policies import Deadline, ExitPolicy
from dare.gallery.entry import Where
from dare.gallery.store import Gallery
from dare.identification.answer import Answer, Confidence, DeadlineTooShortError, Picture, check, look_up, prepared
from dare.identification.turns import Turn, Turns
from dare.images.reading import UnreadableImageError
from dare.runners.runner import Runner

Batch = list[tuple[int, Picture]]
"""Queries with their numbers in the stream."""


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
    first: int = 0,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Answer]:
    """One answer per exit, each better than the one before; not asking for the next one is stopping.

    Args:
        image: the query.
        runner, gallery: of one model.
        deadline: seconds from the first question on. No exit is begun that would, by `times`, end after it, and
            before each block the clock has the last word. The first exit answers, late or not.
        times: measured by `dare.measure`, the search included; without it only the clock stops the network.
        count: entries per answer.
        where: which entries of the gallery count.
        confidence: how sure an answer is: its margin to the nearest other person, or its nearness.
        first: the first exit to answer; at those before it the gallery is not searched, and no deadline looked at.

    Raises:
        UnreadableImageError: of the picture.
        MismatchError: the gallery is of another model.
        ValueError: a deadline that is no positive time, or is longer than a day.
    """
    check(runner, gallery, deadline)
    start = clock()
    until = np.inf if deadline is None else start + deadline
    last = len(runner.costs.macs) - 1
    if not 0 <= first <= last or (times is not None and len(times.steps) != last + 1):
        raise ValueError(f"the network has {last + 1} exits, got times of {times} and {first} as the first to answer")
    picture = prepared(image, runner)[None]
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
        yield Answer(exit, hits, sure, macs, seconds, start + seconds <= until, vectors[0])
        if exit == last or too_late.stops(exit, sure):
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
    """The deepest answer within the deadline, or the one at which the policy lets the query leave.

    Args:
        policy: asked at every exit but the last.
        allow_late: answer from the first exit where the deadline is too short for it, instead of an error.

    Other arguments and errors are those of `answers`.

    Raises:
        DeadlineTooShortError: the first exit would not be, or was not, ready by the deadline.
    """
    check(runner, gallery, deadline)
    if deadline is not None and times is not None and times.median[0] > deadline and not allow_late:
        raise DeadlineTooShortError.of("takes", times.median[0], deadline)
    last = len(runner.costs.macs) - 1
    found = answers(
        image,
        runner,
        gallery,
        deadline=deadline,
        times=times,
        count=count,
        where=where,
        confidence=confidence,
        first=last if deadline is None and policy is None else 0,  # nobody asks what earlier exits say
        clock=clock,
    )
    best = next(found)
    if deadline is not None and not best.deadline_met and not allow_late:
        raise DeadlineTooShortError.of("took", best.seconds, deadline)
    while best.exit < last and not (policy and policy.stops(best.exit, best.confidence)):
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
    workers: int = 1,
    count: int = 10,
    where: Where | Callable[[int], Where | None] | None = None,
    confidence: Confidence = "margin",
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Answer]:
    """Answers to a stream of queries, in its order.

    Those of a micro-batch that stay go on together, without those that left.

    A picture that cannot be read gives an answer without hits that says why, and the stream goes on.

    Args:
        policy: asked exit by exit, at each exit in the stream's order.
        micro_batch: queries that run together. With 1 each query is finished before the next one starts, as in
            `replay`.
        workers: micro-batches that are on their way at the same time; open the runner with as many. At each exit they
            are asked about in the stream's order, as with one. Only how far those behind have come by then differs,
            which a policy that looks at all exits, `Steered`, takes into account.
        where: which entries of the gallery count: for all queries, or a function of a query's number in the stream.

    Other arguments and errors are those of `answers`.
    """
    check(runner, gallery)
    for name, value in (("micro_batch", micro_batch), ("workers", workers)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    allowed: Callable[[int], Where | None] = where if callable(where) else lambda _: where
    turns = Turns(len(runner.costs.macs) - 1)

    def run(place: int, batch: Batch) -> list[Answer]:
        with turns.of(place) as turn:
            return _micro_batch(batch, runner, gallery, policy, turn, count, allowed, confidence, clock)

    return _in_order(run, _numbered(images, micro_batch), workers)


def _in_order(run: Callable[[int, Batch], list[Answer]], batches: Iterator[Batch], workers: int) -> Iterator[Answer]:
    """What `run` answers to each batch, in their order, several at a time."""
    if workers == 1:
        for place, batch in enumerate(batches):
            yield from run(place, batch)
        return
    ahead: deque[Future[list[Answer]]] = deque()
    failure: Exception | None = None
    with ThreadPoolExecutor(workers) as pool:
        for place in count_up():
            try:
                batch = next(batches)
            except StopIteration:
                break
            except Exception as error:  # of whoever gives the pictures: what came before is answered first
                failure = error
                break
            ahead.append(pool.submit(run, place, batch))
            if len(ahead) > workers:
                yield from ahead.popleft().result()
        while ahead:
            yield from ahead.popleft().result()
    if failure is not None:
        raise failure


def _numbered(images: Iterable[Picture], micro_batch: int) -> Iterator[Batch]:
    queue = enumerate(images)
    while batch := list(islice(queue, micro_batch)):
        yield batch


def _micro_batch(
    batch: Batch,
    runner: Runner,
    gallery: Gallery,
    policy: ExitPolicy,
    turn: Turn,
    count: int,
    allowed: Callable[[int], Where | None],
    confidence: Confidence,
    clock: Callable[[], float],
) -> list[Answer]:
    """Answers to queries that go through the network together, as long as they stay."""
    start = clock()
    results: dict[int, Answer] = {}
    pictures = []
    for number, image in batch:
        try:
            pictures.append((number, prepared(image, runner)))
        except UnreadableImageError as problem:
            results[number] = Answer.unreadable(problem, clock() - start)
    waiting = [number for number, _ in pictures]
    walk = runner.walk(np.stack([picture for _, picture in pictures])) if pictures else None
    last = len(runner.costs.macs) - 1
    for exit, macs in enumerate(runner.costs.macs):
        vectors = walk.exit() if walk and waiting else None
        if vectors is None:
            break
        found = look_up(gallery, exit, vectors, count, [allowed(number) for number in waiting], confidence)
        staying = []
        with turn(exit):
            for row, (number, (hits, sure)) in enumerate(zip(waiting, found, strict=True)):
                if exit == last or policy.stops(exit, sure):
                    results[number] = Answer(exit, hits, sure, macs, clock() - start, True, vectors[row])
                else:
                    staying.append(row)
        if walk and 0 < len(staying) < len(waiting):
            walk.keep(staying)
        waiting = [waiting[row] for row in staying]
    return [results[number] for number, _ in batch]
