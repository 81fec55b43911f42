"""`dare reproduce` and `dare choose-exits`: figures of the paper, and plans for a budget, from stored embeddings."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter
from rich.table import Table

from dare.cli import quantities
from dare.cli.embedding import run_network
from dare.cli.options import Layout, Models, Root, Running, RunningOptions
from dare.cli.terminal import output
from dare.files import check_writable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dare.anytime.costs import ExitCosts, ExitTimes
    from dare.evaluation import Evaluation
    from dare.experiments.accuracy import Accuracy
    from dare.experiments.figure6 import Figure6
    from dare.runners.runner import Runner

reproduce_app = App(name="reproduce", help="Figures of the paper, as CSV, SVG and PNG.")

Stored = Annotated[
    Path | None, Parameter(help="What `dare embed` wrote with this network, so that it need not be run again.")
]
Published = Annotated[bool, Parameter(help="Draw the authors' own points too.")]
By = Annotated[
    Literal["macs", "ms"], Parameter(help="Costs as multiply-adds, or as milliseconds measured on this machine.")
]
Times = Annotated[Path | None, Parameter(help="Times that `dare calibrate --out` wrote; measured now if not given.")]


@reproduce_app.command(name="figure5")
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

    evaluation, costs, times = _evaluated(root, model, embeddings, layout, running, by)
    stream = query_stream(evaluation)
    networks = [Network("DaRe", stream.outcomes, costs, times)]
    if against:
        other, costs, times = _evaluated(root, against, against_embeddings, layout, running, by)
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

    evaluation, costs, measured = _evaluated(root, model, embeddings, layout, running, by, times)
    figure = figure6(query_stream(evaluation), costs, measured, budgets=budgets, seed=seed)
    files = write_figure6(figure, out, by=by, published=published)
    _show_figure6(figure)
    _wrote(files)


@reproduce_app.command(name="figure8")
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

    evaluation, _, _ = _evaluated(root, model, embeddings, layout, running)
    figure = figure8(evaluation, query_stream(evaluation), count=count, seed=seed)
    files = write_figure8(figure, out)
    left = ", ".join(f"{100 * share:.1f} %" for share in figure.taken)
    output.print(f"left at the exits: {left}; {figure.found['easy']} easy and {figure.found['hard']} hard queries")
    _wrote(files)


def choose_exits(
    root: Root,
    /,
    *,
    model: Models,
    mean_macs: Annotated[str, Parameter(allow_leading_hyphen=True)],
    maximise: Annotated[Literal["rank-1", "mAP"], Parameter(name="--for")] = "rank-1",
    confidence: Literal["margin", "nearness"] = "margin",
    allowed: Literal["paper", "other-cameras"] | None = None,
    embeddings: Stored = None,
    out: Path | None = None,
    seed: int = 817,
    layout: Layout = None,
    running: RunningOptions = None,
) -> None:
    """Choose which exits to keep and how many queries leave at each, within a budget, on people held out for it.

    Give it training people that were held out (`dare data hold-out`), never the test set that you will report.

    Parameters
    ----------
    mean_macs
        The budget: mean multiply-adds per query, such as 1.2G.
    maximise
        What is to be best.
    confidence
        What the thresholds are for.
    allowed
        What queries are compared with: other-cameras for the margin if not given, as in the paper for nearness.
    out
        JSON file to write, for `dare stream --plan`.
    seed
        Of the bootstrap.
    """
    from dare.calibration import PlanFile, save_plan
    from dare.experiments.choice import choose_exits as choose
    from dare.experiments.query_stream import Confidence, query_stream

    if out is not None:
        check_writable(out)
    allowed = allowed or ("other-cameras" if confidence == "margin" else "paper")
    if confidence == "nearness" and allowed != "paper":
        raise ValueError("thresholds of nearness are learnt by the paper's protocol only; give --allowed paper")
    if seed < 0:
        raise ValueError(f"a seed is at least 0, got {seed}")
    name: Confidence = "label-free margin" if allowed == "other-cameras" else confidence
    budget = quantities.macs(mean_macs)
    evaluation, costs, _ = _evaluated(root, model, embeddings, layout, running)
    stream = query_stream(evaluation)
    if allowed == "other-cameras" and stream.label_free == "all":
        output.print("note: cameras are not known, so margins are of the whole gallery")
    choice = choose(stream, costs, budget, maximise=maximise, confidence=name, seed=seed)
    table = Table("plan", *stream.exits, "spent", "rank-1", "mAP")
    for label, plan in (("chosen", choice.chosen), ("best", choice.best), ("geometric", choice.geometric)):
        shares = (f"{100 * share:.0f}" if share else "-" for share in plan.shares)
        table.add_row(label, *shares, f"{plan.spent_macs / 1e6:,.1f} M", *_with_error(plan.accuracy))
    table.add_row("mix", *("" for _ in stream.exits), f"{budget / 1e6:,.1f} M", *_with_error(choice.static_mix))
    output.print(table)
    output.print("shares, rank-1 and mAP in percent; behind ± the standard error, people resampled")
    gain = choice.gain_over_static_mix
    better = f"rank-1 {gain.rank1}, mAP {gain.mean_average_precision} points"
    output.print(f"mix: the static mix of exits at the whole budget; chosen over it: {better}")
    output.print(f"{choice.candidates} shares tried on {len(stream)} queries; accuracies are of the people chosen on")
    if out is not None:
        chosen = choice.chosen
        label_free: Literal["all", "other-cameras"] = "all" if stream.label_free == "all" else "other-cameras"
        about = {"data": stream.benchmark, "for": maximise, "mean_macs": budget, "costs": costs.source}
        written = PlanFile(
            evaluation.query.model,
            tuple(chosen.shares.tolist()),
            tuple(chosen.thresholds.tolist()),
            confidence,
            "paper" if allowed == "paper" else label_free,
            evaluation.query.crops,
            about,
        )
        save_plan(out, written)
        output.print(f"written to {out}")


def _evaluated(
    root: Path,
    model: "Sequence[Path]",
    embeddings: Path | None,
    layout: str | None,
    running: Running | None,
    by: str = "macs",
    times: Path | None = None,
) -> "tuple[Evaluation, ExitCosts, ExitTimes | None]":
    """A network's embeddings scored, what its exits cost, and how long they take if that is asked for."""
    from dare.datasets import open_benchmark
    from dare.evaluation import evaluate
    from dare.gallery.errors import MismatchError
    from dare.retrieval.embeddings import Embeddings

    if times is not None and by != "ms":
        raise ValueError("--times belongs to --by ms")
    running = running or Running()
    benchmark = open_benchmark(root, layout)
    samples = (*benchmark.query, *benchmark.gallery)
    runner: Runner = running.open(model)
    skipped: list[str] = []
    if embeddings is None:
        vectors, costs, problems = run_network(benchmark, samples, runner, running)
        skipped = [problem.path.relative_to(benchmark.root).as_posix() for problem in problems]
    else:
        if running.crops != 1:
            raise ValueError("--crops belongs to a network that is run; embeddings know theirs")
        vectors = Embeddings.load(embeddings)
        costs = runner.costs.times(vectors.crops)
        if vectors.model != runner.digest:
            raise MismatchError(
                f"{embeddings} holds vectors of model {vectors.model[:12] or 'unknown'}, the network is "
                f"{runner.digest[:12]}; give the network that they were made with"
            )
        skipped = vectors.lacking(benchmark.identify(samples)) if running.skip_unreadable else []
    evaluation = evaluate(vectors, benchmark, costs=costs, skipped=skipped)
    return evaluation, costs, _measured(runner, evaluation, times) if by == "ms" else None


def _measured(runner: "Runner", evaluation: "Evaluation", times: Path | None) -> "ExitTimes":
    """How long exits take with a search in the evaluation's gallery, one picture at a time."""
    from dare.calibration import load_times, measure_answers
    from dare.gallery.entry import Entry
    from dare.gallery.memory import MemoryGallery

    if times is not None:
        return load_times(times, runner)
    vectors = evaluation.gallery.exits()
    gallery = MemoryGallery(runner.digest, [rows.shape[1] for rows in vectors])
    people = (int(person) if person >= 0 else None for person in evaluation.gallery.people)
    gallery.add(vectors, [Entry(id, person) for id, person in zip(evaluation.gallery.ids, people, strict=True)])
    return measure_answers(runner, gallery)


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


def _with_error(accuracy: "Accuracy") -> list[str]:
    pair = (accuracy.rank1, accuracy.mean_average_precision)
    return [f"{100 * one.value:.1f} ±{100 * one.error:.1f}" for one in pair]


def _wrote(files: "Sequence[Path]") -> None:
    output.print(f"written: {', '.join(str(path) for path in files)}")
