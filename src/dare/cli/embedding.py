"""`dare embed`, and what it shares with `dare evaluate`: running a network over a data set."""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from dare.cli.options import Layout, Models, MultiQuery, Root, Running, RunningOptions, report_skipped
from dare.cli.terminal import output, progress
from dare.files import check_writable

if TYPE_CHECKING:
    from dare.anytime.costs import ExitCosts
    from dare.datasets import Benchmark, Sample
    from dare.images.reading import UnreadableImageError
    from dare.retrieval.embeddings import Embeddings
    from dare.runners.runner import Runner


def embed(
    root: Root,
    out: Path,
    /,
    *,
    model: Models,
    split: Annotated[list[Literal["train", "query", "gallery"]] | None, Parameter(negative="")] = None,
    multi_query: MultiQuery = False,
    layout: Layout = None,
    running: RunningOptions = None,
) -> None:
    """Write the vectors of a data set's pictures at every stage to an .npz file.

    Run it again after an interruption to go on where it stopped.

    Parameters
    ----------
    out
        File to write.
    split
        Which pictures; query and gallery if not given.
    """
    from dare.datasets import multi_query as asking_together
    from dare.datasets import open_benchmark

    running = running or Running()
    check_writable(out)
    benchmark = open_benchmark(root, layout)
    samples = [sample for name in split or ("query", "gallery") for sample in getattr(benchmark, name)]
    if multi_query:
        samples += asking_together(benchmark).query
    parts = out.with_name(f".{out.name}.parts")
    try:
        embeddings, _ = run_network(benchmark, samples, running.open(model), running, parts)
        embeddings.save(out)
        shutil.rmtree(parts, ignore_errors=True)
    finally:
        with suppress(OSError):
            parts.rmdir()  # where nothing was finished there is nothing to keep
    kind = "tracklets" if any(len(sample.images) > 1 for sample in samples) else "pictures"
    output.print(f"{len(embeddings)} {kind}, {len(embeddings.exits())} exits, in {out}")


def run_network(
    benchmark: "Benchmark", samples: "Sequence[Sample]", runner: "Runner", running: Running, resume: Path | None = None
) -> "tuple[Embeddings, ExitCosts]":
    """Vectors of the samples that were not left out, and what the exits cost."""
    from dare.evaluation.embedding import embed as embed_samples

    skipped: list[UnreadableImageError] | None = [] if running.skip_unreadable else None
    with progress() as show:
        embeddings = embed_samples(
            runner,
            samples,
            root=benchmark.root,
            crops=running.crops,
            pooling=running.pooling,
            batch_size=running.batch_size,
            workers=running.workers,
            resume=resume,
            skipped=skipped,
            on_progress=lambda done, total: show("embedding", done, total),
        )
    report_skipped(skipped)
    return embeddings, runner.costs.times(running.crops)
