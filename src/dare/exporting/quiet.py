"""Silence for tools that talk to whoever listens."""

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No warnings, log lines or progress bars of exporters and quantizers; what they raise comes through.

    They are meant for those who write such tools, and name internals that nobody here can change.
    """
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        words = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stdout(words), contextlib.redirect_stderr(words):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


@contextlib.contextmanager
def untold() -> Iterator[None]:
    """nncf sends usage statistics unless it thinks it is being tested; nobody was asked."""
    name = "NNCF_CI"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
