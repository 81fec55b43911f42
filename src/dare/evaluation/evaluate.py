"""Embeddings of a benchmark's queries and gallery -> scores of every stage and exit."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dare.anytime.costs import ExitCosts
from dare.datasets.market import multi_query as asking_together
from dare.datasets.sample import Benchmark, says_nothing
from dare.evaluation.learnt_distances import Learner, mapped, tested_too, training_vectors
from dare.retrieval.distances import normalised
from dare.retrieval.embeddings import Embeddings, EmbeddingsError, Pooling, refuse_unknown
from dare.retrieval.labels import Labels
from dare.retrieval.reranking import Reranking, score_reranked
from dare.retrieval.scoring import Rule, Scores, score_vectors

Distance = Literal["euclidean", "cosine"]

CMC_RANKS = 50
"""How far match curves go."""


@dataclass(frozen=True, slots=True)
class StageResult:
    """How well one embedding of a network does.

    Attributes:
        name: "stage 1", ..., "fusion".
        is_exit: False for a last stage that is only ever used through the fusion.
        macs: multiply-adds up to this embedding; None where unknown.
        scores: one per query; where exits share a space against the gallery's vectors of the last exit, which a
            deployed gallery has.
        own_gallery: where exits share a space, against the gallery's vectors of this embedding; else None.
    """

    name: str
    is_exit: bool
    macs: int | None
    scores: Scores
    own_gallery: Scores | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All of a network's embeddings, scored on one benchmark.

    Attributes:
        results: by depth, the fusion last.
        query, gallery: the embeddings that were scored, in the benchmark's order; a multi-query has the id of its
            first picture.
        costs: multiply-adds per exit, and where they come from; None where unknown.
        notes: what a reader of the numbers should know.
        multi_query: how the queries of a person at a camera became one; None where each asked alone.
        metric: how the last embedding's distance was learnt, if it was; query and gallery are mapped vectors then.
        rerank: how distances were re-ranked; None if they were not.
    """

    benchmark: Benchmark
    results: tuple[StageResult, ...]
    query: Embeddings
    gallery: Embeddings
    distance: Distance
    rule: Rule
    costs: ExitCosts | None
    notes: tuple[str, ...]
    multi_query: Pooling | None = None
    metric: str = ""
    rerank: Reranking | None = None

    @property
    def tracklets(self) -> str:
        """How tracklets became vectors: "mean", "max" or "unknown"; "" where all samples are stills."""
        samples = (*self.benchmark.query, *self.benchmark.gallery)
        if all(len(sample.images) == 1 for sample in samples):
            return ""
        return self.gallery.pooling or "unknown"

    @property
    def crops(self) -> int | None:
        """Per picture, of which vectors are means; None where nobody says so, of vectors of an unknown network."""
        return self.gallery.crops if self.gallery.model or self.gallery.crops > 1 else None

    @property
    def one_space(self) -> bool:
        """Whether the exits share a space, so that all are compared with the last one's vectors of the gallery."""
        return self.query.space == "shared"

    @property
    def unit(self) -> str:
        """The distance between vectors, before any re-ranking."""
        if self.metric:
            return "learnt distance"
        return "Euclidean distance" if self.distance == "euclidean" else "distance of vectors of length 1"

    @property
    def compared(self) -> str:
        """How vectors came about and were compared, before any re-ranking, in one line."""
        distance = "cosine distance (Euclidean, of vectors of length 1)" if self.distance == "cosine" else self.unit
        parts = [f"{distance} (at the last by {self.metric})" if self.metric else distance]
        if self.one_space:
            parts.append("one space, all exits against the gallery's vectors of the last")
        parts.append("crops unknown" if self.crops is None else f"{self.crops} crop{'s' if self.crops > 1 else ''}")
        if self.tracklets:
            how = "in an unknown way" if self.tracklets == "unknown" else f"by {self.tracklets}"
            parts.append(f"tracklets pooled {how}")
        if self.multi_query:
            parts.append(f"multi-query by {self.multi_query}")
        return "; ".join(parts)

    @property
    def settings(self) -> str:
        """How the figures came about, in one line: they compare only with others of the same settings."""
        settings = f"{self.compared}; average precision by the {self.rule} rule"
        if self.rerank:
            settings += f"; {self.rerank}; every query knows all others, so not for a stream"
        return settings

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
                "cmc": [figure(value) for value in result.scores.cmc_curve(CMC_RANKS).tolist()],
                "ties": result.scores.ties,
                "queries": len(result.scores.matched),
                "queries_with_a_match": int(result.scores.matched.sum()),
                **_own_gallery(result, figure),
            }
            for result in self.results
        ]
        return {
            "benchmark": self.benchmark.name,
            "distance": self.distance,
            "metric": self.metric or None,
            "rule": self.rule,
            "crops": self.crops,
            "rerank": asdict(self.rerank) if self.rerank else None,
            "tracklets": self.tracklets or None,
            "multi_query": self.multi_query,
            "model": self.query.model,
            "costs": self.costs.source if self.costs else None,
            "notes": list(self.notes),
            **({"space": "shared"} if self.one_space else {}),
            "results": rows,
        }


