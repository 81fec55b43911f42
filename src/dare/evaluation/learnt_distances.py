"""Embeddings mapped into spaces whose Euclidean distances were learnt from a benchmark's training pictures."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dare.datasets.sample import Benchmark
from dare.retrieval.distances import entry_exit, normalised
from dare.retrieval.embeddings import Embeddings
from dare.retrieval.metrics import Metric

Learner = Callable[[NDArray[np.floating], NDArray[np.int64], NDArray[np.int64]], Metric]
"""`kissme` or `xqda`: vectors, people and cameras -> a learnt distance."""


def mapped(
    parts: Sequence[Embeddings], training: Embeddings, learn: Learner, *, scaled: bool
) -> tuple[list[Embeddings], str]:
    """Each embedding mapped by what is learnt for it, and how that was learnt for the last one.

    Where exits share a space, all are mapped by what is learnt for the last one.

    Args:
        parts: of one network.
        scaled: scale all vectors to length 1 first.
    """

    def learnt(known: NDArray[np.float32]) -> Metric:
        return learn(normalised(known) if scaled else known, training.people, training.cameras)

    def moved(metric: Metric, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        return metric.map(normalised(vectors) if scaled else vectors)

    known = training.vectors()
    places = [entry_exit(training.space, number, len(known)) for number in range(len(known))]
    learnt_of = {place: learnt(known[place]) for place in dict.fromkeys(places)}
    metrics = [learnt_of[place] for place in places]
    moved_parts = []
    for part in parts:
        vectors = [moved(metric, rows) for metric, rows in zip(metrics, part.vectors(), strict=True)]
        stages, fused = vectors[: len(part.stages)], vectors[len(part.stages) :]
        moved_parts.append(replace(part, stages=tuple(stages), fused=fused[0] if fused else None))
    return moved_parts, metrics[-1].source + (", of vectors scaled to length 1" if scaled else "")


def tested_too(benchmark: Benchmark) -> list[str]:
    """A note, if people are asked for from whose pictures a distance was learnt."""
    tested = {sample.person for sample in benchmark.query}
    both = 0 if benchmark.numbered_anew else len(tested & {sample.person for sample in benchmark.train})
    warning = (
        f"{both} of {len(tested)} people asked for are among those the distance was learnt from; figures flatter it"
    )
    return [warning] if both else []
