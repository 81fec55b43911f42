"""The figures of a recipe: what its trainings are asked for, and the functions that make each figure of that."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dare.anytime.costs import ExitCosts
from dare.anytime.records import load_times
from dare.evaluation.evaluate import Evaluation, evaluate
from dare.experiments.accuracy import Outcomes
from dare.experiments.figure3 import figure3, write_figure3
from dare.experiments.figure4 import figure4, write_figure4
from dare.experiments.figure5 import Network, figure5, write_figure5
from dare.experiments.figure6 import figure6, write_figure6
from dare.experiments.figure7 import figure7, write_figure7
from dare.experiments.figure8 import figure8, write_figure8
from dare.experiments.plots import Section
from dare.experiments.query_stream import query_stream
from dare.experiments.runs import Runs
from dare.experiments.sections import FigureSection
from dare.experiments.trainings import NotMeasuredError, Run
from dare.experiments.workplace import Workplace, said_once, worth_something

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
        summary: for people.
        runs: what it shows.
        missing: runs that it should show too, and why it does not.
        costs: where multiply-adds come from; "" where there are none.
    """

    files: list[Path]
    summary: Section
    runs: tuple[Run, ...]
    missing: tuple[str, ...]
    costs: str


@dataclass(frozen=True, slots=True)
class Scored:
    """All runs of a training on a figure's pictures that could be scored, and why there are not more."""

    runs: list[Run]
    each: list[Evaluation]
    missing: list[tuple[str, str]]

    @classmethod
    def of(cls, training: str, figure: FigureSection, workplace: Workplace) -> "Scored":
        """Trains and embeds what it needs.

        Raises:
            NotMeasuredError: none could be scored.
        """
        found = cls([], [], [])
        for run in workplace.runs(training, figure.data):
            try:
                found.each.append(workplace.evaluation(run, figure.crops))
            except NotMeasuredError as reason:
                found.missing.append((run.name, str(reason)))
            else:
                found.runs.append(run)
        if not found.runs:
            raise NotMeasuredError(said_once(found.missing))
        return found

    @property
    def named(self) -> dict[str, Evaluation]:
        """Evaluations by the names of their runs."""
        return {run.name: evaluation for run, evaluation in zip(self.runs, self.each, strict=True)}

    @property
    def costs(self) -> ExitCosts:
        """Of each run's exits.

        Raises:
            ValueError: runs that cannot be compared.
        """
        Runs.of(self.named)
        costs = [evaluation.costs for evaluation in self.each if evaluation.costs]
        if any(one.macs != costs[0].macs for one in costs):
            raise ValueError("its runs are networks of different costs; compare runs of one network")
        return costs[0]

    @property
    def like_the_papers(self) -> bool:
        """Whether the authors' own points may stand beside it; all of them are of Market-1501."""
        return not self.runs[0].stands_in and self.runs[0].data.column == "Market"


def draw(name: str, workplace: Workplace, folder: Path) -> Drawn:
    """Draw a figure of the recipe into a folder; trains and embeds what it needs.

    The authors' own points are drawn beside networks and pictures that are meant to be theirs.

    Raises:
        NotMeasuredError: something that it needs cannot be had, or a network that it cannot be made of, such as a given
            one.
        ImportError: without matplotlib.
    """
    section = workplace.recipe.figures[name]
    scored = Scored.of(section.training, section, workplace)
    others = [Scored.of(one, section, workplace) for one in section.others]
    with _else_not_measured():
        files, summary, costs = _DRAW[name](scored, others, workplace, folder)
    everything = [scored, *others]
    return Drawn(
        files,
        summary,
        tuple(run for one in everything for run in one.runs),
        tuple(f"{run}: {reason}" for one in everything for run, reason in one.missing),
        costs,
    )


@contextmanager
def _else_not_measured() -> Iterator[None]:
    """Networks that a figure cannot be made of leave its place empty and spoil no other's."""
    try:
        yield
    except ValueError as error:
        raise NotMeasuredError(str(error)) from error


Made = tuple[list[Path], Section, str]
"""Files, a summary, and where multiply-adds come from."""


def _figure3(scored: Scored, _: Sequence[Scored], workplace: Workplace, folder: Path) -> Made:
    found = figure3(scored.named)
    return write_figure3(found, folder, published=scored.like_the_papers), found.summary(), scored.costs.source