def evaluate(
    embeddings: Embeddings,
    benchmark: Benchmark,
    *,
    distance: Distance = "euclidean",
    rule: Rule = "official",
    multi_query: Pooling | None = None,
    metric: Learner | None = None,
    rerank: Reranking | None = None,
    costs: ExitCosts | None = None,
    skipped: Sequence[str] = (),
) -> Evaluation:
    """Score every stage and exit by the benchmark's protocol.

    Where the exits share a space, queries of each are scored against the gallery's vectors of the last exit, and beside
    that against those of their own.

    Args:
        embeddings: of at least the benchmark's query and gallery pictures, found by id; their labels are the
            benchmark's own, whatever the embeddings say.
        distance: "euclidean" as DaRe is trained for, or "cosine".
        rule: of average precision, as in `score`.
        multi_query: "mean" or "max" joins the vectors of all queries of a person at a camera into one query, for
            Market-1501 those of its hand-drawn boxes, as `dare.multi_query` says; None scores each query alone.
        metric: `kissme`, `xqda` or a `functools.partial` of one: each embedding's distance is learnt from the
            benchmark's training pictures, whose vectors are among the embeddings then. With "cosine" all vectors are
            scaled to length 1 first.
        rerank: re-rank each embedding's distances; they then depend on all queries together.
        costs: multiply-adds per exit.
        skipped: ids of samples that were left out as unreadable; they are left out here too.

    Raises:
        EmbeddingsError: a sample has no embedding.
        ValueError: NaN, costs of another network, or an argument that isn't one of its choices.
    """
    if distance not in ("euclidean", "cosine"):
        raise ValueError(f"distance must be 'euclidean' or 'cosine', got {distance!r}")
    if costs and len(costs.macs) != len(embeddings.exits()):
        raise ValueError(f"expected costs of {len(embeddings.exits())} exits, got {len(costs.macs)}")
    if multi_query is not None:
        refuse_unknown(multi_query)
        benchmark = asking_together(benchmark)
    left_out = set(skipped)
    samples = [*benchmark.query, *benchmark.gallery]
    ids = benchmark.identify(samples)
    kept = [row for row, id in enumerate(ids) if id not in left_out]
    labels = Labels.of([samples[row] for row in kept])
    wanted = [ids[row] for row in kept]
    if multi_query is not None:
        _refuse_lacking(embeddings, wanted)
    found = embeddings.find(wanted)
    found = replace(found, people=labels.people, cameras=labels.cameras)
    found.refuse_nan()
    queries = sum(row < len(benchmark.query) for row in kept)
    query, gallery = found.rows(range(queries)), found.rows(range(queries, len(kept)))
    together: list[str] = []
    if multi_query is not None:
        query, together = _joined(query, multi_query)
    learnt = ""
    if metric is not None:
        training, scaled = training_vectors(embeddings, benchmark, left_out), distance == "cosine"
        (query, gallery), learnt = mapped([query, gallery], training, metric, scaled=scaled)
        distance = "euclidean"
    results = tuple(_scored(query, gallery, costs, distance, rerank, rule))
    one_sided = _one_sided(benchmark, query, gallery)
    notes = [
        *benchmark.notes,
        *together,
        *([one_sided] if one_sided else []),
        *(tested_too(benchmark) if learnt else []),
    ]
    if rerank and rerank.variant == "fast-reid" and distance == "euclidean":
        notes.append("variant fast-reid is meant for vectors of length 1, as cosine distance makes them")
    notes += _notes(
        results, left_out, "pictures" if all(len(sample.images) == 1 for sample in samples) else "tracklets"
    )
    return Evaluation(
        benchmark, results, query, gallery, distance, rule, costs, tuple(notes), multi_query, learnt, rerank
    )


