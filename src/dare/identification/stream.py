"""Answers to a stream of queries: micro-batches go through the network together, and decide at each exit in order."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from itertools import count as count_up
from itertools import islice

import numpy as np

from dare.anytime.policies import ExitPolicy
from dare.anytime.records import Confidence
from dare.gallery.entry import Where
from dare.gallery.store import Gallery
from dare.identification.answer import Answer, Picture, check, look_up, prepared
from dare.images.reading import UnreadableImageError
from dare.runners.runner import Runner

Turn = Callable[[int], AbstractContextManager[None]]
"""Exit -> a context that begins once all batches before have been there, or have left earlier."""

Batch = list[tuple[int, Picture]]
"""Queries with their numbers in the stream."""


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


class Turns:
    """Lets batches decide at each exit in their order, whichever comes there first.

    Args:
        exits: where is decided, counted from 0.
    """

    def __init__(self, exits: int) -> None:
        self._next = [0 for _ in range(exits)]
        self._finished: set[int] = set()
        self._changed = threading.Condition()
        self._broken = False

    @contextmanager
    def of(self, place: int) -> Iterator[Turn]:
        """What a batch at this place of the order asks at exits; behind it the batch has left, or failed."""
        try:
            yield lambda exit: self._at(place, exit)
        except BaseException:
            self._broken = True
            raise
        finally:
            with self._changed:
                self._finished.add(place)
                for exit, following in enumerate(self._next):
                    while following in self._finished:
                        following += 1  # noqa: PLW2901
                    self._next[exit] = following
                self._finished = {number for number in self._finished if number >= min(self._next, default=place + 1)}
                self._changed.notify_all()

    @contextmanager
    def _at(self, place: int, exit: int) -> Iterator[None]:
        if exit >= len(self._next):  # at the last exit nothing is decided
            yield
            return
        with self._changed:
            self._changed.wait_for(lambda: self._next[exit] == place)
        if self._broken:
            raise RuntimeError("a batch before this one failed, so nothing is decided any more")
        try:
            yield
        finally:
            with self._changed:
                self._next[exit] = place + 1
                while self._next[exit] in self._finished:
                    self._next[exit] += 1
                self._changed.notify_all()
