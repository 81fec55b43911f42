"""Many queries on one machine, each with a time when its answer is due: all get the deepest answer that fits.

To follow a query, start with `Scheduler.submit`. It is taken in or refused at once, by what exits cost lately
(`dare.scheduling.plan`). A thread per worker takes what the plan says: one exit of one query, then asks again.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dare.anytime.records import Confidence
from dare.gallery.entry import Where
from dare.gallery.store import Gallery
from dare.identification.answer import Answer, check, look_up, measure_answers, warm_up
from dare.images.reading import Query, prepared
from dare.runners.runner import Runner, Walk
from dare.scheduling.plan import Costs, Plan, Request

if TYPE_CHECKING:
    from dare.anytime.policies import ExitPolicy

REPEATS = 5
"""Times that each exit is measured at the start."""


class RefusedError(RuntimeError):
    """A query for which there is no time.

    Attributes:
        retry_after: seconds after which the same query would be taken in, as things are; infinity for one whose time is
            too short even for an idle machine.
    """

    code = "overloaded"

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(slots=True)
class _Job:
    """What a query needs besides its place in the plan."""

    picture: Query
    future: "Future[Answer]"
    asked: float
    count: int
    where: Where | None
    on_answer: Callable[[Answer], None]
    walk: Walk | None = None
    best: Answer | None = None
    problem: BaseException | None = None


class Scheduler:
    """Answers queries in time, more coarsely when there are many; any thread may submit them.

    Every future ends in one way: with the deepest `Answer` that was ready in time; with a late one, if that is allowed;
    with a `RefusedError`; or with the error that its picture or its worker met. No answer is later than by one block of
    the network, unless late ones are allowed.

    Args:
        runner, gallery: of one model.
        workers: how many queries are worked on at once. With `open_runner(..., workers=N)`, as many as there are
            processes; otherwise threads of this process.
        policy: leaves early where it says so; None goes on while there is time. It sees all queries.
        confidence: how sure an answer is, as of `answers`.
        clock: monotonic.

    Raises:
        MismatchError: the gallery is of another model.
    """

    def __init__(
        self,
        runner: Runner,
        gallery: Gallery,
        workers: int = 2,
        *,
        policy: "ExitPolicy | None" = None,
        confidence: Confidence = "margin",
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        check(runner, gallery)
        if workers < 1:
            raise ValueError(f"expected at least 1 worker, got {workers}")
        self._runner, self._gallery, self._policy, self._confidence = runner, gallery, policy, confidence
        self._clock = clock
        warm_up(runner, gallery)
        times = measure_answers(runner, gallery, repeats=REPEATS, confidence=confidence)
        self._plan = Plan(Costs(times.steps), workers)
        self._jobs: dict[Request, _Job] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    @property
    def costs(self) -> tuple[float, ...]:
        """Seconds of each exit behind the one before, as queries are taken in by now."""
        return tuple(self._plan.costs.seconds)

    def submit(
        self,
        picture: Query,
        *,
        due: float,
        min_exit: int = 0,
        client: str = "",
        allow_late: bool = False,
        count: int = 10,
        where: Where | None = None,
        on_answer: Callable[[Answer], None] = lambda answer: None,
    ) -> "Future[Answer]":
        """Ask who a picture shows; returns at once.

        Args:
            picture: as of `answers`.
            due: when the answer is due, on the clock; infinity for no limit.
            min_exit: refuse rather than answer from an earlier exit than this one, counted from 0.
            client: who asks. Where there is too little for all, each client gets the same share.
            allow_late: a late answer is better than none.
            count, where: as of `answers`.
            on_answer: called with each answer as it is ready, by the thread that made it; it mustn't take long. What it
                raises ends the query.

        Raises:
            ValueError: no such exit, or a time that is NaN.
            RuntimeError: the scheduler is closed.
        """
        exits = len(self._runner.costs.macs)
        if not 0 <= min_exit < exits or math.isnan(due):
            raise ValueError(f"expected an exit from 0 to {exits - 1} and a time, got {min_exit} and {due}")
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        request, now = Request(due, min_exit, client, allow_late), self._clock()
        job = _Job(picture, Future(), now, count, where, on_answer)
        with self._changed:
            if self._closed:
                raise RuntimeError("the scheduler is closed")
            wait = self._plan.submit(request, now)
            if not wait:
                self._jobs[request] = job
            over = self._taken_out()
            self._changed.notify()
        if wait:
            job.future.set_exception(_refusal(wait))
        self._settle(over)
        return job.future

    def close(self) -> None:
        """Take no more queries, give those that are open the answer they need at least, and end."""
        with self._changed:
            self._closed = True
            self._plan.close()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (found := self._next()) is not None:
            request, job, exit = found
            begun = self._clock()
            answer = self._answer(request, job, exit)
            now = self._clock()
            is_enough = True  # where there was no time, or something is wrong
            if answer is not None:
                with self._given_to(job):
                    is_enough = self._take(request, job, answer)
            with self._changed:
                if answer is not None:
                    self._plan.costs.observe(exit, now - begun, now)
                self._plan.done(request, now, is_enough=is_enough)
                over = self._taken_out()
                self._changed.notify()
            self._settle(over)

    def _next(self) -> tuple[Request, _Job, int] | None:
        """What to do next; None if the scheduler is closed and everything is done."""
        while True:
            with self._changed:
                while not (found := self._plan.next(self._clock())) and not self._plan.over:
                    if self._closed and not len(self._plan):
                        self._changed.notify_all()
                        return None
                    self._changed.wait()
                over = self._taken_out()
                job = self._jobs[found[0]] if found else None
            self._settle(over)
            if found and job:
                return found[0], job, found[1]

    def _answer(self, request: Request, job: _Job, exit: int) -> Answer | None:
        """What the next exit says; None if there was no time, nobody waits, or the job now has a problem."""
        if job.future.cancelled():
            return None
        with self._given_to(job):
            reading = 0.0 if job.best is None else job.best.reading
            if job.walk is None:
                start = self._clock()
                job.walk = self._runner.walk(prepared(job.picture, self._runner.preparation)[None])
                reading = self._clock() - start
            is_late = None if request.late and exit <= request.least else lambda: self._clock() > request.due
            vectors = job.walk.exit(is_late)
            if vectors is None:
                return None
            hits, sure = look_up(self._gallery, exit, vectors, job.count, [job.where], self._confidence)[0]
            now, macs = self._clock(), self._runner.costs.macs[exit]
            return Answer(exit, hits, sure, macs, now - job.asked, now <= request.due, vectors[0], reading=reading)
        return None

    def _take(self, request: Request, job: _Job, answer: Answer) -> bool:
        """Keep an answer that is in time, and tell whether it is enough."""
        if not (answer.deadline_met or request.late):
            return True
        job.best, request.exit = answer, answer.exit
        job.on_answer(answer)
        if not request.has_answer:
            return False
        # Where nothing can be found, deeper exits find nothing either.
        if math.isnan(answer.confidence):
            return True
        with self._changed:  # a policy sees one query after the other
            return self._policy is not None and self._policy.stops(answer.exit, answer.confidence)

    @contextmanager
    def _given_to(self, job: _Job) -> Iterator[None]:
        """What goes wrong in the block ends this query, and no other."""
        try:
            yield
        except Exception as error:
            job.problem = error

    def _taken_out(self) -> list[tuple[_Job, bool]]:
        over = [(self._jobs.pop(request), given_up) for request, given_up in self._plan.over]
        self._plan.over.clear()
        return over

    def _settle(self, over: list[tuple[_Job, bool]]) -> None:
        for job, given_up in over:
            with suppress(InvalidStateError):  # nobody waits any more
                if job.problem is not None:
                    job.future.set_exception(job.problem)
                elif given_up or job.best is None:
                    job.future.set_exception(_refusal(self.costs[0]))
                else:
                    job.future.set_result(job.best)


def _refusal(wait: float) -> RefusedError:
    if wait == math.inf:
        return RefusedError("an answer takes longer than that, even when nobody else asks; allow more time", wait)
    return RefusedError(f"there are too many queries; ask again in {wait:.3f} s", wait)
