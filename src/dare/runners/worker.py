"""The processes behind `dare.runners.workers`: run as a program, with the numbers of open sockets as arguments."""

import os
import pickle
import signal
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from dare.runners.opening import engines_of, open_runner
from dare.runners.runner import Runner, Walk

COPIED_COLD = ("openvino",)
"""Engines with threads of their own, which a copy of the process would lack: each worker opens them for itself."""

BATCHES = (1, 2, 3, 4)
"""Run once before processes are copied, so that what is prepared for these sizes is shared too."""


def main(sockets: Sequence[int]) -> None:
    """Open the network, make a process for each socket but the first, and wait for their end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program in front, which then closes the sockets
    control, *lines = (Connection(number) for number in sockets)
    runner: Runner | None = None
    try:
        model, settings = pickle.loads(control.recv_bytes())
        choice = {name: settings[name] for name in ("name", "device", "precision") if name in settings}
        engines = engines_of(model, **choice)
        if not engines & set(COPIED_COLD):
            runner = _opened(model, settings)
    except Exception as error:
        control.send(error)
        return
    for number, line in enumerate(lines):
        if os.fork() == 0:
            for other in lines:
                if other is not line:
                    other.close()
            try:
                own = runner or _opened(model, settings)
            except Exception as error:
                control.send(error)
            else:
                if number == 0:
                    control.send({name: value for name, value in vars(own).items() if name not in ("begin", "close")})
                control.close()
                serve(line, own)
            os._exit(0)  # at once: what libraries would tidy up goes with the process
    for line in (control, *lines):
        line.close()
    for _ in lines:
        os.wait()
    os._exit(0)


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
    main([int(word) for word in sys.argv[1:]])
