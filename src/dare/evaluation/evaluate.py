"""Embeddings of a benchmark's queries and gallery -> scores of every stage and exit."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dare.anytime.costs import ExitCosts
from dare.datasets.market import multi_query as asking_together
from dare.datasets.sample import Benchmark, says_nothing
from dare.datasets.seen import trained_on
from dare.evaluation.learnt_distances import Learner, mapped, tested_too
from dare.evaluation.rows import joined, labelled
from dare.evaluation.stages import Distance, StageResult, notes_on, scored
from dare.retrieval.embeddings import Embeddings, Pooling, refuse_unknown
from dare.retrieval.reranking import Reranking
from dare.retrieval.scoring import Rule

CMC_RANKS = 50
"""How far match curves go."""


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
        fusion: weights of the stages' vectors in the fused one; () without fusion, or where they are unknown.
        trained_on: a note, among the others too, if people are known to the network; "" if not, or nothing is known.
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
    fusion: tuple[float, ...] = ()
    trained_on: str = ""

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
            parts.append(
                "tracklets pooled " + {"unknown": "in an unknown way"}.get(self.tracklets, f"by {self.tracklets}")
            )
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
    def fused(self) -> str:
        """The fusion in one line: -0.540 x stage 1 - 0.730 x stage 2 ...; "" where it is unknown."""
        parts = [f"{weight:+.3f} x {name}" for weight, name in zip(self.fusion, self.query.names, strict=False)]
        return " ".join([*(part.removeprefix("+") for part in parts[:1]), *(f"{p[0]} {p[1:]}" for p in parts[1:])])

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

        rows: list[dict[str, Any]] = []
        for result in self.results:
            scores, own = result.scores, result.own_gallery
            row: dict[str, Any] = {
                "name": result.name,
                "is_exit": result.is_exit,
                "macs": result.macs,
                **{f"rank{rank}": figure(scores.cmc(rank)) for rank in (1, 5, 10)},
                "mAP": figure(scores.mean_average_precision),
                "mINP": figure(scores.mean_inverse_negative_penalty),
                "cmc": [figure(value) for value in scores.cmc_curve(CMC_RANKS).tolist()],
                "ties": scores.ties,
                "queries": len(scores.matched),
                "queries_with_a_match": int(scores.matched.sum()),
            }
            if own:
                row["own_gallery"] = {"rank1": figure(own.cmc(1)), "mAP": figure(own.mean_average_precision)}
            rows.append(row)
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
            "fusion": list(self.fusion) or None,
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
    fusion: Sequence[float] = (),
    skipped: Sequence[str] = (),
) -> Evaluation:
    """Score every stage and exit by the benchmark's protocol.

    Args:
        embeddings: of at least the benchmark's query and gallery pictures, found by id; their labels are the
            benchmark's own, whatever the embeddings say.
        distance: "euclidean" as DaRe is trained for, or "cosine".
        rule: of average precision, as in `score`.
        multi_query: "mean" or "max" joins the vectors of a person at a camera into one query, as
            `dare.datasets.multi_query` says; None scores each query alone.
        metric: `kissme`, `xqda` or a `functools.partial` of one: each embedding's distance is learnt from the training
            pictures, which need embeddings then. With "cosine" all vectors are scaled to length 1 first.
        rerank: re-rank each embedding's distances; they then depend on all queries together.
        costs: multiply-adds per exit.
        fusion: weights of the stages' vectors in the fused one, to say beside the scores.
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
    left_out, notes, learnt = set(skipped), list(benchmark.notes), ""
    samples = (*benchmark.query, *benchmark.gallery)
    embed_too = "as dare embed --multi-query does" if multi_query else "with ids as in the data set's folder"
    found = labelled(embeddings, benchmark, samples, left_out, f"embed these pictures too, {embed_too}")
    queries = sum(id not in left_out for id in benchmark.identify(benchmark.query))
    query, gallery = found.rows(range(queries)), found.rows(range(queries, len(found)))
    if multi_query is not None:
        count, query = len(query), joined(query, multi_query)
        each = f"the {multi_query} of {count / max(1, len(query)):.1f} vectors each"
        notes.append(f"multi-query: {count} pictures make {len(query)} queries, {each}; costs are of one picture")
    if metric is not None:
        embed_too = "embed training pictures too: dare embed --split train --split query --split gallery"
        training = labelled(embeddings, benchmark, benchmark.train, left_out, embed_too)
        (query, gallery), learnt = mapped([query, gallery], training, metric, scaled=distance == "cosine")
        distance = "euclidean"
    results = tuple(scored(query, gallery, costs, distance, rerank, rule))
    if one_sided := _one_sided(benchmark, query, gallery):
        notes.append(one_sided)
    if metric is not None:
        notes += tested_too(benchmark)
    if left_out:
        kind = "pictures" if all(len(sample.images) == 1 for sample in samples) else "tracklets"
        notes.append(f"{len(left_out)} {kind} were left out: unreadable, or without an embedding")
    known = trained_on(samples, embeddings.seen)
    notes += [*notes_on(results, rerank, distance), *filter(None, [known])]
    return Evaluation(
        benchmark,
        results,
        query,
        gallery,
        distance,
        rule,
        costs,
        tuple(notes),
        multi_query,
        learnt,
        rerank,
        tuple(fusion),
        known,
    )


def percent(share: float) -> str:
    """A share as tables show it: in percent, "–" where it is unknown."""
    return "–" if math.isnan(share) else f"{100 * share:.1f}"


def _one_sided(benchmark: Benchmark, query: Embeddings, gallery: Embeddings) -> str:
    cameras = [*query.cameras.tolist(), *gallery.cameras.tolist()] if benchmark.cameras_known else None
    return says_nothing([*query.people.tolist(), *gallery.people.tolist()], cameras)
