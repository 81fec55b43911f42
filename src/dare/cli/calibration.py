"""`dare calibrate`, and times for other commands: how long each exit takes on this machine."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from dare.anytime.costs import ExitTimes
from dare.cli.options import ENGINE, EngineOptions, Positive
from dare.cli.terminal import check_outputs, mega, output, show_table
from dare.runners.runner import Runner

if TYPE_CHECKING:
    from dare.gallery.lance import LanceGallery

REPEATS = 10

TimesFile = Annotated[Path | None, Parameter(help="What `dare calibrate --out` wrote; measured now if not given.")]


def calibrate(
    model: Annotated[list[Path], Parameter(help="As --model elsewhere; several make a cascade.")],
    /,
    *,
    gallery: Path | None = None,
    repeats: Positive = 50,
    out: Path | None = None,
    engine: EngineOptions = ENGINE,
) -> None:
    """Measure the time to an answer at each exit, on this machine.

    Parameters
    ----------
    gallery
        A gallery of this network: the time then includes the search.
    repeats
        How often each exit is timed.
    out
        JSON file to write, for --times of `dare search` and `dare stream`.
    """
    from dare.anytime.records import save_times
    from dare.gallery.opening import open_gallery
    from dare.identification.answer import measure_answers
    from dare.runners.timing import measure

    check_outputs(out)
    runner = engine.open(model)
    if gallery is None:
        times = measure(runner, repeats=repeats)
    else:
        with closing(open_gallery(gallery)) as store:
            times = measure_answers(runner, store, repeats=repeats)
    rows = zip(runner.exit_names, runner.costs.macs, times.median, times.slow, times.steps, strict=True)
    show_table(
        ("exit", "multiply-adds", "median ms", "95 % ms", "step from the exit before, 95 % ms"),
        ((name, mega(macs), *(f"{1000 * value:.2f}" for value in seconds)) for name, macs, *seconds in rows),
    )
    output.print(f"longest time between two chances to stop: {1000 * times.longest_block:.2f} ms")
    output.print(f"measured: {times.source}; reading pictures is not included")
    if out is not None:
        save_times(out, times, runner.digest, runner.exit_names)
        output.print(f"written to {out}")


def exit_times(file: Path | None, runner: Runner, store: "LanceGallery", settings: dict[str, Any]) -> ExitTimes:
    """How long exits take, the search included: from a file, or measured now."""
    from dare.anytime.records import load_times
    from dare.identification.answer import measure_answers

    if file:
        return load_times(file, runner.digest, len(runner.exit_names))
    return measure_answers(runner, store, repeats=REPEATS, **settings)
