"""`dare embed`, and vectors of a data set for the commands that score them: computed now, or stored before."""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from dare.anytime.costs import ExitCosts
from dare.cli import options
from dare.cli.terminal import console, one_line, output, progress, say
from dare.datasets import Benchmark, Sample, open_benchmark
from dare.datasets import multi_query as asking_together
from dare.files import check_writable
from dare.gallery.store import MismatchError
from dare.images.reading import UnreadableImageError
from dare.retrieval.distances import another_model
from dare.retrieval.embeddings import Embeddings, Pooling
from dare.runners.runner import Runner

if TYPE_CHECKING:
    from dare.evaluation.evaluate import Evaluation

Crops = Annotated[
    Literal[1, 10], Parameter(help="10 takes the mean over five crops and their mirror images, at ten times the cost.")
]
TrackletPooling = Annotated[Pooling, Parameter(help="How the vectors of a tracklet's pictures become one.")]


def embed(
    root: options.Root,
    out: Path,
    /,
    *,
    model: options.ModelPaths,
    split: options.Splits = None,
    multi_query: Annotated[bool, options.FLAG] = False,
    crops: Crops = 1,
    pooling: TrackletPooling = "mean",
    batch_size: options.BatchSize = 64,
    skip_unreadable: options.SkipUnreadable = False,
    layout: options.Layout = None,
    engine: options.EngineOptions = options.ENGINE,
) -> None:
    """Write the vectors of a data set's pictures at every stage to an .npz file.

    Run it again after an interruption: it goes on where it stopped.

    Parameters
    ----------
    out
        File to write.
    multi_query
        Also embed the pictures that `dare evaluate --multi-query` joins: the hand-drawn boxes of Market-1501.
    """

    check_writable(out)
    benchmark = open_benchmark(root, layout)
    say(benchmark.notes)
    samples = [sample for name in split or ("query", "gallery") for sample in getattr(benchmark, name)]
    if multi_query:
        samples += asking_together(benchmark).query
    parts = out.with_name(f".{out.name}.parts")
    try:
        embeddings = _computed(
            benchmark, samples, engine.open(model), engine.workers, skip_unreadable, crops, pooling, batch_size, parts
        )
        embeddings.save(out)
        shutil.rmtree(parts, ignore_errors=True)
    finally:
        with suppress(OSError):
            parts.rmdir()  # where nothing was finished there is nothing to keep
    kind = "tracklets" if any(len(sample.images) > 1 for sample in samples) else "pictures"
    output.print(f"{len(embeddings)} {kind}, {len(embeddings.exits())} exits, in {out}")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a data set's vectors come from: a network, what `dare embed` wrote, or both, which must fit."""

    model: options.ModelPaths | None = None
    embeddings: Annotated[
        Path | None,
        Parameter(
            help="An .npz file instead of running the network: what `dare embed` wrote, or arrays `vectors` (N, D) and "
            "`ids` (file names). With --model too they must be this network's, whose costs are known then."
        ),
    ] = None
    skip_unreadable: options.SkipUnreadable = False
    layout: options.Layout = None
    engine: options.EngineOptions = options.ENGINE

    def check(self) -> None:
        """Refuse vectors from nowhere."""
        if self.model is None and self.embeddings is None:
            raise ValueError("no vectors to score; give --model, or --embeddings")

    def vectors(
        self, benchmark: Benchmark, samples: Sequence[Sample], *, crops: int = 1, pooling: Pooling = "mean"
    ) -> tuple[Embeddings, ExitCosts | None, tuple[float, ...], list[str]]:
        """Vectors of samples, what exits cost and how stages are fused if a network is given, and the ids of samples
        that were left out."""
        self.check()
        ignored = (crops, pooling) != (1, "mean") or (self.model is None and self.engine != options.ENGINE)
        if self.embeddings is not None and ignored:
            raise ValueError("options of running a network belong to --model, not to --embeddings; leave them out")
        runner = self.engine.open(self.model) if self.model else None
        if self.embeddings is not None:
            vectors = Embeddings.load(self.embeddings)
            vectors = replace(vectors, seen=vectors.seen or runner.seen) if runner else vectors
            if runner and vectors.model != runner.digest:
                advice = "give the network that they were made with"
                raise MismatchError(
                    another_model(f"{self.embeddings} holds vectors", vectors.model, runner.digest, advice)
                )
        else:
            assert runner is not None
            vectors = _computed(benchmark, samples, runner, self.engine.workers, self.skip_unreadable, crops, pooling)
        costs = runner.costs.times(vectors.crops) if runner else None
        fusion = runner.fusion if runner else ()
        return vectors, costs, fusion, vectors.lacking(benchmark.identify(samples)) if self.skip_unreadable else []

    def evaluation(self, benchmark: Benchmark, distance: Literal["euclidean", "cosine"] = "euclidean") -> "Evaluation":
        """The queries and the gallery, scored."""
        from dare.evaluation.evaluate import evaluate

        vectors, costs, fusion, skipped = self.vectors(benchmark, (*benchmark.query, *benchmark.gallery))
        return evaluate(vectors, benchmark, distance=distance, costs=costs, fusion=fusion, skipped=skipped)


SOURCE = Source()
SourceOptions = Annotated[Source, Parameter(name="*")]


def _computed(
    benchmark: Benchmark,
    samples: Sequence[Sample],
    runner: Runner,
    workers: int,
    skip_unreadable: bool,
    crops: int,
    pooling: Pooling,
    batch_size: options.BatchSize = 64,
    resume: Path | None = None,
) -> Embeddings:
    from dare.evaluation.embedding import embed as embed_samples

    skipped: list[UnreadableImageError] | None = [] if skip_unreadable else None
    with progress() as show:
        embeddings = embed_samples(
            runner,
            samples,
            root=benchmark.root,
            crops=crops,
            pooling=pooling,
            batch_size=batch_size,
            workers=workers,
            resume=resume,
            skipped=skipped,
            on_progress=lambda done, total: show("embedding", done, total),
        )
    report_skipped(skipped)
    return embeddings


def report_skipped(skipped: list[UnreadableImageError] | None) -> None:
    for problem in skipped or []:
        console.print(f"left out: {one_line(problem)}")
    if skipped:
        output.print(f"note: {len(skipped)} unreadable pictures were left out")
