"""Embeddings of a benchmark's queries and gallery -> scores of every stage and exit."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dare.anytime.costs import ExitCosts
from dare.datasets.sample import Benchmark, says_nothing
from dare.retrieval.distances import normalised
from dare.retrieval.embeddings import Embeddings, EmbeddingsError
from dare.retrieval.labels import Labels
from dare.retrieval.metrics import Metric
from dare.retrieval.scores import Rule, Scores
from dare.retrieval.scoring import score_vectors

Distance = Literal["euclidean", "cosine"]

Learner = Callable[[NDArray[np.floating], NDArray[np.int64], NDArray[np.int64]], Metric]
"""`kissme` or `xqda`: vectors, people and cameras -> a learnt distance."""


@dataclass(frozen=True, slots=True)
class StageResult:
    """How well one embedding of a network does.

    Attributes:
        name: "stage 1", ..., "fusion".
        is_exit: False for a last stage that is only ever used through the fusion.
        macs: multiply-adds up to this embedding; None where unknown.
        scores: one per query.
    """

    name: str
    is_exit: bool
    macs: int | None
    scores: Scores


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All of a network's embeddings, scored on one benchmark.

    Attributes:
        results: by depth, the fusion last.
        query, gallery: the embeddings that were scored, in the benchmark's order.
        costs: multiply-adds per exit, and where they come from; None where unknown.
        notes: what a reader of the numbers should know.
        metric: how the last embedding's distance was learnt, if it was; query and gallery are mapped vectors then.
    """

    benchmark: Benchmark
    results: tuple[StageResult, ...]
    query: Embeddings
    gallery: Embeddings
    distance: Distance
    rule: Rule
    costs: ExitCosts | None
    notes: tuple[str, ...]
    metric: str = ""

    @property
    def nothing_to_score(self) -> str:
        """Why the figures say nothing, or ""."""
        if reason := _one_sided(self.benchmark, self.query, self.gallery):
            return reason
        if self.results[0].scores.matched.any():
            return ""
        if not len(self.query) or not len(self.gallery):
            return "no queries or no gallery entries are left to score; see what was left out"
        common = {*self.query.people.tolist()} & {*self.gallery.people.tolist()}
        reason = "seen by no other camera there" if common else "nobody on the queries is in the gallery"
        return f"no query has a valid match in the gallery ({reason}), so there is nothing to score; check the labels"

    @property
    def exits(self) -> tuple[StageResult, ...]:
        """The results of the exits alone."""
        return tuple(result for result in self.results if result.is_exit)

    def figures(self) -> dict[str, Any]:
        """All numbers as plain values for a JSON file; None where no query has a match."""

        def figure(value: float) -> float | None:
            return None if math.isnan(value) else value

        rows = [
            {
                "name": result.name,
                "is_exit": result.is_exit,
                "macs": result.macs,
                "rank1": figure(result.scores.cmc(1)),
                "rank5": figure(result.scores.cmc(5)),
                "rank10": figure(result.scores.cmc(10)),
                "mAP": figure(result.scores.mean_average_precision),
                "mINP": figure(result.scores.mean_inverse_negative_penalty),
                "ties": result.scores.ties,
                "queries": len(result.scores.matched),
                "queries_with_a_match": int(result.scores.matched.sum()),
            }
            for result in self.results
        ]
        return {
            "benchmark": self.benchmark.name,
            "distance": self.distance,
            "metric": self.metric or None,
            "rule": self.rule,
            "model": self.query.model,
            "costs": self.costs.source if self.costs else None,
            "notes": list(self.notes),
            "results": rows,
        }


def evaluate(
    embeddings: Embeddings,
    benchmark: Benchmark,
    *,
    distance: Distance = "euclidean",
    rule: Rule = "official",
    costs: ExitCosts | None = None,
    skipped: Sequence[str] = (),
    metric: Learner | None = None,
) -> Evaluation:
    """Score every stage and exit by the benchmark's protocol.

    Args:
        embeddings: of at least the benchmark's query and gallery pictures, found by id; their labels are the
            benchmark's own, whatever the embeddings say.
        distance: "euclidean" as DaRe is trained for, or "cosine".
        rule: of average precision, as in `score`.
        costs: multiply-adds per exit.
        skipped: ids of pictures that were left out as unreadable; they are left out here too.
        metric: `kissme`, `xqda` or a `functools.partial` of one: each embedding's distance is learnt from the
            benchmark's training pictures, whose vectors are among the embeddings then. With "cosine" all vectors are
            scaled to length 1 first.
    """
    if distance not in ("euclidean", "cosine"):
        raise ValueError(f"distance must be 'euclidean' or 'cosine', got {distance!r}")
    if costs and len(costs.macs) != len(embeddings.exits()):
        raise ValueError(f"expected costs of {len(embeddings.exits())} exits, got {len(costs.macs)}")
    left_out = set(skipped)
    samples = [*benchmark.query, *benchmark.gallery]
    ids = benchmark.identify(samples)
    kept = [row for row, id in enumerate(ids) if id not in left_out]
    labels = Labels.of([samples[row] for row in kept])
    found = embeddings.find([ids[row] for row in kept])
    found = replace(found, people=labels.people, cameras=labels.cameras)
    _refuse_nan(found)
    learnt = ""
    if metric is not None:
        found, learnt = _mapped(found, _training(embeddings, benchmark, left_out), metric, distance)
        distance = "euclidean"
    queries = sum(row < len(benchmark.query) for row in kept)
    query, gallery = found.rows(range(queries)), found.rows(range(queries, len(kept)))
    results = []
    for name, is_exit, macs, q, g in _embeddings(query, gallery, costs):
        vectors = (normalised(q), normalised(g)) if distance == "cosine" else (q, g)
        results.append(StageResult(name, is_exit, macs, score_vectors(*vectors, query, gallery, rule=rule)))
    one_sided = _one_sided(benchmark, query, gallery)
    notes = (*benchmark.notes, *([one_sided] if one_sided else []), *_notes(results, left_out))
    if learnt:
        notes = (*notes, *_notes_on_learning(benchmark))
    return Evaluation(benchmark, tuple(results), query, gallery, distance, rule, costs, notes, learnt)


