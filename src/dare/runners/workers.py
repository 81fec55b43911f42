"""Several processes that run one network, behind the interface of one.

A process of ours (`dare.runners.worker`) opens the network and is then copied by the system for each worker, so that
they share the memory of the weights. Walks stay with the worker that began them; only pictures and vectors travel. A
worker that dies or does not answer is replaced by another copy, which does its walks again.
"""

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dare.runners.lines import COUNTING, GONE, Making, OpeningError, Worker, WorkerError
from dare.runners.runner import Runner, Stop, Vectors, row_numbers

LEAVING_SECONDS = 5.0

PATIENCE = 20.0
PATIENCE_FOR_AN_IMAGE = 1.0
"""Seconds without an answer after which a worker counts as hanging, and what each image of its walk adds to them."""


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
        self._end = weakref.finalize(self, _end, process, ours, os.getpid())
        try:
            with Connection(os.dup(ours.fileno())) as control:
                control.send_bytes(wanted)
            making = Making(ours)
            self._workers = [Worker(place, making) for place in range(count)]
            found, *_ = [worker.opened() for worker in self._workers]
        except GONE as error:
            self.close()
            raise WorkerError("a worker process ended before the network was open; it says why above") from error
        except OpeningError as error:
            self.close()
            raise (error.__cause__ or error) from None
        except BaseException:
            self.close()
            raise
        self._about = found | {"description": f"{found['description']}, {count} workers"}

    def runner(self) -> Runner:
        """The network."""
        return Runner(**self._about, begin=self.walk, close=self.close)

    def walk(self, images: NDArray[np.float32]) -> "WorkersWalk":
        """As `Runner.walk`."""
        with COUNTING:
            worker = min(self._workers, key=lambda worker: worker.load - len(worker.forgotten))
            worker.load += 1
        return WorkersWalk(self, worker, images)

    def close(self) -> None:
        """End the processes."""
        self._end()


class WorkersWalk:
    """A walk in another process, see `Walk`. When nobody holds it any more the worker forgets it."""

    def __init__(self, workers: Workers, worker: Worker, images: NDArray[np.float32]) -> None:
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


def _end(process: "subprocess.Popen[bytes]", line: socket.socket, owner: int) -> None:
    if os.getpid() != owner:  # a fork of the program that has the workers
        line.close()
        return
    with contextlib.suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)  # whoever holds a copy of the line hears of it
    line.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(LEAVING_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # also workers whose own parent was killed
    process.wait()
