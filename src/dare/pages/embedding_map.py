"""Vectors of a few people laid out on a plane by t-SNE, to see who is taken for whom."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dare import missing_extra
from dare.evaluation.evaluate import Evaluation

PEOPLE = 12
MOST = 24
"""So many pictures of each person at most: what is beyond takes long and overlaps."""

PERPLEXITY = 10.0
"""About half of a person's pictures, so that people are groups with something to see inside."""

FEWEST = 5


@dataclass(frozen=True, slots=True)
class ShownRows:
    """Whose vectors are laid out.

    Attributes:
        query, gallery: rows of an evaluation's queries and gallery, by person.
    """

    query: NDArray[np.intp]
    gallery: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.query) + len(self.gallery)


def shown_rows(evaluation: Evaluation, people: int = PEOPLE, most: int = MOST) -> ShownRows:
    """A few people, spread evenly over those that have a valid match, with all their pictures, or as many of them,
    spread evenly."""
    query, gallery = evaluation.query, evaluation.gallery
    known = np.unique(query.people[evaluation.results[0].scores.matched])
    chosen = known[_spread(len(known), people)]
    rows: tuple[list[int], list[int]] = ([], [])
    twice = np.isin(gallery.ids, query.ids)  # as in MARS, where queries are entries too
    for person in chosen:
        own = [(0, row) for row in np.flatnonzero(query.people == person)]
        own += [(1, row) for row in np.flatnonzero((gallery.people == person) & ~twice)]
        for place in _spread(len(own), most):
            side, row = own[place]
            rows[side].append(int(row))
    return ShownRows(np.asarray(rows[0], np.intp), np.asarray(rows[1], np.intp))


def lay_out(vectors: NDArray[np.floating], seed: int = 0) -> NDArray[np.float64]:
    """(N, D) -> (N, 2): near points are likely to be near in the vectors too; far ones need not be far.

    The same places each time on one machine. The start is the vectors' two main directions.

    Args:
        vectors: N at least 5.
        seed: of what is drawn by chance.

    Raises:
        ImportError: without scikit-learn; says what to install.
        ValueError: too few vectors, or all of them equal.

    Source: van der Maaten & Hinton, "Visualizing Data using t-SNE", 2008; scikit-learn's, the exact method.
    """
    if len(vectors) < FEWEST:
        raise ValueError(f"expected at least {FEWEST} vectors to lay out, got {len(vectors)}")
    t_sne = _t_sne()
    vectors = np.asarray(vectors, np.float64)
    vectors = vectors - vectors[0]
    largest = np.abs(vectors).max(initial=0)
    if not largest:
        raise ValueError("all vectors are equal, so there is nothing to lay out")
    vectors /= largest  # the layout depends on no unit, but squares of tiny values would vanish
    found: NDArray[np.float32] = t_sne(
        2,
        perplexity=min(PERPLEXITY, (len(vectors) - 1) / 3),
        init="pca" if vectors.shape[1] > 1 else "random",
        random_state=seed,
        method="exact",  # the approximate one adds in an order that depends on the number of threads
    ).fit_transform(vectors)
    return found.astype(np.float64)


def check_drawable() -> None:
    """Raise the ImportError of `lay_out` before any work is done."""
    _t_sne()


def neighbours_agree(places: NDArray[np.floating], people: NDArray[np.integer], cameras: NDArray[np.integer]) -> float:
    """The share of the points whose nearest point of another camera shows the same person; NaN if there is one camera.

    Where each picture has a camera of its own, that is the nearest other point.
    """
    distances = np.square(places[:, None] - places[None]).sum(2)
    distances[cameras[:, None] == cameras] = np.inf
    known = np.isfinite(distances).any(1)
    return float((people[distances.argmin(1)] == people)[known].mean()) if known.any() else float("nan")


def _spread(count: int, wanted: int) -> NDArray[np.intp]:
    """At most so many places out of 0 to count - 1, evenly."""
    return np.linspace(0, count - 1, min(count, wanted)).astype(np.intp)


def _t_sne() -> Any:
    try:
        from sklearn.manifold import TSNE
    except ModuleNotFoundError as error:
        if extra := missing_extra(error):
            raise ImportError(f"embedding maps need scikit-learn; {extra}") from error
        raise
    return TSNE
