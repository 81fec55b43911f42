"""Several processes that run one network, behind the interface of one.

A process of ours (`dare.runners.worker`) opens the network and is then copied by the system for each worker, so that
they share the memory of the weights. Walks stay with the worker that began them; only pictures and vectors travel. A
worker that dies or does not answer is replaced by another copy, which does its walks again.
"""

import contextlib
import itertools
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dare.runners.runner import Runner, Stop, Vectors, row_numbers

POLL_SECONDS = 0.0005
"""How often `stop` is asked while a worker is busy."""

LEAVING_SECONDS = 5.0

PATIENCE = 20.0
PATIENCE_FOR_AN_IMAGE = 1.0
"""Seconds without an answer after which a worker counts as hanging, and what each image of its walk adds to them."""

TRIES = 3
"""How often in a row workers may fail before nobody tries again."""

GONE = (EOFError, OSError)

_counting = threading.Lock()


class WorkerError(RuntimeError):
    """Worker processes that fail again and again, or that were closed."""


class _HangsError(Exception):
    """A worker that does not answer."""


class Workers:
    """Processes that run one network. What comes goes to the worker with the least to do.

    Any number of threads may use them; close them, or let go of them and of `runner`, to end the processes.

    Args:
        model, settings: as of `open_runner`; a network in memory is pickled to get there.
        count: how many processes, of one thread each.
    """

    def __init__(self, model: Any, count: int, **settings: Any) -> None:
        if not 1 <= count < 256:
            raise ValueError(f"expected 1 to 255 workers, got {count}")
        if settings.get("device", "cpu") != "cpu":
            raise ValueError(f"several workers share a CPU, not the device {settings['device']!r}; take 1 worker")
        if not hasattr(os, "fork"):
            raise ValueError("several workers need a system that can copy processes, such as Linux; take 1 worker")
        wanted = pickle.dumps((model, settings))
        ours, theirs = socket.socketpair()
        process = subprocess.Popen(
            [sys.executable, "-m", "dare.runners.worker", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us
        )
        theirs.close()
        self._control = Connection(os.dup(ours.fileno()))
        self._end = weakref.finalize(self, _end, process, ours)
        self._making = _Making(ours)
        try:
            self._control.send_bytes(wanted)
            self._workers = [_Worker(place, self._making) for place in range(count)]
            found = self._control.recv()
        except GONE as error:
            self.close()
            raise WorkerError("the worker process ended before the network was open; it says why above") from error
        if isinstance(found, BaseException):
            self.close()
            raise found
        self._about = found | {"description": f"{found['description']}, {count} workers"}

    def runner(self) -> Runner:
        """The network."""
        return Runner(**self._about, begin=self.walk, close=self.close)

    def walk(self, images: NDArray[np.float32]) -> "WorkersWalk":
        """As `Runner.walk`."""
        with _counting:
            worker = min(self._workers, key=lambda worker: worker.load - len(worker.forgotten))
            worker.load += 1
        return WorkersWalk(self, worker, images)

    def close(self) -> None:
        """End the processes."""
        self._end()


class _Making:
    """How new worker processes are asked for."""

    def __init__(self, line: socket.socket) -> None:
        self.failures = 0  # of workers, since one last answered
        self._line, self._lock = line, threading.Lock()

    def worker(self, place: int) -> Connection:
        """The line to a new process; the one that was in its place before is killed."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            with self._lock:
                socket.send_fds(self._line, [bytes([place])], [theirs.fileno()])
            return Connection(os.dup(ours.fileno()))


class WorkersWalk:
    """A walk in another process, see `Walk`. When nobody holds it any more the worker forgets it."""

    def __init__(self, workers: Workers, worker: "_Worker", images: NDArray[np.float32]) -> None:
        self._workers = workers  # whose processes end when nobody holds them
        self._worker, self._number = worker, next(worker.numbers)
        self._open = True
        self._done: list[tuple[Any, ...]] = [("walk", self._number, np.asarray(images))]
        self._sent, self._process = 0, worker.process
        self._patience = PATIENCE + PATIENCE_FOR_AN_IMAGE * len(images)

    def exit(self, stop: Stop | None = None) -> Vectors | None:
        """As `Walk.exit`; it returns as soon as `stop` says True, the worker stops before its next block."""
        vectors: Vectors | None = self._ask("exit", stop) if self._open else None
        if vectors is None:
            self._forget()
        return vectors

    def finish(self) -> tuple[list[Vectors], Vectors | None]:
        """As `Walk.finish`."""
        try:
            found: tuple[list[Vectors], Vectors | None] = self._ask("finish")
        finally:
            self._forget()
        return found

    def keep(self, rows: Sequence[int]) -> None:
        """As `Walk.keep`."""
        self._done.append(("keep", self._number, row_numbers(rows)))

    def _ask(self, question: str, stop: Stop | None = None) -> Any:
        self._done.append((question, self._number))
        return self._worker.ask(self._unsent, self._patience, stop)

    def _unsent(self, process: int) -> list[tuple[Any, ...]]:
        """What a process has not been told yet, all of it if it is a new one."""
        if process != self._process:
            self._process, self._sent = process, 0
        words, self._sent = self._done[self._sent :], len(self._done)
        return words

    def _forget(self) -> None:
        # This may run in the middle of anything, also of what another walk is being told: so nothing is sent from here.
        if self._open:
            self._open = False
            self._worker.forgotten.append(self._number)

    def __del__(self) -> None:
        self._forget()


class _Worker:
    """The line to a process. One thread at a time asks; answers come in the order of the questions.

    Attributes:
        process: which one it is, counted from 0 as they are replaced.
        load: walks it has, those forgotten included.
        forgotten: walks that nobody holds any more, which the process has not been told yet.
    """

    def __init__(self, place: int, making: _Making) -> None:
        self.process, self.load, self.numbers = 0, 0, itertools.count()
        self.forgotten: deque[int] = deque()
        self._place, self._making, self._lock = place, making, threading.Lock()
        self._line, self._unheard, self._since = making.worker(place), 0, 0.0

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
        self._making.failures += 1
        if self._making.failures >= TRIES:
            raise WorkerError(
                f"a worker process {problem}, {TRIES} times in a row, perhaps for want of memory; "
                "open the runner again, with fewer workers"
            ) from error
        self._line.close()
        try:
            self._line = self._making.worker(self._place)
        except GONE as gone:
            raise WorkerError("the worker processes were closed or killed; open the runner again") from gone
        self.process, self._unheard = self.process + 1, 0
        warnings.warn(f"a worker process {problem}; another one does its batch again", stacklevel=2)

    def _hear_all(self, stop: Stop | None, patience: float) -> bool:
        """Hear the answers that nobody waited for, so that the process can go on; False if `stop` said True."""
        while self._unheard:
            if not self._comes(stop, patience):
                return False
            self._hear()
        while self.forgotten:
            self._line.send(("forget", self.forgotten.popleft()))
            with _counting:
                self.load -= 1
        return True

    def _comes(self, stop: Stop | None, patience: float) -> bool:
        """Wait for an answer; False if `stop` said True before."""
        while not self._line.poll(POLL_SECONDS if stop is not None else patience):
            if time.monotonic() > self._since + patience:
                raise _HangsError
            if stop is not None and stop():
                return False
        return True

    def _hear(self) -> Any:
        content = self._line.recv_bytes()
        self._unheard -= 1
        self._making.failures, self._since = 0, time.monotonic()
        return pickle.loads(content)


def _end(process: "subprocess.Popen[bytes]", line: socket.socket) -> None:
    with contextlib.suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)  # whoever holds a copy of the line hears of it
    line.close()
    try:
        process.wait(LEAVING_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
