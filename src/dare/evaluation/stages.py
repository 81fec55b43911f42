"""One embedding of a network after the other, scored: every stage, and the fusion."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dare.anytime.costs import ExitCosts
from dare.retrieval.distances import normalised
from dare.retrieval.embeddings import Embeddings
from dare.retrieval.reranking import Reranking, score_reranked
from dare.retrieval.scoring import Rule, Scores, score_vectors

Distance = Literal["euclidean", "cosine"]


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


def scored(
    query: Embeddings,
    gallery: Embeddings,
    costs: ExitCosts | None,
    distance: Distance,
    rerank: Reranking | None,
    rule: Rule,
) -> list[StageResult]:
    """All embeddings of a network, by depth, the fusion last; arguments as of `evaluate`."""

    def score(name: str, q: NDArray[np.float32], g: NDArray[np.float32]) -> Scores:
        try:
            vectors = (normalised(q), normalised(g)) if distance == "cosine" else (q, g)
            if rerank:
                return score_reranked(*vectors, query, gallery, rerank=rerank, rule=rule)
            return score_vectors(*vectors, query, gallery, rule=rule)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error

    count, results = len(query.stages), []
    macs: Sequence[int | None] = costs.macs if costs else [None] * max(1, count)
    names = [*query.names, *([] if query.fused is None else ["fusion"])]
    for number, (name, (q, g), own) in enumerate(zip(names, query.against(gallery), gallery.vectors(), strict=True)):
        scores, own_gallery = score(name, q, g), None
        if query.space == "shared":
            own_gallery = scores if g is own else score(name, q, own)
        is_exit = query.fused is None or number != count - 1  # the last stage is part of the fusion alone
        results.append(StageResult(name, is_exit, macs[min(number, len(macs) - 1)], scores, own_gallery))
    return results


def notes_on(results: Sequence[StageResult], rerank: Reranking | None, distance: Distance) -> list[str]:
    """What a reader of scores should know: queries without a match, ties, an unusual distance."""
    notes, matched = [], results[0].scores.matched
    if rerank and rerank.variant == "fast-reid" and distance == "euclidean":
        notes.append("variant fast-reid is meant for vectors of length 1, as cosine distance makes them")
    if unmatched := int((~matched).sum()):
        notes.append(f"{unmatched} of {len(matched)} queries have no valid match in the gallery; no mean counts them")
    return notes + [
        f"{result.name}: {result.scores.ties} queries have their first match exactly as far as a wrong entry; their "
        "rank depends on the gallery's order"
        for result in results
        if result.scores.ties
    ]
