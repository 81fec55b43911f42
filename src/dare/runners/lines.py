"""The line to a worker process: what is asked over it, and what happens when the process dies or hangs."""

import itertools
import os
import pickle
import socket
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from dare.runners.runner import Stop

POLL_SECONDS = 0.0005
"""How often `stop` is asked while a worker is busy."""

OPENING_SECONDS = 300.0
"""The same for opening the network, which may have to be compiled."""

TRIES = 3
"""How often in a row a worker may fail before nobody tries again."""

GONE = (EOFError, OSError)

COUNTING = threading.Lock()


class WorkerError(ChildProcessError):
    """Worker processes that fail again and again, or that were closed."""


class OpeningError(Exception):
    """A network that the worker could not open; its cause is what the user should see."""


class _HangsError(Exception):
    """A worker that does not answer."""


class Making:
    """How new worker processes are asked for."""

    def __init__(self, line: socket.socket) -> None:
        self._line, self._lock = line, threading.Lock()

    def worker(self, place: int) -> Connection:
        """The line to a new process; the one that was in its place before is killed."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            with self._lock:
                socket.send_fds(self._line, [bytes([place])], [theirs.fileno()])
            return Connection(os.dup(ours.fileno()))


class Worker:
    """The line to a process. One thread at a time asks; answers come in the order of the questions.

    Attributes:
        process: which one it is, counted from 0 as they are replaced.
        load: walks it has, those forgotten included.
        forgotten: walks that nobody holds any more, which the process has not been told yet.
    """

    def __init__(self, place: int, making: Making) -> None:
        self.process, self.load, self.numbers = 0, 0, itertools.count()
        self.forgotten: deque[int] = deque()
        self._place, self._making, self._lock = place, making, threading.Lock()
        self._failures = 0  # since it last answered
        self._begin()

    def _begin(self) -> None:
        """Ask for the process; what it is, or why it could not open the network, is its first answer."""
        self._line, self._is_opening = self._making.worker(self._place), True
        self._unheard, self._since = 1, time.monotonic()

    def opened(self) -> dict[str, Any]:
        """What the process says of the network.

        Raises:
            OpeningError: it could not open it.
            EOFError, OSError: it is gone.
        """
        found: dict[str, Any] = self._hear()
        return found

    def ask(self, unsent: Callable[[int], list[tuple[Any, ...]]], patience: float, stop: Stop | None = None) -> Any:
        """Send what a walk has not sent yet, which ends in a question, and wait for the last answer.

        Args:
            unsent: the number of a process -> what that has not been told.
            patience: seconds that an answer may take.
            stop: None comes as soon as it says True.

        Raises:
            WorkerError: processes failed `TRIES` times in a row, or were closed.
            Exception: what went wrong there.
        """
        while not self._lock.acquire(timeout=-1 if stop is None else POLL_SECONDS):
            if stop is not None and stop():
                return None
        try:
            while True:
                try:
                    answer = self._asked(unsent, patience, stop)
                    break
                except (*GONE, _HangsError) as error:
                    self._replace("did not answer" if isinstance(error, _HangsError) else "was killed", error)
                except OpeningError as error:
                    raise (error.__cause__ or error) from None
        finally:
            self._lock.release()
        if isinstance(answer, Exception):
            try:
                raise answer
            finally:
                del answer  # an error that holds itself would keep all that its frames hold
        return answer

    def _asked(self, unsent: Callable[[int], list[tuple[Any, ...]]], patience: float, stop: Stop | None) -> Any:
        if (stop is not None and stop()) or not self._hear_all(stop, patience):
            return None
        words = unsent(self.process)
        for number, word in enumerate(words, start=1):
            if word[0] in ("walk", "keep"):
                self._line.send(word)
                continue
            self._line.send((*word, stop is not None))
            if not self._unheard:
                self._since = time.monotonic()
            self._unheard += 1
            if not self._comes(stop, patience):
                self._line.send(("stop",))
                return None
            answer = self._hear()
            if number < len(words) and answer is None:
                return None
        return answer

    def _replace(self, problem: str, error: BaseException) -> None:
        self._failures += 1
        if self._failures >= TRIES:
            raise WorkerError(
                f"a worker process {problem}, {TRIES} times in a row, perhaps for want of memory; "
                "open the runner again, with fewer workers"
            ) from error
        self._line.close()
        try:
            self._begin()
        except GONE as gone:
            raise WorkerError("the worker processes were closed or killed; open the runner again") from gone
        self.process += 1
        warnings.warn(f"a worker process {problem}; another one does its batch again", stacklevel=2)

    def _hear_all(self, stop: Stop | None, patience: float) -> bool:
        """Hear the answers that nobody waited for, so that the process can go on; False if `stop` said True."""
        while self._unheard:
            if not self._comes(stop, patience):
                return False
            self._hear()
        while self.forgotten:
            self._line.send(("forget", self.forgotten.popleft()))
            with COUNTING:
                self.load -= 1
        return True

    def _comes(self, stop: Stop | None, patience: float) -> bool:
        """Wait for an answer; False if `stop` said True before."""
        patience = OPENING_SECONDS if self._is_opening else patience
        while not self._line.poll(POLL_SECONDS if stop is not None else patience):
            if time.monotonic() > self._since + patience:
                raise _HangsError
            if stop is not None and stop():
                return False
        return True

    def _hear(self) -> Any:
        answer = pickle.loads(self._line.recv_bytes())
        self._unheard -= 1
        self._since = time.monotonic()
        if self._is_opening:
            self._is_opening = False
            if isinstance(answer, Exception):
                raise OpeningError from answer
        else:
            self._failures = 0
        return answer
