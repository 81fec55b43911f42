"""Vectors of a data set, computed or stored, and a network scored by them: what figures and plans are made of."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from dare.cli.embedding import run_network
from dare.cli.options import Running

if TYPE_CHECKING:
    from dare.anytime.costs import ExitCosts
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
) -> "tuple[Evaluation, ExitCosts]":
    """A network's embeddings scored, and what its exits cost."""
    from dare.datasets import open_benchmark
    from dare.evaluation.evaluate import evaluate

    running = running or Running()
    benchmark = open_benchmark(root, layout)
    runner: Runner = running.open(model)
    vectors, costs, skipped = vectors_of(benchmark, (*benchmark.query, *benchmark.gallery), runner, embeddings, running)
    assert costs is not None
    evaluation = evaluate(vectors, benchmark, costs=costs, skipped=skipped)
    return evaluation, costs
