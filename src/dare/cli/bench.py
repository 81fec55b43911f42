"""`dare bench`: how fast a network is at each exit, by each engine that this machine has."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from dare.anytime.costs import ExitTimes
from dare.cli.options import FLAG, Device, JsonOut, Positive, Preparation, limit_threads
from dare.cli.terminal import check_outputs, mega, output, show_table, write_json
from dare.runners.runner import Runner


def bench(
    *model: Annotated[
        Path,
        Parameter(help="Checkpoints, folders of trainings or exports, shipped networks, other toolboxes' networks."),
    ],
    batch: Annotated[list[Positive] | None, FLAG] = None,
    repeats: Positive = 30,
    device: Device = "cpu",
    threads: Positive = 1,
    preparation: Preparation = None,
    plot: Path | None = None,
    json: JsonOut = None,
) -> None:
    """Time every exit of networks with each engine that can run them, in turn, on random pictures.

    Milliseconds are medians from the start to the exit, for all pictures of a batch. Reading pictures and searching are
    not included: `dare calibrate` adds the search.

    Parameters
    ----------
    batch
        Pictures that run together; may be given several times. 1 and 4 if not given.
    repeats
        How often each exit is timed.
    threads
        CPU threads.
    plot
        Drawing to write: NAME.png and NAME.svg.
    """
    from dare.experiments.plots import write_times
    from dare.runners.alternatives import alternatives
    from dare.runners.opening import is_installed
    from dare.runners.timing import measure_together

    if not model:
        raise ValueError("no network to time; give a checkpoint, or the folder of a training or an export")
    check_outputs(plot, json)
    if threads < 1:
        raise ValueError(f"--threads must be at least 1, got {threads}")
    if is_installed("eager"):
        limit_threads(threads)
    settings: dict[str, Any] = {"device": device, "threads": threads, "preparation": preparation}
    opened = [(path, runner) for path in model for runner in alternatives(path, **settings)]
    figures: list[dict[str, Any]] = []
    for size in batch or (1, 4):
        measured = measure_together([runner for _, runner in opened], batch=size, repeats=repeats)
        figures += [_figures(path, runner, size, times) for (path, runner), times in zip(opened, measured, strict=True)]
    if not write_json(json, figures):
        _show(figures, len(model) > 1)
    for path in write_times(figures, plot) if plot is not None else ():
        output.print(f"written to {path}")


def _figures(path: Path, runner: Runner, batch: int, times: ExitTimes) -> dict[str, Any]:
    rows = zip(runner.exit_names, runner.costs.macs, times.median, times.slow, strict=True)
    exits = [
        {"exit": name, "macs": macs, "ms": 1000 * median, "ms_p95": 1000 * slow, "images_per_second": batch / median}
        for name, macs, median, slow in rows
    ]
    return {"model": str(path), "runner": runner.description, "batch": batch, "exits": exits}


def _show(figures: list[dict[str, Any]], several: bool) -> None:
    """A table for each batch size and kind of network: milliseconds, and images per second."""

    def heading(row: dict[str, Any]) -> tuple[str, ...]:
        return tuple(f"{exit['exit']}\n{mega(exit['macs'])}" for exit in row["exits"])

    for batch, exits in dict.fromkeys((row["batch"], heading(row)) for row in figures):
        rows = [row for row in figures if (row["batch"], heading(row)) == (batch, exits)]
        names = [f"{Path(row['model']).name}: {row['runner']}" if several else row["runner"] for row in rows]
        cells = [[f"{at['ms']:.2f} ms\n{at['images_per_second']:,.0f}/s" for at in row["exits"]] for row in rows]
        show_table((f"batch {batch}", *exits), ((name, *each) for name, each in zip(names, cells, strict=True)))
