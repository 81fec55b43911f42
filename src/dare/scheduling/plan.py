"""Which of many queries is worked on next: first answers first, then deeper ones, each as far as its time goes.

These are decisions only, at times that the caller reads from its clock: `dare.scheduling.scheduler` follows them with
real workers, its tests on a clock of their own.
"""

import heapq
import math
from bisect import insort
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

MOST_WAITING = 10_000
LATELY = 64
SHARE = 0.9
WINDOW = 2.0
"""What an exit costs: the time within which this share of so many runs ended, those of the last seconds."""


class Costs:
    """Seconds that each exit takes behind the one before, search included, by what it took lately.

    A mean would be late whenever the machine gets slower, and after one slow run a maximum would refuse everybody.

    Args:
        seconds: (E,), to begin with.
        window: what is older doesn't count. If nothing younger is known, the shortest time does, so that after a slow
            spell in which everybody was refused somebody is let in to see whether it is over.
    """

    def __init__(self, seconds: Sequence[float], window: float = WINDOW) -> None:
        self.seconds = list(seconds)
        self._window = window
        self._seen = [deque([(-math.inf, each)], LATELY) for each in seconds]
        self._until = math.inf

    def observe(self, exit: int, seconds: float, now: float) -> None:
        """What an exit took that ended now."""
        self._seen[exit].append((now, seconds))
        self._until = -math.inf
        self.look(now)

    def look(self, now: float) -> None:
        """Leave out what is too old by now."""
        if now < self._until:
            return
        for exit, seen in enumerate(self._seen):
            young = sorted(seconds for at, seconds in seen if at > now - self._window)
            self.seconds[exit] = young[int(SHARE * (len(young) - 1))] if young else min(seconds for _, seconds in seen)
        self._until = now + self._window / 10

    def between(self, exit: int, later: int) -> float:
        """From an exit (-1: the start) to a later one."""
        return sum(self.seconds[exit + 1 : later + 1])


@dataclass(eq=False, slots=True)
class Request:
    """A query that asks for an answer in time.

    Attributes:
        due: time when an answer is due.
        least: the exit that it needs at least.
        client: who asked; clients share what there is.
        late: whether a late answer is better than none.
        exit: the deepest that has answered, -1 for none.
        place: counts queries.
    """

    due: float
    least: int = 0
    client: str = ""
    late: bool = False
    exit: int = -1
    place: int = 0

    @property
    def has_answer(self) -> bool:
        return self.exit >= self.least


class Plan:
    """The queries that are open, and who works on which.

    Attributes:
        over: queries that need no more work, with whether they were given up without the answer they need; the caller
            takes them out.

    Args:
        costs: of the exits.
        workers: how many work at once.
    """

    def __init__(self, costs: Costs, workers: int) -> None:
        self.costs, self.workers = costs, workers
        self.over: list[tuple[Request, bool]] = []
        self._last = len(costs.seconds) - 1
        self._waiting: list[Request] = []  # the one that is due first is first
        self._running: dict[Request, float] = {}  # until when, as far as is known
        self._count = 0
        self._closing = False

    def __len__(self) -> int:
        return len(self._waiting) + len(self._running)

    def submit(self, query: Request, now: float) -> float:
        """Take a query in if it and all others get the answer that they need in time.

        Where clients differ in how many wait, the youngest query of the one with the most gives way.

        Returns:
            0 if it was taken in; else seconds until it would be, infinity if it never would.
        """
        self.costs.look(now)
        alone = now + self.costs.between(-1, query.least) - query.due
        if alone > 0 and not query.late:
            return math.inf
        self._count += 1
        query.place = self._count
        while (wait := self._overrun(query, now)) > 0:
            if (other := self._gives_way(query)) is None:
                return wait
            self._waiting.remove(other)
            self.over.append((other, True))
        insort(self._waiting, query, key=_urgency)
        return 0.0

    def next(self, now: float) -> tuple[Request, int] | None:
        """Who is worked on from now on, and up to which exit; None if nobody needs to be."""
        for query in [query for query in self._waiting if not query.has_answer]:
            if query.late or now + self.costs.between(query.exit, query.least) <= query.due:
                return self._begin(query, now)
            self._end(query, given_up=True)
        for query in list(self._waiting):
            exit = query.exit + 1
            if exit <= self._last and not self._closing and now + self.costs.seconds[exit] <= query.due:
                return self._begin(query, now)
            self._end(query)
        return None

    def done(self, query: Request, now: float, *, is_enough: bool) -> None:
        """A worker came to the end of an exit, or stopped before it."""
        del self._running[query]
        if is_enough or (query.exit == self._last) or (query.has_answer and now >= query.due):
            self.over.append((query, not query.has_answer))
        else:
            insort(self._waiting, query, key=_urgency)

    def close(self) -> None:
        """From now on nobody gets a deeper answer than the one needed."""
        self._closing = True

    def _begin(self, query: Request, now: float) -> tuple[Request, int]:
        self._waiting.remove(query)
        exit = query.exit + 1
        self._running[query] = now + self.costs.seconds[exit]
        return query, exit

    def _end(self, query: Request, *, given_up: bool = False) -> None:
        self._waiting.remove(query)
        self.over.append((query, given_up))

    def _overrun(self, new: Request, now: float) -> float:
        """By how much somebody would miss the answer needed with a new query, each served when it is due first."""
        needy = [(query, 0.0) for query in self._waiting if not query.has_answer]
        needy += [(query, until) for query, until in self._running.items() if query.exit + 1 < query.least]
        if len(needy) >= MOST_WAITING:
            return self.costs.seconds[0]
        free = [max(now, until) for until in self._running.values()]
        free += [now] * (self.workers - len(free))
        heapq.heapify(free)
        worst = 0.0
        for query, ready in sorted([*needy, (new, now)], key=lambda one: _urgency(one[0])):
            first = query.exit + (query in self._running)
            finish = max(heapq.heappop(free), ready) + self.costs.between(first, query.least)
            heapq.heappush(free, finish)
            if not query.late:
                worst = max(worst, finish - query.due)
        return worst

    def _gives_way(self, new: Request) -> Request | None:
        """The youngest waiting query of the client that has most, if that has at least two more than the new one's."""
        needy = [query for query in self._waiting if not query.has_answer]
        counts = Counter(query.client for query in needy)
        most = max(counts, key=lambda client: counts[client], default=new.client)
        if counts[most] < counts[new.client] + 2:
            return None
        return max((query for query in needy if query.client == most), key=lambda query: query.place)


def _urgency(query: Request) -> tuple[float, int]:
    return query.due, query.place
