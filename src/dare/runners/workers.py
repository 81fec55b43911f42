"""Several processes that run one network, behind the interface of one.

A process of ours (`dare.runners.worker`) opens the network and is then copied by the system for each worker, so that
they share the memory of the weights. Walks stay with the worker that began them; only pictures and vectors travel.
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
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dare.runners.runner import Runner, Stop, Vectors, row_numbers

POLL_SECONDS = 0.0005
"""How often `stop` is asked while a worker is busy."""

LEAVING_SECONDS = 5.0

GONE = (EOFError, OSError)

NOBODY = "a worker process is gone: it was killed, perhaps for want of memory, or closed; open the runner again"

_counting = threading.Lock()


class WorkerError(RuntimeError):
    """A worker process that is gone."""


class Workers:
    """Processes that run one network. What comes goes to the worker with the least to do.

    Any number of threads may use them; close them, or let go of them and of `runner`, to end the processes.

    Args:
        model, settings: as of `open_runner`; a network in memory is pickled to get there.
        count: how many processes, of one thread each.
    """

    def __init__(self, model: Any, count: int, **settings: Any) -> None:
        if count < 1:
            raise ValueError(f"expected at least 1 worker, got {count}")
        if settings.get("device", "cpu") != "cpu":
            raise ValueError(f"several workers share a CPU, not the device {settings['device']!r}; take 1 worker")
        if not hasattr(os, "fork"):
            raise ValueError("several workers need a system that can copy processes, such as Linux; take 1 worker")
        wanted = pickle.dumps((model, settings))
        pairs = [socket.socketpair() for _ in range(count + 1)]
        theirs = [end.detach() for _, end in pairs]
        process = subprocess.Popen(
            [sys.executable, "-m", "dare.runners.worker", *map(str, theirs)],
            pass_fds=theirs,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us
        )
        for end in theirs:
            os.close(end)
        ours = [end for end, _ in pairs]
        control, *lines = (Connection(os.dup(end.fileno())) for end in ours)
        self._workers = [_Worker(line) for line in lines]
        self._end = weakref.finalize(self, _end, process, ours)
        try:
            control.send_bytes(wanted)
            found = control.recv()
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
        return WorkersWalk(self, self._least_busy(), images)

    def close(self) -> None:
        """End the processes."""
        self._end()

    def _least_busy(self) -> "_Worker":
        with _counting:
            left = [worker for worker in self._workers if not worker.gone]
            if not left:
                raise WorkerError(NOBODY)
            worker = min(left, key=lambda worker: worker.load - len(worker.forgotten))
            worker.load += 1
        return worker


class WorkersWalk:
    """A walk in another process, see `Walk`. When nobody holds it any more the worker forgets it."""

    def __init__(self, workers: Workers, worker: "_Worker", images: NDArray[np.float32]) -> None:
        self._workers = workers  # whose processes end when nobody holds them
        self._worker, self._number = worker, next(worker.numbers)
        self._open = True
        self._unsent: list[tuple[Any, ...]] = [("walk", self._number, np.asarray(images))]

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

    def _ask(self, question: str, stop: Stop | None = None) -> Any:
        words, self._unsent = [*self._unsent, (question, self._number)], []
        return self._worker.ask(words, stop)

    def keep(self, rows: Sequence[int]) -> None:
        """As `Walk.keep`."""
        self._unsent.append(("keep", self._number, row_numbers(rows)))

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
        load: walks and batches it has, those forgotten included.
        forgotten: walks that nobody holds any more, which the process has not been told yet.
        gone: whether the process is.
    """

    def __init__(self, line: Connection) -> None:
        self.load, self.numbers, self.gone = 0, itertools.count(), False
        self.forgotten: deque[int] = deque()
        self._line, self._unheard, self._lock = line, 0, threading.Lock()

    def leave(self) -> None:
        """One walk or batch less."""
        with _counting:
            self.load -= 1

    def ask(self, words: Sequence[tuple[Any, ...]], stop: Stop | None = None) -> Any:
        """Send what has no answer and then a question, and wait for its answer; None as soon as `stop` says True.

        Raises:
            WorkerError: the process is gone.
            Exception: what went wrong there.
        """
        while not self._lock.acquire(timeout=-1 if stop is None else POLL_SECONDS):
            if stop is not None and stop():
                return None
        try:
            with self._told():
                if (stop is not None and stop()) or not self._hear_all(stop):
                    return None
                *before, question = words
                for other in before:
                    self._line.send(other)
                self._line.send((*question, stop is not None))
                self._unheard += 1
                if not self._comes(stop):
                    self._line.send(("stop",))
                    return None
                answer = self._hear()
        finally:
            self._lock.release()
        if isinstance(answer, Exception):
            try:
                raise answer
            finally:
                del answer  # an error that holds itself would keep all that its frames hold
        return answer

    def _hear_all(self, stop: Stop | None) -> bool:
        """Hear the answers that nobody waited for, so that the process can go on; False if `stop` said True."""
        while self._unheard:
            if not self._comes(stop):
                return False
            self._hear()
        while self.forgotten:
            self._line.send(("forget", self.forgotten.popleft()))
            self.leave()
        return True

    def _comes(self, stop: Stop | None) -> bool:
        """Wait for an answer; False if `stop` said True before."""
        while stop is not None and not self._line.poll(POLL_SECONDS):
            if stop():
                return False
        return True

    def _hear(self) -> Any:
        content = self._line.recv_bytes()
        self._unheard -= 1
        return pickle.loads(content)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except GONE as error:
            self.gone = True
            raise WorkerError(NOBODY) from error


def _end(process: "subprocess.Popen[bytes]", lines: Sequence[socket.socket]) -> None:
    for line in lines:
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)  # whoever holds a copy of the line hears of it
        line.close()
    try:
        process.wait(LEAVING_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
