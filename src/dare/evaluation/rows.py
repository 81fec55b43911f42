"""A benchmark's rows of embeddings: found by id, labelled as the benchmark says, joined for multi-query."""

from collections.abc import Sequence
from dataclasses import replace

from dare.datasets.sample import Benchmark, Sample
from dare.retrieval.embeddings import Embeddings, Pooling
from dare.retrieval.labels import Labels


def labelled(
    embeddings: Embeddings, benchmark: Benchmark, samples: Sequence[Sample], left_out: set[str], advice: str
) -> Embeddings:
    """The embeddings of samples that were not left out, with the benchmark's labels, in their order.

    Args:
        left_out: ids.
        advice: what to do about samples without an embedding.

    Raises:
        EmbeddingsError: there are such samples.
        ValueError: NaN.
    """
    kept = [pair for pair in zip(benchmark.identify(samples), samples, strict=True) if pair[0] not in left_out]
    ids = [id for id, _ in kept]
    embeddings.check_whole(ids, advice)
    found, labels = embeddings.find(ids), Labels.of([sample for _, sample in kept])
    found.refuse_nan()
    return replace(found, people=labels.people, cameras=labels.cameras)


def joined(query: Embeddings, how: Pooling) -> Embeddings:
    """One row per person and camera, in the order of their first pictures."""
    groups: dict[tuple[int, int], list[int]] = {}
    for row, key in enumerate(zip(query.people.tolist(), query.cameras.tolist(), strict=True)):
        groups.setdefault(key, []).append(row)
    return query.pooled(list(groups.values()), how)