def _training(embeddings: Embeddings, benchmark: Benchmark, left_out: set[str]) -> Embeddings:
    """The embeddings of the training pictures, with the benchmark's labels."""
    chosen = [
        (id, sample)
        for id, sample in zip(benchmark.identify(benchmark.train), benchmark.train, strict=True)
        if id not in left_out
    ]
    missing = embeddings.lacking([id for id, _ in chosen])
    if missing or not chosen:
        raise EmbeddingsError(
            f"a distance is learnt from training pictures, and {len(missing)} of {len(chosen)} have no embedding; "
            "embed them too: dare embed --split train --split query --split gallery"
        )
    training = embeddings.find([id for id, _ in chosen])
    labels = Labels.of([sample for _, sample in chosen])
    return replace(training, people=labels.people, cameras=labels.cameras)


def _mapped(found: Embeddings, training: Embeddings, learn: Learner, distance: Distance) -> tuple[Embeddings, str]:
    """Each embedding in the space whose Euclidean distances are learnt, and how the last one's was learnt."""
    _refuse_nan(training)

    def mapped(vectors: NDArray[np.float32], known: NDArray[np.float32]) -> tuple[NDArray[np.float32], str]:
        if distance == "cosine":
            vectors, known = normalised(vectors), normalised(known)
        metric = learn(known, training.people, training.cameras)
        return metric.map(vectors), metric.source

    stages = [mapped(*pair) for pair in zip(found.stages, training.stages, strict=True)]
    fused = None if found.fused is None or training.fused is None else mapped(found.fused, training.fused)
    scaled = ", of vectors scaled to length 1" if distance == "cosine" else ""
    return (
        replace(found, stages=tuple(vectors for vectors, _ in stages), fused=fused and fused[0]),
        (fused or stages[-1])[1] + scaled,
    )


def _notes_on_learning(benchmark: Benchmark) -> list[str]:
    tested = {sample.person for sample in benchmark.query}
    both = len(tested & {sample.person for sample in benchmark.train})
    if not both:
        return []
    return [
        f"{both} of {len(tested)} people asked for are among those the distance was learnt from; figures flatter it"
    ]


def _one_sided(benchmark: Benchmark, query: Embeddings, gallery: Embeddings) -> str:
    cameras = [*query.cameras.tolist(), *gallery.cameras.tolist()] if benchmark.cameras_known else None
    return says_nothing([*query.people.tolist(), *gallery.people.tolist()], cameras)


def _refuse_nan(embeddings: Embeddings) -> None:
    for vectors in (*embeddings.stages, *([] if embeddings.fused is None else [embeddings.fused])):
        if not np.isfinite(vectors).all():
            row = int((~np.isfinite(vectors)).any(1).argmax())
            raise ValueError(f"the vector of {embeddings.ids[row]} contains NaN or infinity; embed it again")


def _embeddings(
    query: Embeddings, gallery: Embeddings, costs: ExitCosts | None
) -> Iterator[tuple[str, bool, int | None, NDArray[np.float32], NDArray[np.float32]]]:
    """Name, whether it is an exit, multiply-adds, and both sides' vectors of each embedding."""
    count = len(query.stages)
    macs: Sequence[int | None] = costs.macs if costs else [None] * max(1, count)
    for number, (q, g) in enumerate(zip(query.stages, gallery.stages, strict=True)):
        last_before_fusion = query.fused is not None and number == count - 1
        yield query.names[number], not last_before_fusion, macs[number], q, g
    if query.fused is not None and gallery.fused is not None:
        yield "fusion", True, macs[-1], query.fused, gallery.fused


def _notes(results: Sequence[StageResult], left_out: set[str]) -> list[str]:
    notes = []
    if left_out:
        notes.append(f"{len(left_out)} pictures were left out: unreadable, or without an embedding")
    unmatched = int((~results[0].scores.matched).sum())
    if unmatched:
        total = len(results[0].scores.matched)
        notes.append(f"{unmatched} of {total} queries have no valid match in the gallery; they are not in any mean")
    for result in results:
        if result.scores.ties:
            notes.append(
                f"{result.name}: {result.scores.ties} queries have their first match exactly as far as a wrong "
                "entry; their rank depends on the gallery's order"
            )
    return notes
