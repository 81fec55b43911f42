"""The figures of a recipe: what its trainings are asked for, and the functions that draw each figure."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dare.anytime.costs import ExitCosts
from dare.evaluation.evaluate import Evaluation, evaluate
from dare.experiments.draw_figure3 import write_figure3
from dare.experiments.draw_figure4 import write_figure4
from dare.experiments.draw_figure5 import write_figure5
from dare.experiments.draw_figure6 import write_figure6
from dare.experiments.draw_figure7 import write_figure7
from dare.experiments.draw_figure8 import write_figure8
from dare.experiments.figure3 import figure3
from dare.experiments.figure4 import figure4
from dare.experiments.figure5 import Network, figure5
from dare.experiments.figure6 import BUDGETS, figure6
from dare.experiments.figure7 import figure7
from dare.experiments.figure8 import figure8
from dare.experiments.query_stream import query_stream
from dare.experiments.recipe import Figure
from dare.experiments.workplace import NotMeasuredError, Run, Workplace, said_once, worth_something
from dare.retrieval.embeddings import Embeddings

TITLES = {
    "figure3": "Figure 3: the error of every stage and of the fusion",
    "figure4": "Figure 4: with and without deep supervision",
    "figure5": "Figure 5: the latest answer when the budget runs out",
    "figure6": "Figure 6: a stream of queries on a mean budget",
    "figure7": "Figure 7: what each stage finds",
    "figure8": "Figure 8: easy and hard queries",
}


@dataclass(frozen=True, slots=True)
class Drawn:
    """A figure that was drawn.

    Attributes:
        files: what was written.
        runs: what it shows.
        missing: runs that it should show too, and why it does not.
        costs: where multiply-adds come from; "" where there are none.
    """

    files: tuple[Path, ...]
    runs: tuple[Run, ...]
    missing: tuple[str, ...] = ()
    costs: str = ""


def draw(figure: Figure, workplace: Workplace, folder: Path) -> Drawn:
    """Draw a figure into a folder; trains and embeds what it needs.

    The authors' own points are drawn beside networks and pictures that are meant to be theirs.

    Raises:
        NotMeasuredError: something that it needs cannot be had.
        ImportError: without matplotlib.
    """
    return _DRAW[figure.name](figure, workplace, folder)


def _figure3(figure: Figure, workplace: Workplace, folder: Path) -> Drawn:
    scored, runs, missing = _all_runs(figure, figure.training, workplace)
    with _else_not_measured():
        found = figure3(scored)
    files = write_figure3(found, folder, published=_like_the_papers(runs[0]))
    return Drawn(tuple(files), tuple(runs), tuple(missing), _source(scored))


def _figure4(figure: Figure, workplace: Workplace, folder: Path) -> Drawn:
    (unsupervised,) = figure.others
    scored, runs, missing = _all_runs(figure, figure.training, workplace)
    other, other_runs, other_missing = _all_runs(figure, unsupervised, workplace)
    with _else_not_measured():
        found = figure4(scored, other)
    files = write_figure4(found, folder)
    return Drawn(tuple(files), (*runs, *other_runs), (*missing, *other_missing), _source(scored))


def _figure5(figure: Figure, workplace: Workplace, folder: Path) -> Drawn:
    run, evaluation, costs = _first_run(figure, workplace)
    stream = query_stream(evaluation)
    networks = [Network(_called("DaRe", [run]), stream.outcomes, costs)]
    others = [workplace.runs(training, figure.data)[0] for training in figure.others]
    if others:
        cascade, their_costs = _in_sequence(others, figure, workplace, evaluation)
        networks.append(Network(_called("networks in sequence", others), query_stream(cascade).outcomes, their_costs))
    with _else_not_measured():
        found = figure5(stream, networks)
    files = write_figure5(found, folder, published=_like_the_papers(run))
    sources = dict.fromkeys(network.costs.source for network in networks)
    return Drawn(tuple(files), (run, *others), costs="; ".join(sources))


def _figure6(figure: Figure, workplace: Workplace, folder: Path) -> Drawn:
    run, evaluation, costs = _first_run(figure, workplace)
    with _else_not_measured():
        if len(costs.macs) < 2:
            raise ValueError(f"{run.name} has a single exit, so there is nothing to route; take another network")
        found = figure6(query_stream(evaluation), costs, budgets=figure.count or BUDGETS)
    files = write_figure6(found, folder, published=_like_the_papers(run))
    return Drawn(tuple(files), (run,), costs=costs.source)


def _figure7(figure: Figure, workplace: Workplace, folder: Path) -> Drawn:
    run, evaluation, _ = _first_run(figure, workplace)
    with _else_not_measured():
        found = figure7(evaluation, **_count(figure))
    files = write_figure7(found, folder)
    return Drawn(tuple(files), (run,))


def _figure8(figure: Figure, workplace: Workplace, folder: Path) -> Drawn:
    run, evaluation, costs = _first_run(figure, workplace)
    with _else_not_measured():
        found = figure8(evaluation, query_stream(evaluation), **_count(figure))
    files = write_figure8(found, folder)
    return Drawn(tuple(files), (run,), costs=costs.source)


_DRAW: dict[str, Callable[[Figure, Workplace, Path], Drawn]] = {
    "figure3": _figure3,
    "figure4": _figure4,
    "figure5": _figure5,
    "figure6": _figure6,
    "figure7": _figure7,
    "figure8": _figure8,
}


@contextmanager
def _else_not_measured() -> Iterator[None]:
    """Networks that a figure cannot be made of, such as given ones, leave its place empty and spoil no other's."""
    try:
        yield
    except ValueError as error:
        raise NotMeasuredError(str(error)) from error


