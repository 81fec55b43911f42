"""Figure 4: what deep supervision is worth: the same network trained with a loss on every stage, and without."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dare.evaluation.evaluate import Evaluation
from dare.experiments.accuracy import MEASURES, Accuracy, Bootstrap, Measure
from dare.experiments.plots import GREY, Section, new_figure, write_figure, write_table
from dare.experiments.query_stream import SEED
from dare.experiments.runs import Average, Runs, draw_bars, whiskers

CLAIM = "The paper's claim: without deep supervision the error rates increase by 2 %."
"""Section 5.2. It gives no numbers of its figure 4."""

GROUPS = ("with deep supervision", "without")


@dataclass(frozen=True, slots=True)
class Figure4:
    """The bars of the figure.

    Attributes:
        groups: runs with deep supervision, and without.
        averages: for each group, one for each vector.
        gains: for each vector by how much better it is with deep supervision: the means of the runs, query by query,
            with the interval that other people might have given; it does not cover training.
    """

    groups: tuple[Runs, Runs]
    averages: tuple[tuple[dict[Measure, Average], ...], ...]
    gains: tuple[Accuracy, ...]

    @property
    def vectors(self) -> tuple[str, ...]:
        """What the networks' vectors are called."""
        return self.groups[0].vectors

    def rows(self) -> Iterator[dict[str, Any]]:
        """A line of a table per group and vector, as of figure 3; gains stand with the first group."""
        for name, runs, averages in zip(GROUPS, self.groups, self.averages, strict=True):
            for place, vector in enumerate(self.vectors):
                gain = self.gains[place].row("gain_")
                yield {
                    "group": name,
                    "vector": vector,
                    "runs": len(runs),
                    **averages[place]["rank-1"].row("error", wrong=True),
                    **averages[place]["mAP"].row("mAP"),
                    **(gain if name == GROUPS[0] else dict.fromkeys(gain, "")),
                }

    def summary(self) -> Section:
        """Two lines for people per vector: error, with the gain in rank-1, and mAP."""
        rows = []
        for vector, one, other, gain in zip(self.vectors, *self.averages, self.gains, strict=True):
            errors = (average["rank-1"].shown(wrong=True) for average in (one, other))
            rows += [(vector, "error", *errors, str(gain.rank1))]
            rows += [("", "mAP", one["mAP"].shown(), other["mAP"].shown(), str(gain.mean_average_precision))]
        return Section("", ("vector", "", *GROUPS, "gain"), tuple(rows))


def figure4(
    supervised: Mapping[str, Evaluation], unsupervised: Mapping[str, Evaluation], *, seed: int = SEED
) -> Figure4:
    """Compare two groups of runs.

    Args:
        supervised: runs with deep supervision by their names.
        unsupervised: runs that were trained alike, but with a loss on the fused vector only.
        seed: of the bootstrap.

    Raises:
        ValueError: an empty group, or runs that cannot be compared.
    """
    if shared := {*supervised} & {*unsupervised}:
        raise ValueError(f"{min(shared)} is in both groups; give each run once")
    Runs.of({**supervised, **unsupervised})  # all of them must be comparable
    groups = Runs.of(supervised), Runs.of(unsupervised)
    bootstrap = Bootstrap(groups[0].people, seed)
    gains = bootstrap.accuracies(groups[0].mean - groups[1].mean)
    return Figure4(groups, tuple(tuple(runs.averages(bootstrap)) for runs in groups), tuple(gains))


def write_figure4(figure: Figure4, folder: str | Path) -> list[Path]:
    """Write figure4.csv, figure4_runs.csv, figure4.png and figure4.svg into a folder; returns their paths.

    Raises:
        ImportError: without matplotlib.
    """
    drawing = new_figure(11, 4.6)
    panels = drawing.subplots(1, 2)
    for axes, measure in zip(panels, MEASURES, strict=True):
        draw_bars(axes, figure.vectors, dict(zip(GROUPS, figure.averages, strict=True)), measure)
    drawing.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    runs = figure.groups[0]
    drawing.suptitle(f"{runs.benchmark}: with and without deep supervision", fontsize=13)
    gain = figure.gains[-1]
    caption = f"{len(runs.people):,} queries. {whiskers([len(group) for group in figure.groups])}\n"
    caption += f"Gain of the {figure.vectors[-1]}, 95 %, people resampled: rank-1 {gain.rank1}, "
    caption += f"mAP {gain.mean_average_precision}. {CLAIM}"
    drawing.supxlabel(caption, fontsize=8, color=GREY)
    folder = Path(folder)
    rows = ({"group": name, **row} for name, group in zip(GROUPS, figure.groups, strict=True) for row in group.rows())
    return [
        write_table(figure.rows(), folder / "figure4.csv"),
        write_table(rows, folder / "figure4_runs.csv"),
        *write_figure(drawing, folder, "figure4"),
    ]
