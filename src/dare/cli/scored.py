"""Vectors of a data set, computed or stored, and a network scored by them: what figures and plans are made of."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from dare.cli.embedding import run_network
from dare.cli.options import Running

if TYPE_CHECKING:
    from dare.anytime.costs import ExitCosts, ExitTimes
    from dare.datasets import Benchmark, Sample
    from dare.evaluation.evaluate import Evaluation
    from dare.retrieval.embeddings import Embeddings
    from dare.runners.runner import Runner

Stored = Annotated[
    Path | None, Parameter(help="What `dare embed` wrote with this network, so that it need not be run again.")
]


def vectors_of(
    benchmark: "Benchmark",
    samples: "Sequence[Sample]",
    runner: "Runner | None",
    embeddings: Path | None,
    running: Running,
) -> "tuple[Embeddings, ExitCosts | None, list[str]]":
    """Vectors of samples, computed now or stored before; what exits cost, if that is known; and which were left out.

    Args:
        runner: of the network; with `embeddings` the one that they are of, or None where any network's will do.
    """
    from dare.gallery.store import MismatchError
    from dare.retrieval.distances import another_model
    from dare.retrieval.embeddings import Embeddings

    costs: ExitCosts | None
    if embeddings is None:
        assert runner is not None
        vectors, costs = run_network(benchmark, samples, runner, running)
    else:
        given = running if runner is None else Running(crops=running.crops, pooling=running.pooling)
        if replace(given, skip_unreadable=False) != Running():
            raise ValueError("options of running a network belong to --model, not to --embeddings; leave them out")
        vectors = Embeddings.load(embeddings)
        costs = runner.costs.times(vectors.crops) if runner else None
        if runner and vectors.model != runner.digest:
            advice = "give the network that they were made with"
            raise MismatchError(another_model(f"{embeddings} holds vectors", vectors.model, runner.digest, advice))
    return vectors, costs, vectors.lacking(benchmark.identify(samples)) if running.skip_unreadable else []


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

    if times is not None and by != "ms":
        raise ValueError("--times belongs to --by ms")
    running = running or Running()
    benchmark = open_benchmark(root, layout)
    runner: Runner = running.open(model)
    vectors, costs, skipped = vectors_of(benchmark, (*benchmark.query, *benchmark.gallery), runner, embeddings, running)
    assert costs is not None
    evaluation = evaluate(vectors, benchmark, costs=costs, skipped=skipped)
    return evaluation, costs, _measured(runner, evaluation, times) if by == "ms" else None


def _measured(runner: "Runner", evaluation: "Evaluation", times: Path | None) -> "ExitTimes":
    """How long exits take with a search in the evaluation's gallery, one picture at a time."""
    from dare.anytime.records import load_times
    from dare.gallery.entry import Entry
    from dare.gallery.memory import MemoryGallery
    from dare.identification.answer import measure_answers

    if times is not None:
        return load_times(times, runner.digest, len(runner.exit_names))
    vectors = evaluation.gallery
    gallery = MemoryGallery(runner.digest, [rows.shape[1] for rows in vectors.exits()], vectors.space)
    people = (int(person) if person >= 0 else None for person in vectors.people)
    gallery.add(vectors.entries(), [Entry(id, person) for id, person in zip(vectors.ids, people, strict=True)])
    return measure_answers(runner, gallery)