def percent(share: float) -> str:
    """A share as tables show it: in percent, "–" where it is unknown."""
    return "–" if math.isnan(share) else f"{100 * share:.1f}"


def _own_gallery(result: StageResult, figure: Callable[[float], float | None]) -> dict[str, Any]:
    if result.own_gallery is None:
        return {}
    scores = result.own_gallery
    figures = {"rank1": scores.cmc(1), "mAP": scores.mean_average_precision}
    return {"own_gallery": {name: figure(value) for name, value in figures.items()}}


def _refuse_lacking(embeddings: Embeddings, ids: Sequence[str]) -> None:
    if missing := embeddings.lacking(ids):
        raise EmbeddingsError(
            f"no embedding of {missing[0]} (and {len(missing) - 1} more of {len(ids)} pictures), which multi-query "
            "needs; embed these pictures too, as dare embed --multi-query does"
        )


def _joined(query: Embeddings, how: Pooling) -> tuple[Embeddings, list[str]]:
    """One row per person and camera, in the order of their first pictures, and what there is to say of it."""
    groups: dict[tuple[int, int], list[int]] = {}
    for row, key in enumerate(zip(query.people.tolist(), query.cameras.tolist(), strict=True)):
        groups.setdefault(key, []).append(row)
    joined = query.pooled(list(groups.values()), how)
    each = len(query) / max(1, len(joined))
    note = f"multi-query: {len(query)} pictures make {len(joined)} queries, the {how} of {each:.1f} vectors each"
    return joined, [f"{note}; multiply-adds are those of one picture"]


def _one_sided(benchmark: Benchmark, query: Embeddings, gallery: Embeddings) -> str:
    cameras = [*query.cameras.tolist(), *gallery.cameras.tolist()] if benchmark.cameras_known else None
    return says_nothing([*query.people.tolist(), *gallery.people.tolist()], cameras)


def _scored(
    query: Embeddings,
    gallery: Embeddings,
    costs: ExitCosts | None,
    distance: Distance,
    rerank: Reranking | None,
    rule: Rule,
) -> list[StageResult]:
    def score(name: str, q: NDArray[np.float32], g: NDArray[np.float32]) -> Scores:
        try:
            vectors = (normalised(q), normalised(g)) if distance == "cosine" else (q, g)
            if rerank:
                return score_reranked(*vectors, query, gallery, rerank=rerank, rule=rule)
            return score_vectors(*vectors, query, gallery, rule=rule)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error

    results = []
    described = _described(query, costs)
    for (name, is_exit, macs), (q, g), own in zip(described, query.against(gallery), gallery.vectors(), strict=True):
        scores, own_gallery = score(name, q, g), None
        if query.space == "shared":
            own_gallery = scores if g is own else score(name, q, own)
        results.append(StageResult(name, is_exit, macs, scores, own_gallery))
    return results


def _described(query: Embeddings, costs: ExitCosts | None) -> Iterator[tuple[str, bool, int | None]]:
    """Name, whether it is an exit, and multiply-adds of each embedding."""
    count = len(query.stages)
    macs: Sequence[int | None] = costs.macs if costs else [None] * max(1, count)
    for number, name in enumerate(query.names):
        last_before_fusion = query.fused is not None and number == count - 1
        yield name, not last_before_fusion, macs[number]
    if query.fused is not None:
        yield "fusion", True, macs[-1]


def _notes(results: Sequence[StageResult], left_out: set[str], kind: str) -> list[str]:
    notes = []
    if left_out:
        notes.append(f"{len(left_out)} {kind} were left out: unreadable, or without an embedding")
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
