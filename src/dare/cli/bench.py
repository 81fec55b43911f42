"""`dare bench`: how fast a network is at each exit, by each engine that this machine has."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.table import Table

from dare.cli.options import Device, Preparation, limit_threads
from dare.cli.search import JsonOut
from dare.cli.terminal import STDOUT, output, write_json
from dare.files import check_writable

if TYPE_CHECKING:
    from dare.anytime.costs import ExitTimes
    from dare.runners.runner import Runner


def bench(
    *model: Annotated[
        Path,
        Parameter(help="Checkpoints, folders of trainings or of exported steps, shipped networks, networks of others."),
    ],
    batch: Annotated[list[int] | None, Parameter(negative="")] = None,
    repeats: int = 30,
    device: Device = "cpu",
    threads: int = 1,
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
        Pictures that are run together; may be given several times. 1 and 4 if not given.
    repeats
        How often each exit is timed.
    threads
        Of the CPU.
    plot
        Drawing to write: NAME.png and NAME.svg.
    """
    from dare.runners.timing import measure_together

    if not model:
        raise ValueError("give at least one network: a checkpoint, or the folder of a training or an export")
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    if plot is not None:
        check_writable(plot)
    if json not in (None, STDOUT):
        check_writable(json)
    opened = [(path, runner) for path in model for runner in _runners(path, device, threads, preparation)]
    figures: list[dict[str, Any]] = []
    for size in batch or (1, 4):
        measured = measure_together([runner for _, runner in opened], batch=size, repeats=repeats)
        figures += [_figures(path, runner, size, times) for (path, runner), times in zip(opened, measured, strict=True)]
    if json is not None:
        write_json(json, figures)
    if json != STDOUT:
        _show(figures, len(model) > 1)
    if plot is not None:
        from dare.experiments.plots import write_times

        for path in write_times(figures, plot):
            output.print(f"written to {path}")


def _runners(model: Path, device: str, threads: int, preparation: str | None) -> "Iterator[Runner]":
    """A network by every engine; on a machine where bfloat16 is slow that shows."""
    from dare.runners.exported import EXPORTED, PRECISIONS
    from dare.runners.opening import FOREIGN, engine_of, is_foreign, is_installed, open_runner
    from dare.shipped.network import shipped_at

    if is_foreign(model):
        default, *others = FOREIGN[model.suffix.lower()]
        for engine in (default, *(other for other in others if find_spec(other))):
            runner = open_runner(model, engine, threads=threads, preparation=preparation)
            yield runner
            if runner.precision == "fp32" and "bf16" in PRECISIONS[engine]:
                yield open_runner(model, engine, precision="bf16", threads=threads, preparation=preparation)
        return
    if (network := shipped_at(model)) and device == "cpu":
        ways = [(way.runner, way.precision) for way in network.card.engines if is_installed(way.runner)]
        if any(engine not in EXPORTED for engine, _ in ways):
            limit_threads(threads)
        for engine, precision in ways:
            yield open_runner(model, engine, precision=precision, threads=threads)
        return
    if engine_of(model, device=device) in EXPORTED:
        yield open_runner(model, threads=threads)
        return
    limit_threads(threads)
    for engine in ("eager", "prepacked") if device == "cpu" else ("eager",):
        for precision in ("fp32", "bf16"):
            yield open_runner(model, engine, precision=precision, device=device)


def _figures(path: Path, runner: "Runner", batch: int, times: "ExitTimes") -> dict[str, Any]:
    return {
        "model": str(path),
        "runner": runner.description,
        "batch": batch,
        "exits": [
            {
                "exit": name,
                "macs": macs,
                "ms": 1000 * median,
                "ms_p95": 1000 * slow,
                "images_per_second": batch / median,
            }
            for name, macs, median, slow in zip(
                runner.exit_names, runner.costs.macs, times.median, times.slow, strict=True
            )
        ],
    }


def _show(figures: list[dict[str, Any]], several: bool) -> None:
    """A table for each batch size and kind of network: milliseconds, and images per second."""

    def heading(row: dict[str, Any]) -> tuple[str, ...]:
        return tuple(f"{exit['exit']}\n{exit['macs'] / 1e6:,.1f} M" for exit in row["exits"])

    for batch, exits in dict.fromkeys((row["batch"], heading(row)) for row in figures):
        table = Table(f"batch {batch}", *exits)
        for row in figures:
            if (row["batch"], heading(row)) == (batch, exits):
                name = f"{Path(row['model']).name}: {row['runner']}" if several else row["runner"]
                cells = [f"{exit['ms']:.2f} ms\n{exit['images_per_second']:,.0f}/s" for exit in row["exits"]]
                table.add_row(name, *cells)
        output.print(table)
