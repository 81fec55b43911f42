"""What the command shows and hears: consoles, progress bars, signals, errors in one line."""

import json
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from dare import missing_extra
from dare.files import advised, check_writable, is_bare, replacing

console = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
output = Console(highlight=False, soft_wrap=True, markup=False)


LONGEST = 2000
"""Characters of a message that are shown."""
STDOUT = Path("-")
"""In place of a file to write: print."""


@contextmanager
def progress(*, one_at_a_time: bool = False) -> Iterator[Callable[..., None]]:
    """A bar on stderr; the function takes what is done, how much of it, out of how much, and a remark.

    Args:
        one_at_a_time: only what is done now has a bar.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[remark]}"), console=console) as bar:
        tasks: dict[str, Any] = {}

        def show(phase: str, done: int, total: int, remark: str = "") -> None:
            if phase not in tasks:
                if one_at_a_time:
                    for before in tasks.values():
                        bar.remove_task(before)
                    tasks.clear()
                tasks[phase] = bar.add_task(phase, total=total, remark="")
            bar.update(tasks[phase], completed=done, remark=remark)

        yield show


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """SIGTERM and the first Ctrl-C only set a flag; a second one of either ends the program at once."""
    received: list[int] = []

    def note(number: int, _frame: Any) -> None:
        received.append(number)
        signal.signal(number, before[number])

    before: dict[int, Any] = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def message(error: BaseException) -> str:
    """One line, whatever the error's own text looks like."""
    if isinstance(error, ModuleNotFoundError) and (extra := missing_extra(error)):
        text = f"this needs {error.name}; {extra}"
    elif isinstance(error, OSError) and error.strerror and error.filename:
        text = f"{error.filename}: {advised(error) if is_bare(error) else error.strerror}"
    else:
        text = str(error) or type(error).__name__
    return one_line(" ".join(text.split()))


def one_line(text: object) -> str:
    """A text with everything that would break or turn its line written out: names of files may hold anything."""
    shown = str(text)
    if len(shown) > LONGEST:  # such as one that repeats what was given
        shown = f"{shown[: LONGEST // 2]}...{shown[-LONGEST // 2 :]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in shown)


def say(notes: Iterable[str]) -> None:
    """Notes on stderr, beside what a command prints."""
    for note in notes:
        console.print(f"note: {one_line(note)}")


def mega(macs: float) -> str:
    """Multiply-adds as tables show them."""
    return f"{macs / 1e6:,.1f} M"


def check_outputs(*paths: Path | None) -> None:
    """Refuse, before any work, files that could not be written in the end."""
    for path in paths:
        if path not in (None, STDOUT):
            check_writable(path)


def write_json(path: Path | None, figures: Any) -> bool:
    """Print figures or write them to a file, if they are asked for; whether they were printed, in place of tables."""
    text = json.dumps(figures, indent=2)
    if path == STDOUT:
        print(text)
    elif path is not None:
        with replacing(path) as file:
            file.write((text + "\n").encode())
    return path == STDOUT


def show_table(header: Sequence[str], rows: Iterable[Iterable[str]]) -> None:
    table = Table(*header)
    for row in rows:
        table.add_row(*row)
    output.print(table)
