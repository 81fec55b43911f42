"""From a picture to an answer: exit by exit, until the deadline, the policy or the last exit.

To follow one query, start with `answers`, then `identify`; `dare.identification.stream` does the same for many. The
network is behind `runner` (dare.runners), the people behind `gallery` (dare.gallery), and a policy says when to stop
(dare.anytime.policies).
"""

import time
from collections.abc import Callable, Iterator

import numpy as np

from dare.anytime.costs import ExitTimes
from dare.anytime.policies import Deadline, ExitPolicy
from dare.anytime.records import Confidence
from dare.gallery.entry import Where
from dare.gallery.store import Gallery
from dare.identification.answer import Answer, DeadlineTooShortError, Picture, check, look_up, prepared
from dare.runners.runner import Runner


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
