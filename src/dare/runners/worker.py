"""The processes behind `dare.runners.workers`: run as a program, with the number of an open socket as argument."""

import contextlib
import os
import pickle
import signal
import socket
import sys
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from dare.runners.opening import engines_of, open_runner
from dare.runners.runner import Runner, Walk

COPIED_COLD = ("openvino",)
"""Engines with threads of their own, which a copy of the process would lack: each worker opens them for itself."""

BATCHES = (1, 2, 3, 4)
"""Run once before processes are copied, so that what is prepared for these sizes is shared too."""


def main(number: int) -> None:
    """Open the network, and make a copy of this process whenever a line to it comes, until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program in front, which then closes the socket
    requests = socket.socket(fileno=number)
    with Connection(os.dup(number)) as content:
        model, settings = pickle.loads(content.recv_bytes())
    opened = _tried(lambda: _copied(model, settings))
    processes: dict[int, int] = {}
    while True:
        place, lines, *_ = socket.recv_fds(requests, 1, 1)
        if not place:
            break
        if before := processes.get(place[0]):
            _end(before)
        process = os.fork()
        if process == 0:
            requests.close()
            _work(Connection(lines[0]), opened, model, settings)
            os._exit(0)  # at once: what libraries would tidy up goes with the process
        processes[place[0]] = process
        os.close(lines[0])
    for process in processes.values():
        _end(process)
    os._exit(0)


def _copied(model: Any, settings: dict[str, Any]) -> Runner | None:
    """The network, for all processes; None if each opens it for itself."""
    choice = {name: settings[name] for name in ("name", "device", "precision") if name in settings}
    return None if engines_of(model, **choice) & set(COPIED_COLD) else _opened(model, settings)


def _work(line: Connection, opened: Runner | Exception | None, model: Any, settings: dict[str, Any]) -> None:
    """Say what the network is, or why there is none; then do what is asked."""
    own = opened or _tried(lambda: _opened(model, settings))
    if isinstance(own, Exception):
        _answer(line, own)
        return
    own = replace(own, process=os.getpid())
    _answer(line, {name: value for name, value in vars(own).items() if name not in ("begin", "close", "process")})
    serve(line, own)


def _end(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


def serve(line: Connection, runner: Runner) -> None:
    """Do what is asked until nobody asks any more."""
    walks: dict[int, Walk | Exception] = {}
    while True:
        try:
            match line.recv():
                case "walk", number, images:
                    walks[number] = _tried(lambda images=images: runner.walk(images))
                case "exit", number, may_stop:
                    _answer(line, _next(walks[number], line, may_stop))
                case "keep", number, rows:
                    walk = walks[number]
                    if not isinstance(walk, Exception) and (error := _tried(lambda w=walk, r=rows: w.keep(r))):
                        walks[number] = error
                case "forget", number:
                    walks.pop(number, None)  # one may be let go of before it began
                case "finish", number, _:
                    walk = walks[number]
                    _answer(line, walk if isinstance(walk, Exception) else _tried(walk.finish))
                case ("stop",):
                    pass  # it came when the answer was on its way already
        except (EOFError, ConnectionError):
            return


def _next(walk: Walk | Exception, line: Connection, may_stop: bool) -> Any:
    """The vectors of a walk's next exit, or what went wrong."""
    if isinstance(walk, Exception):
        return walk

    def stop() -> bool:
        """While an answer is waited for, nothing is sent but this wish."""
        if line.poll():
            assert line.recv() == ("stop",)
            return True
        return False

    return _tried(lambda: walk.exit(stop if may_stop else None))


def _answer(line: Connection, found: Any) -> None:
    try:
        content = pickle.dumps(found)
    except Exception:  # errors of other people's may hold anything
        content = pickle.dumps(RuntimeError(repr(found)))
    line.send_bytes(content)


def _tried(work: Any) -> Any:
    try:
        return work()
    except Exception as error:
        return error


def _opened(model: Any, settings: dict[str, Any]) -> Runner:
    runner = open_runner(model, **settings)
    size = runner.preparation
    for batch in BATCHES:
        runner.embed(np.zeros((batch * size.frames, 3, size.height, size.width), np.float32))
    return runner


if __name__ == "__main__":
    with contextlib.suppress(ConnectionError, EOFError):  # the program in front is gone
        main(int(sys.argv[1]))
