"""`dare reproduce`: tables and figures of the paper."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter
from rich.table import Table

from dare.cli.options import Layout, Models, Root, RunningOptions
from dare.cli.recipes import or_from_recipe, reproduce_all, reproduce_table1, reproduce_table2, show_recipe
from dare.cli.runs import reproduce_figure3, reproduce_figure4
from dare.cli.scored import Stored, scored
from dare.cli.terminal import output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dare.experiments.accuracy import Accuracy
    from dare.experiments.figure6 import Figure6

reproduce_app = App(name="reproduce", help="Tables and figures of the paper: all of a recipe, or figures of a network.")
reproduce_app.command(reproduce_all, name="all")
reproduce_app.command(reproduce_table1, name="table1")
reproduce_app.command(reproduce_table2, name="table2")
reproduce_app.command(show_recipe, name="recipe")
reproduce_app.command(or_from_recipe("figure3")(reproduce_figure3), name="figure3")
reproduce_app.command(or_from_recipe("figure4")(reproduce_figure4), name="figure4")

Published = Annotated[bool, Parameter(help="Draw the authors' own points too.")]
By = Annotated[
    Literal["macs", "ms"], Parameter(help="Costs as multiply-adds, or as milliseconds measured on this machine.")
]
Times = Annotated[Path | None, Parameter(help="Times that `dare calibrate --out` wrote; measured now if not given.")]


@reproduce_app.command(name="figure5")
@or_from_recipe("figure5")
def reproduce_figure5(
    root: Root,
    out: Path,
    /,
    *,
    model: Models,
    against: Annotated[list[Path] | None, Parameter(negative="")] = None,
    embeddings: Stored = None,
    against_embeddings: Stored = None,
    by: By = "macs",
    published: Published = True,
    seed: int = 817,
    layout: Layout = None,
    running: RunningOptions = None,
) -> None:
    """Accuracy over the budget after which an answer is asked for: one network, and networks in sequence.

    Parameters
    ----------
    out
        Folder for figure5.csv, figure5_leads.csv, figure5.png and figure5.svg.
    against
        Networks evaluated one after the other, the paper's SE-ResNets: give one --against for each, in order.
    seed
        Of the bootstrap.
    """
    from dare.experiments.draw_figure5 import write_figure5
    from dare.experiments.figure5 import Network, figure5
    from dare.experiments.query_stream import query_stream

    evaluation, costs, times = scored(root, model, embeddings, layout, running, by)
    stream = query_stream(evaluation)
    networks = [Network("DaRe", stream.outcomes, costs, times)]
    if against:
        other, costs, times = scored(root, against, against_embeddings, layout, running, by)
        networks.append(Network("networks in sequence", query_stream(other).outcomes, costs, times))
    figure = figure5(stream, networks, seed=seed)
    files = write_figure5(figure, out, by=by, published=published and by == "macs")
    table = Table("network", "exit", "multiply-adds", "rank-1 [95 %]", "mAP [95 %]")
    for network, accuracies in zip(networks, figure.accuracies, strict=True):
        for exit, (macs, accuracy) in enumerate(zip(network.costs.macs, accuracies, strict=True), start=1):
            table.add_row(network.name, str(exit), f"{macs / 1e6:,.1f} M", *_both(accuracy))
    output.print(table)
    _wrote(files)


@reproduce_app.command(name="figure6")
@or_from_recipe("figure6")
def reproduce_figure6(
    root: Root,
    out: Path,
    /,
    *,
    model: Models,
    embeddings: Stored = None,
    by: By = "macs",
    times: Times = None,
    published: Published = True,
    budgets: int = 50,
    seed: int = 817,
    layout: Layout = None,
    running: RunningOptions = None,
) -> None:
    """Accuracy of a stream over its mean budget: by chance, nearness, margins, and the static mix of exits.

    Parameters
    ----------
    out
        Folder for figure6.csv, figure6.png and figure6.svg.
    budgets
        How many, from the first exit's cost to the last one's.
    seed
        Of the stream's order, of chance and of the bootstrap.
    """
    from dare.experiments.draw_figure6 import write_figure6
    from dare.experiments.figure6 import figure6
    from dare.experiments.query_stream import query_stream

    evaluation, costs, measured = scored(root, model, embeddings, layout, running, by, times)
    figure = figure6(query_stream(evaluation), costs, measured, budgets=budgets, seed=seed)
    files = write_figure6(figure, out, by=by, published=published)
    _show_figure6(figure)
    _wrote(files)


@reproduce_app.command(name="figure7")
@or_from_recipe("figure7")
def reproduce_figure7(
    root: Root,
    out: Path,
    /,
    *,
    model: Models,
    embeddings: Stored = None,
    count: int = 1,
    ranks: int = 3,
    layout: Layout = None,
    running: RunningOptions = None,
) -> None:
    """Queries that the fusion gets right, and the first entries of each stage's list.

    The drawings hold pictures of the data set: read its terms before you pass them on.

    Parameters
    ----------
    out
        Folder for figure7.csv, figure7.png and figure7.svg.
    count
        How many of each kind: by whether the first and the last stage are right.
    ranks
        Entries of each list.
    """
    from dare.experiments.draw_figure7 import write_figure7
    from dare.experiments.figure7 import figure7

    evaluation, _, _ = scored(root, model, embeddings, layout, running)
    figure = figure7(evaluation, count=count, ranks=ranks)
    files = write_figure7(figure, out)
    found = figure.found
    output.print(
        f"the fusion is right for {sum(found.values())} queries; of these the first stage and the last are right for "
        f"{found['agreed']}, only the first for {found['early']}, only the last for {found['late']}, neither for "
        f"{found['fused']}"
    )
    _wrote(files)


@reproduce_app.command(name="figure8")
@or_from_recipe("figure8")
def reproduce_figure8(
    root: Root,
    out: Path,
    /,
    *,
    model: Models,
    embeddings: Stored = None,
    count: int = 8,
    seed: int = 817,
    layout: Layout = None,
    running: RunningOptions = None,
) -> None:
    """Easy queries, which left at the first exit, and hard ones, which went on to the last.

    The drawings hold pictures of the data set: read its terms before you pass them on.

    Parameters
    ----------
    out
        Folder for figure8.csv, figure8.png and figure8.svg.
    count
        How many of each kind.
    seed
        Of the stream's order.
    """
    from dare.experiments.draw_figure8 import write_figure8
    from dare.experiments.figure8 import figure8
    from dare.experiments.query_stream import query_stream

    evaluation, _, _ = scored(root, model, embeddings, layout, running)
    figure = figure8(evaluation, query_stream(evaluation), count=count, seed=seed)
    files = write_figure8(figure, out)
    left = ", ".join(f"{100 * share:.1f} %" for share in figure.taken)
    output.print(f"left at the exits: {left}; {figure.found['easy']} easy and {figure.found['hard']} hard queries")
    _wrote(files)


def _show_figure6(figure: "Figure6") -> None:
    import numpy as np

    from dare.experiments.accuracy import MEASURES
    from dare.experiments.figure6 import POLICIES, STATIC

    full = figure.costs.macs[-1]
    table = Table("policy", "25 %", "50 %", "75 %", "least cost", "mAP")
    for policy in (*POLICIES, *STATIC):
        points = figure.of(policy)
        curves = [[100 * point.accuracy[measure].value for point in points] for measure in MEASURES]
        spent = [point.spent_macs / full for point in points]
        both = ([np.interp(part, spent, curve) for curve in curves] for part in (0.25, 0.5, 0.75))
        least = figure.least[policy]
        last = ("not reached", "")
        if least is not None:
            percent, low, high = least.percent
            last = (f"{percent:.1f} % [{low:.0f}, {high:.0f}]", f"{100 * least.mean_average_precision:.1f}")
        table.add_row(policy.replace("static mix", "mix"), *(f"{a:.1f}/{b:.1f}" for a, b in both), *last)
    output.print(
        "rank-1/mAP at shares of the full network's cost, the cost from which on rank-1 is within 0.3 of the full"
    )
    output.print("network's, and mAP there")
    output.print(table)
    alone = figure.alone[-1]
    output.print(
        f"the full network: rank-1 {alone.rank1}, mAP {alone.mean_average_precision}; {figure.queries} queries"
    )
    output.print(f"costs: {figure.costs.source}")


def _both(accuracy: "Accuracy") -> tuple[str, str]:
    return str(accuracy.rank1), str(accuracy.mean_average_precision)


def _wrote(files: "Sequence[Path]") -> None:
    output.print(f"written: {', '.join(str(path) for path in files)}")
