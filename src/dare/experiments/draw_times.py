"""Measured times of exits as a drawing: a line per engine."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dare.experiments.plots import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, RED, new_figure, tidy, write_figure

COLOURS = (GREY, BLACK, BLUE, GREEN, ORANGE, RED, PURPLE)


def write_times(figures: Sequence[Mapping[str, Any]], path: str | Path) -> list[Path]:
    """Write NAME.png and NAME.svg: milliseconds per picture over multiply-adds, a panel per batch size.

    Args:
        figures: as `dare bench --json` writes them.

    Raises:
        ImportError: without matplotlib.
    """
    path = Path(path)
    batches = list(dict.fromkeys(row["batch"] for row in figures))
    figure = new_figure(5.2 * len(batches), 4.2)
    panels = figure.subplots(1, len(batches), squeeze=False, sharey=True)[0]
    for axes, batch in zip(panels, batches, strict=True):
        rows = [row for row in figures if row["batch"] == batch]
        several = len({row["model"] for row in rows}) > 1
        for number, row in enumerate(rows):
            name = f"{Path(row['model']).name}: {row['runner']}" if several else row["runner"]
            axes.plot(
                [exit["macs"] / 1e6 for exit in row["exits"]],
                [exit["ms"] / batch for exit in row["exits"]],
                "o-",
                color=COLOURS[number % len(COLOURS)],
                label=name,
            )
        tidy(axes, "ms per picture")
        axes.set_xlabel("million multiply-adds, one point per exit")
        axes.set_title(f"{batch} together")
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, fontsize="small")
    name = path.stem if path.suffix in (".png", ".svg") else path.name
    return write_figure(figure, path.parent, name)
