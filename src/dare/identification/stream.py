"""Answers to a stream of queries: micro-batches go through the network together, and decide at each exit in order."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import islice

import numpy as np

from dare.anytime.policies import ExitPolicy, Steered
from dare.anytime.records import Confidence
from dare.gallery.entry import Where
from dare.gallery.store import Gallery
from dare.identification.answer import Answer, check, look_up
from dare.images.reading import Query, UnreadableImageError, prepared
from dare.runners.runner import Runner

Batch = list[tuple[int, Query]]
"""Queries with their numbers in the stream."""

Job = Callable[[], list[Answer]]

Turn = Callable[[int], AbstractContextManager[None]]
"""Exit -> a context that begins once all earlier batches have been there, or have left earlier."""


def identify_stream(
    images: Iterable[Query],
    runner: Runner,
    gallery: Gallery,
    policy: ExitPolicy,
    *,
    micro_batch: int = 4,
    workers: int = 1,
    count: int = 10,
    where: Where | Callable[[int], Where | None] | None = None,
    confidence: Confidence = "margin",
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Answer]:
    """Answers to a stream of queries, in its order.

    Those of a micro-batch that stay go on together, without those that left. A picture that cannot be read gives an
    answer without hits that says why, and the stream goes on.

    Args:
        policy: asked exit by exit, at each exit in the stream's order.
        micro_batch: queries that run together. With 1 each query is finished before the next one starts, as in
            `replay`.
        workers: micro-batches that run at the same time; open the runner with the same number. At each exit the policy
            is asked in the stream's order, as with one worker. Only how far later batches have come by then differs,
            which matters to a policy that looks at all exits, `Steered`. A budget of time is each worker's own then.
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

    def jobs() -> Iterator[Job]:
        queue = enumerate(images)
        try:
            for place, batch in enumerate(iter(lambda: list(islice(queue, micro_batch)), [])):
                turns.begin(place)
                yield partial(run, place, batch)
        except Exception as error:  # of whoever gives the pictures: what came before is answered first
            yield partial(_fail, error)

    return _in_order(jobs(), workers)


def _fail(error: Exception) -> list[Answer]:
    raise error


def _in_order(jobs: Iterator[Job], workers: int) -> Iterator[Answer]:
    """What the jobs answer, in their order, several at a time."""
    if workers == 1:
        for job in jobs:
            yield from job()
        return
    ahead: deque[Future[list[Answer]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for job in jobs:
            ahead.append(pool.submit(job))
            if len(ahead) > workers:
                yield from ahead.popleft().result()
        while ahead:
            yield from ahead.popleft().result()


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
    waiting, pictures = [], []
    reading: dict[int, float] = {}
    for number, image in batch:
        begun = clock()
        try:
            pictures.append(prepared(image, runner.preparation))
            waiting.append(number)
            reading[number] = clock() - begun
        except UnreadableImageError as problem:
            results[number] = Answer.unreadable(problem, clock() - start)
    walk = runner.walk(np.stack(pictures)) if pictures else None
    last = len(runner.costs.macs) - 1
    for exit, macs in enumerate(runner.costs.macs):
        vectors = walk.exit() if walk and waiting else None
        if walk is None or vectors is None:
            break
        found = look_up(gallery, exit, vectors, count, [allowed(number) for number in waiting], confidence)
        staying = []
        with turn(exit):
            for row, (number, (hits, sure)) in enumerate(zip(waiting, found, strict=True)):
                if exit == last or policy.stops(exit, sure):
                    spent = clock() - start
                    answer = Answer(exit, hits, sure, macs, spent, True, vectors[row], reading=reading[number])
                    results[number] = answer
                else:
                    staying.append(row)
        if 0 < len(staying) < len(waiting):
            walk.keep(staying)
        waiting = [waiting[row] for row in staying]
    if isinstance(policy, Steered):
        policy.took(clock() - start, [results[number].exit for number in reading])
    return [results[number] for number, _ in batch]


class Turns:
    """Lets batches decide at each exit in their order, whichever comes there first.

    Args:
        exits: how many there are at which something is decided.
    """

    def __init__(self, exits: int) -> None:
        self._exits = exits
        self._decided: dict[int, int] = {}  # batches on their way -> at how many exits they have decided
        self._failed = math.inf  # the first batch that did
        self._changed = threading.Condition()

    def begin(self, place: int) -> None:
        """Say in order which batches there are, before any of them asks."""
        with self._changed:
            self._decided[place] = 0

    @contextmanager
    def of(self, place: int) -> Iterator[Turn]:
        """What a batch asks at exits; behind it the batch has left, or failed."""
        try:
            yield lambda exit: self._at(place, exit)
        except BaseException:
            self._failed = min(self._failed, place)
            raise
        finally:
            with self._changed:
                del self._decided[place]
                self._changed.notify_all()

    @contextmanager
    def _at(self, place: int, exit: int) -> Iterator[None]:
        if exit < self._exits:
            with self._changed:
                self._changed.wait_for(
                    lambda: all(done > exit for before, done in self._decided.items() if before < place)
                )
            if self._failed < place:
                raise RuntimeError("a batch before this one failed, so nothing is decided any more")
        yield
        with self._changed:
            self._decided[place] = exit + 1
            self._changed.notify_all()
