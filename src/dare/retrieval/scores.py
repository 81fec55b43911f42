"""One score per query, and their means: mAP, CMC, mINP."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Rule = Literal["official", "step"]


@dataclass(frozen=True, slots=True)
class Scores:
    """One score per query; means are over the queries that have a valid match, NaN if none has.

    Attributes:
        average_precision: (Q,), NaN where a query has no valid match.
        first_match: (Q,), 0-based rank of the nearest right entry among the valid ones; -1 without a match.
        inverse_negative_penalty: (Q,), matches / (1 + rank of the last one), NaN without a match
            (Ye et al., "Deep Learning for Person Re-identification: A Survey and Outlook", 2021).
        tied: (Q,), whether a wrong entry lies exactly as far as the first match.
        rule: how average precision was computed.
    """

    average_precision: NDArray[np.float64]
    first_match: NDArray[np.int64]
    inverse_negative_penalty: NDArray[np.float64]
    tied: NDArray[np.bool_]
    rule: Rule = "official"

    @property
    def matched(self) -> NDArray[np.bool_]:
        """(Q,), the queries that have a valid match."""
        return self.first_match >= 0

    @property
    def ties(self) -> int:
        """Queries whose first match ties with a wrong entry: their rank depends on the gallery's order."""
        return int(self.tied.sum())

    @property
    def mean_average_precision(self) -> float:
        """mAP, from 0 to 1."""
        return _mean(self.average_precision[self.matched])

    @property
    def mean_inverse_negative_penalty(self) -> float:
        """mINP, from 0 to 1."""
        return _mean(self.inverse_negative_penalty[self.matched])

    def cmc(self, rank: int) -> float:
        """Share of queries with a match among the first so many valid entries; `cmc(1)` is rank-1."""
        if rank < 1:
            raise ValueError(f"ranks are counted from 1, got {rank}")
        return _mean((self.first_match[self.matched] < rank).astype(np.float64))

    def cmc_curve(self, ranks: int) -> NDArray[np.float64]:
        """(ranks,), `cmc(1)` to `cmc(ranks)`."""
        if ranks < 1:
            raise ValueError(f"a curve has at least one rank, got {ranks}")
        first = self.first_match[self.matched]
        if not len(first):
            return np.full(ranks, math.nan)
        shares: NDArray[np.float64] = np.bincount(first[first < ranks], minlength=ranks).cumsum() / len(first)
        return shares

    @staticmethod
    def pick(per_exit: Sequence["Scores"], exits: Sequence[int] | NDArray[np.integer]) -> "Scores":
        """The scores of a stream in which query i left at `exits[i]`, counted from 0."""
        chosen = np.asarray(exits, None if len(exits) else np.intp)
        rows = np.arange(len(per_exit[0].first_match))
        if chosen.shape != rows.shape or (len(chosen) and not 0 <= chosen.min() <= chosen.max() < len(per_exit)):
            raise ValueError(
                f"expected an exit from 0 to {len(per_exit) - 1} for each of {len(rows)} queries, got {chosen!r:.80}"
            )

        def gather(name: str) -> Any:
            return np.stack([getattr(scores, name) for scores in per_exit])[chosen, rows]

        return Scores(
            gather("average_precision"),
            gather("first_match"),
            gather("inverse_negative_penalty"),
            gather("tied"),
            per_exit[0].rule,
        )


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else math.nan