def _count(figure: Figure) -> dict[str, int]:
    return {} if figure.count is None else {"count": figure.count}


def _like_the_papers(run: Run) -> bool:
    """Whether the authors' own points may stand beside it; all of them are of Market-1501."""
    return not run.stands_in and run.data.column == "Market"


def _called(name: str, runs: Sequence[Run]) -> str:
    """A network's name in a legend; the drawing's title and its notes say what stands in."""
    return f"{name} (stand-in)" if any(run.training.stands_in for run in runs) else name


def _first_run(figure: Figure, workplace: Workplace) -> tuple[Run, Evaluation, ExitCosts]:
    run = workplace.runs(figure.training, figure.data)[0]
    evaluation = workplace.evaluation(run, figure.crops)
    assert evaluation.costs is not None
    return run, evaluation, evaluation.costs


def _all_runs(
    figure: Figure, training: str, workplace: Workplace
) -> tuple[dict[str, Evaluation], list[Run], list[str]]:
    """Evaluations by the names of their runs, those runs, and why there are not more."""
    scored, shown, missing = dict[str, Evaluation](), list[Run](), list[str]()
    for run in workplace.runs(training, figure.data):
        try:
            scored[run.name] = workplace.evaluation(run, figure.crops)
        except NotMeasuredError as reason:
            missing.append(f"{run.name}: {reason}")
        else:
            shown.append(run)
    if not scored:
        raise NotMeasuredError(said_once(missing))
    return scored, shown, missing


def _source(scored: dict[str, Evaluation]) -> str:
    sources = (evaluation.costs.source for evaluation in scored.values() if evaluation.costs)
    return "; ".join(dict.fromkeys(sources))


def _in_sequence(
    runs: list[Run], figure: Figure, workplace: Workplace, beside: Evaluation
) -> tuple[Evaluation, ExitCosts]:
    """Whole networks as exits of one, as `dare.runners.cascade` runs them: their last vectors, their costs added up.

    They were embedded each by itself already, so nothing is run again.
    """
    vectors = [workplace.embeddings(run, crops=figure.crops) for run in runs]
    each = [workplace.costs(run, figure.crops) for run in runs]
    ids = [*beside.query.ids, *beside.gallery.ids]
    with _else_not_measured():
        found = [one.find(ids) for one in vectors]
    names = tuple(f"network {number}" for number in range(1, len(runs) + 1))
    stages = tuple(one.exits()[-1] for one in found)
    joined: Embeddings = replace(found[0], stages=stages, fused=None, names=names, model="", space="own")
    totals = tuple(itertools.accumulate(one.macs[-1] for one in each))
    sources = "; ".join(dict.fromkeys(one.source for one in each))
    costs = ExitCosts(totals, f"{len(runs)} networks in sequence, added up; {sources}")
    return worth_something(evaluate(joined, beside.benchmark, distance=beside.distance, costs=costs)), costs
