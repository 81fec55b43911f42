"""A network scored on a data set, from its pictures or from stored embeddings: what figures and plans are made of."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from dare.cli.embedding import run_network
from dare.cli.options import Running

if TYPE_CHECKING:
    from dare.anytime.costs import ExitCosts, ExitTimes
    from dare.evaluation.evaluate import Evaluation
    from dare.runners.runner import Runner

Stored = Annotated[
    Path | None, Parameter(help="What `dare embed` wrote with this network, so that it need not be run again.")
]


def scored(
    root: Path,
    model: Sequence[Path],
    embeddings: Path | None,
    layout: str | None,
    running: Running | None,
    by: str = "macs",
    times: Path | None = None,
) -> "tuple[Evaluation, ExitCosts, ExitTimes | None]":
    """A network's embeddings scored, what its exits cost, and how long they take if that is asked for."""
    from dare.datasets import open_benchmark
    from dare.evaluation.evaluate import evaluate
    from dare.gallery.store import MismatchError
    from dare.retrieval.embeddings import Embeddings

    if times is not None and by != "ms":
        raise ValueError("--times belongs to --by ms")
    running = running or Running()
    benchmark = open_benchmark(root, layout)
    samples = (*benchmark.query, *benchmark.gallery)
    runner: Runner = running.open(model)
    if embeddings is None:
        vectors, costs = run_network(benchmark, samples, runner, running)
    else:
        if running.crops != 1 or running.pooling != "mean":
            raise ValueError("--crops and --pooling belong to a network that is run; embeddings know theirs")
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
    from dare.gallery.entry import Entry
    from dare.gallery.memory import MemoryGallery
    from dare.verification.calibration import load_times, measure_answers

    if times is not None:
        return load_times(times, runner)
    vectors = evaluation.gallery
    gallery = MemoryGallery(runner.digest, [rows.shape[1] for rows in vectors.exits()], vectors.space)
    people = (int(person) if person >= 0 else None for person in vectors.people)
    gallery.add(vectors.entries(), [Entry(id, person) for id, person in zip(vectors.ids, people, strict=True)])
    return measure_answers(runner, gallery)
