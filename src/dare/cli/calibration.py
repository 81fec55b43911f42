"""`dare calibrate`, and times for other commands: how long each exit takes on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.table import Table

from dare.cli.options import Engine, EngineOptions
from dare.cli.terminal import output
from dare.files import check_writable

if TYPE_CHECKING:
    from dare.anytime.costs import ExitTimes
    from dare.gallery.lance import LanceGallery
    from dare.runners.runner import Runner

REPEATS = 10

TimesFile = Annotated[Path | None, Parameter(help="What `dare calibrate --out` wrote; measured anew if not given.")]


def calibrate(
    model: Annotated[list[Path], Parameter(help="As --model elsewhere; several are a cascade.")],
    /,
    *,
    gallery: Path | None = None,
    batch: int = 1,
    repeats: int = 50,
    count: int = 10,
    out: Path | None = None,
    engine: EngineOptions = None,
) -> None:
    """Measure the time to an answer at each exit, on this machine, with --threads threads.

    Parameters
    ----------
    gallery
        A gallery of this network; searching it is part of the time then.
    batch
        Pictures that are run together.
    repeats
        How often each exit is timed.
    count
        Entries per answer.
    out
        JSON file to write, for `dare search --times` and `dare reproduce --times`.
    """
    from dare.anytime.records import save_times
    from dare.gallery.opening import open_gallery
    from dare.identification.answer import measure_answers
    from dare.runners.timing import measure

    if out is not None:
        check_writable(out)
    runner = (engine or Engine()).open(model)
    if gallery is None:
        times = measure(runner, batch=batch, repeats=repeats)
    else:
        store = open_gallery(gallery)
        try:
            times = measure_answers(runner, store, batch=batch, repeats=repeats, count=count)
        finally:
            store.close()
    table = Table("exit", "multiply-adds", "median ms", "95 % ms", "step from the exit before, 95 % ms")
    rows = zip(runner.exit_names, runner.costs.macs, times.median, times.slow, times.steps, strict=True)
    for name, macs, median, slow, step in rows:
        table.add_row(name, f"{macs / 1e6:,.1f} M", *(f"{1000 * value:.2f}" for value in (median, slow, step)))
    output.print(table)
    output.print(f"longest time between two chances to stop: {1000 * times.longest_block:.2f} ms")
    output.print(f"measured: {times.source}; reading pictures is not included")
    if out is not None:
        save_times(out, times, runner.digest, runner.exit_names)
        output.print(f"written to {out}")


def exit_times(file: Path | None, runner: "Runner", store: "LanceGallery", settings: dict[str, Any]) -> "ExitTimes":
    """How long exits take, from a file or measured now, the search included."""
    from dare.anytime.records import load_times
    from dare.identification.answer import measure_answers

    if file:
        return load_times(file, runner.digest, len(runner.exit_names))
    return measure_answers(runner, store, repeats=REPEATS, **settings)