def _figure4(scored: Scored, others: Sequence[Scored], workplace: Workplace, folder: Path) -> Made:
    (unsupervised,) = others
    for group, wanted in ((scored, True), (unsupervised, False)):
        for run in group.runs:
            config = workplace.network(run).training.get("config", {})
            if config.get("deep_supervision", wanted) != wanted:
                raise ValueError(f"{run.name} was trained {'without' if wanted else 'with'} deep supervision")
    found = figure4(scored.named, unsupervised.named)
    return write_figure4(found, folder), found.summary(), scored.costs.source


def _figure5(scored: Scored, others: Sequence[Scored], workplace: Workplace, folder: Path) -> Made:
    streams = [query_stream(one) for one in scored.each]
    outcomes = Outcomes.beside([stream.outcomes for stream in streams])
    networks = [Network(_called("DaRe", [scored]), outcomes, scored.costs)]
    if others:
        crops = workplace.recipe.figures["figure5"].crops
        rows = zip(*(one.runs for one in others), strict=False)
        sequences = [_in_sequence(runs, crops, workplace, scored.each[0]) for runs in rows]
        costs = sequences[0].costs
        assert costs is not None
        outcomes = Outcomes.beside([query_stream(one).outcomes for one in sequences])
        networks.append(Network(_called("networks in sequence", others), outcomes, costs))
    found = figure5(streams[0], networks)
    files = write_figure5(found, folder, published=scored.like_the_papers)
    return files, found.summary(), "; ".join(dict.fromkeys(network.costs.source for network in networks))


def _figure6(scored: Scored, _: Sequence[Scored], workplace: Workplace, folder: Path) -> Made:
    section = workplace.recipe.figure6
    assert section is not None
    times = None
    if section.times:
        times = load_times(section.times, workplace.network(scored.runs[0]).digest, len(scored.costs.macs))
    streams = [query_stream(one) for one in scored.each]
    found = figure6(streams, scored.costs, times, budgets=section.budgets)
    files = write_figure6(found, folder, published=scored.like_the_papers)
    return files, found.summary(), scored.costs.source


def _figure7(scored: Scored, _: Sequence[Scored], workplace: Workplace, folder: Path) -> Made:
    section = workplace.recipe.figure7
    assert section is not None
    found = figure7(scored.each, count=section.count, ranks=section.ranks)
    return write_figure7(found, folder), found.summary(), ""


def _figure8(scored: Scored, _: Sequence[Scored], workplace: Workplace, folder: Path) -> Made:
    section = workplace.recipe.figure8
    assert section is not None
    found = figure8(scored.each, [query_stream(one) for one in scored.each], count=section.count)
    return write_figure8(found, folder), found.summary(), scored.costs.source


_DRAW: dict[str, Callable[[Scored, Sequence[Scored], Workplace, Path], Made]] = {
    "figure3": _figure3,
    "figure4": _figure4,
    "figure5": _figure5,
    "figure6": _figure6,
    "figure7": _figure7,
    "figure8": _figure8,
}


def _called(name: str, networks: Sequence[Scored]) -> str:
    """A network's name in a legend; the drawing's title and its notes say what stands in."""
    return f"{name} (stand-in)" if any(one.runs[0].training.stands_in for one in networks) else name


def _in_sequence(runs: Sequence[Run], crops: int | None, workplace: Workplace, beside: Evaluation) -> Evaluation:
    """Whole networks as exits of one, as `dare.runners.cascade` runs them: their last vectors, their costs added up.

    They were embedded each by itself already, so nothing is run again.
    """
    each = [workplace.costs(run, crops) for run in runs]
    ids = [*beside.query.ids, *beside.gallery.ids]
    found = [workplace.embeddings(run, crops=crops).find(ids) for run in runs]
    names = tuple(f"network {number}" for number in range(1, len(runs) + 1))
    stages = tuple(one.exits()[-1] for one in found)
    joined = replace(found[0], stages=stages, fused=None, names=names, model="", space="own")
    totals = tuple(itertools.accumulate(one.macs[-1] for one in each))
    sources = "; ".join(dict.fromkeys(one.source for one in each))
    costs = ExitCosts(totals, f"{len(runs)} networks in sequence, added up; {sources}")
    return worth_something(evaluate(joined, beside.benchmark, distance=beside.distance, costs=costs))
