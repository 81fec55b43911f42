"""Distances learnt from labelled vectors in closed form: KISSME and XQDA.

Both look at differences of vectors, x - y: of similar pairs (one person, seen by two cameras) and of dissimilar pairs
(two people, whatever the cameras: a query meets strangers of its own camera too). Directions in which similar pairs
differ much are lighting and pose, and count little in the distance they learn. Neither lists pairs: the covariances of
all of them come from sums over vectors, people and cameras, as XQDA's authors do it.

Sources: Koestinger et al., "Large Scale Metric Learning from Equivalence Constraints", CVPR 2012 (KISSME); Liao et al.,
"Person Re-identification by Local Maximal Occurrence Representation and Metric Learning", CVPR 2015 (XQDA).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dare.datasets.sample import JUNK
from dare.retrieval.distances import check_finite, squared_euclidean
from dare.retrieval.labels import whole_labels
from dare.retrieval.products import block_rows

REGULARISATION = 0.001  # as in XQDA's code, but of the mean variance, so that the unit of the vectors does not matter
UNSEEN = 1e-12  # of the largest variance: what is less is float32's rounding, or nothing
SINGULAR = 1e14  # product of the traces of a covariance and its inverse beyond which that is rounding
SMALLEST = 1e-100  # largest value, and one over the greatest, of vectors whose sums of squares float64 can hold
ROWS = 2048  # of vectors that are float64 at a time


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """A learnt distance: the *squared* Euclidean distance between vectors that `map` made.

    Attributes:
        projection: (D, K), the directions that count.
        weights: (K,), positive: by how much squared differences along each direction count.
        centre: (D,), taken from vectors before they are mapped; distances do not depend on it, their rounding does.
        source: how it was learnt, and from what.
    """

    projection: NDArray[np.float64]
    weights: NDArray[np.float64]
    centre: NDArray[np.float64]
    source: str

    def map(self, vectors: NDArray[np.floating]) -> NDArray[np.float32]:
        """(N, D) -> (N, K): what to give to `score_vectors`, a gallery, or anything else that takes vectors."""
        array, factor = np.asarray(vectors), self.projection * np.sqrt(self.weights)
        if array.ndim != 2 or array.shape[1] != len(factor):
            raise ValueError(f"expected vectors (N, {len(factor)}), as the metric was learnt from, got {array.shape}")
        mapped = np.empty((len(array), factor.shape[1]), np.float32)
        for start in range(0, len(array), ROWS):
            mapped[start : start + ROWS] = (array[start : start + ROWS] - self.centre) @ factor
        return mapped

    def distances(self, query: NDArray[np.floating], gallery: NDArray[np.floating]) -> NDArray[np.float32]:
        """The learnt distances, (Q, D), (G, D) -> (Q, G), never negative: for `score`."""
        q, g = self.map(query), self.map(gallery)
        distances = np.empty((len(q), len(g)), np.float32)
        rows = block_rows(len(g), distances.itemsize)
        for start in range(0, len(q), rows):
            distances[start : start + rows] = squared_euclidean(q[start : start + rows], g)
        return distances


def kissme(
    vectors: NDArray[np.floating],
    people: NDArray[np.integer],
    cameras: NDArray[np.integer],
    *,
    dimensions: int | None = None,
    regularisation: float = REGULARISATION,
) -> Metric:
    """KISSME: M = inv(covariance of similar pairs) - inv(covariance of dissimilar pairs), after PCA.

    M is projected onto the cone of positive semidefinite matrices (negative eigenvalues become 0), as its authors do,
    so that it is a distance.

    Args:
        vectors: (N, D), of people who are not tested. In the IDE baseline of Market-1501 they were scaled to length 1.
        people, cameras: (N,), of their rows, without junk and distractors.
        dimensions: how many principal directions are kept first (200 in the IDE baseline); by default all that vary.
        regularisation: this share of each covariance's mean variance is added to its variance in every direction.

    Directions in which the vectors do not vary (there are some wherever N <= D) are left out; those in which similar
    pairs do not are held by the regularisation.

    Raises:
        ValueError: NaN, labels that don't fit, one person only, no similar pair, similar pairs that don't differ,
            more dimensions than vary, or a covariance that can't be inverted.
    """
    pairs = _differences(vectors, people, cameras, dimensions, regularisation)
    basis = _varying(pairs.scatter, dimensions)
    inside, outside = (_regularised(c, regularisation) for c in pairs.within(basis))
    root, other = _inverse_root(inside), _inverse_root(outside)
    return _metric("KISSME", basis, *np.linalg.eigh(root @ root.T - other @ other.T), pairs)


def xqda(
    vectors: NDArray[np.floating],
    people: NDArray[np.integer],
    cameras: NDArray[np.integer],
    *,
    dimensions: int | None = None,
    regularisation: float = REGULARISATION,
) -> Metric:
    """XQDA: KISSME's difference of inverses in the subspace where people differ more than pictures of one person do.

    The subspace is spanned by the generalised eigenvectors of (dissimilar, similar) with eigenvalues above 1. There M
    is positive definite: eigenvectors make both covariances diagonal, 1 and the eigenvalue l, so M is 1 - 1 / l.

    Args:
        dimensions: how many of the largest eigenvalues to keep at most; by default all above 1.
        regularisation: this share of the mean variance of similar pairs is added to theirs in every direction.

    Other arguments, edges and errors are those of `kissme`. The authors' code takes singular vectors of
    inv(similar) dissimilar, which is not symmetric, where the paper and this function take eigenvectors.
    """
    pairs = _differences(vectors, people, cameras, dimensions, regularisation)
    basis = _varying(pairs.scatter, None)
    inside, outside = pairs.within(basis)
    # Where similar pairs differ as much in every direction, the generalised eigenproblem is an ordinary one.
    root = _inverse_root(_regularised(inside, regularisation))
    values, directions = np.linalg.eigh(root.T @ outside @ root)
    kept = slice(None if dimensions is None else -min(dimensions, len(values)), None)
    weights = 1 - 1 / np.maximum(values, UNSEEN)
    return _metric("XQDA", basis @ root, weights[kept], directions[:, kept], pairs)


def _metric(
    name: str,
    basis: NDArray[np.float64],
    values: NDArray[np.float64],
    directions: NDArray[np.float64],
    pairs: "_Differences",
) -> Metric:
    """A metric of its eigenvalues and eigenvectors (within a basis), those above 0 alone, the largest first."""
    chosen = np.flatnonzero(values > 0)[::-1]
    if not len(chosen):
        raise ValueError(
            "in no direction do different people differ more than pictures of one person; check the labels"
        )
    source = f"{name} in {len(chosen)} dimensions, {pairs.counts}"
    return Metric(basis @ directions[:, chosen], values[chosen], pairs.centre, source)


@dataclass(frozen=True, slots=True)
class _Differences:
    """Second moments of differences x - y of unordered pairs.

    Attributes:
        similar, dissimilar: (D, D), mean of (x - y)(x - y)ᵀ over the pairs of each kind.
        scatter: (D, D), of the vectors around their centre (D,).
        counts: of vectors, people and pairs, in words.
    """

    similar: NDArray[np.float64]
    dissimilar: NDArray[np.float64]
    scatter: NDArray[np.float64]
    centre: NDArray[np.float64]
    counts: str

    def within(self, basis: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The moments of similar and of dissimilar pairs in the coordinates of a basis (D, K), (K, K) each."""
        similar, dissimilar = (basis.T @ moments @ basis for moments in (self.similar, self.dissimilar))
        if not np.trace(similar) > UNSEEN * np.trace(dissimilar):  # a distance would be learnt from rounding
            raise ValueError(
                "the vectors of similar pairs do not differ, so there is nothing to learn from them; check that they "
                "are of different pictures, or take more dimensions"
            )
        return similar, dissimilar


def _differences(
    vectors: NDArray[np.floating],
    people: NDArray[np.integer],
    cameras: NDArray[np.integer],
    dimensions: int | None,
    regularisation: float,
) -> _Differences:
    """From sums alone. Over all pairs within a group of n vectors with sum s, (x - y)(x - y)ᵀ adds up to
    n times the sum of x xᵀ, less s sᵀ. Pairs of one person and two cameras are those within the person less those
    within its cameras; pairs of two people are all pairs less those within people."""
    if dimensions is not None and not (isinstance(dimensions, int | np.integer) and dimensions >= 1):
        raise ValueError(f"dimensions must be a whole number of at least 1, got {dimensions}")
    if not (math.isfinite(regularisation) and regularisation >= 0):
        raise ValueError(f"regularisation is a share of the mean variance, at least 0, got {regularisation}")
    array, person, sight = _checked(vectors, people, cameras)
    of_person, of_sight = np.bincount(person), np.bincount(sight)
    centre = array.mean(0, dtype=np.float64)
    size = array.shape[1]
    scatter, within_people, within_sights = (np.zeros((size, size)) for _ in range(3))
    sums = np.zeros((len(of_sight), size))
    order = np.argsort(sight, kind="stable")
    for start in range(0, len(order), ROWS):
        rows = order[start : start + ROWS]
        block = array[rows] - centre
        scatter += _gram(block, np.ones(len(block)))
        within_people += _gram(block, of_person[person[rows]])
        within_sights += _gram(block, of_sight[sight[rows]])
        groups, starts = np.unique(sight[rows], return_index=True)  # sorted, so each group is one run of rows
        sums[groups] += np.add.reduceat(block, starts, axis=0)
    owner = person[order][np.concatenate([[0], np.cumsum(of_sight)[:-1]])]
    people_sums = np.add.reduceat(sums, np.flatnonzero(np.diff(owner, prepend=-1)), axis=0)
    everything = people_sums.sum(0)
    within_people -= people_sums.T @ people_sums
    within_sights -= sums.T @ sums
    total, same, same_sight = (_pairs(counts) for counts in (np.asarray([len(array)]), of_person, of_sight))
    wanted = same - same_sight
    if not wanted:
        raise ValueError(
            f"there is no similar pair to learn from: none of {len(of_person)} people is seen by two cameras"
        )
    outside = len(array) * scatter - np.outer(everything, everything) - within_people
    counts = f"from {len(array):,} vectors of {len(of_person):,} people ({wanted:,} similar pairs)"
    return _Differences((within_people - within_sights) / wanted, outside / (total - same), scatter, centre, counts)


def _checked(
    vectors: NDArray[np.floating], people: NDArray[np.integer], cameras: NDArray[np.integer]
) -> tuple[NDArray[np.floating], NDArray[np.intp], NDArray[np.intp]]:
    """Vectors (N, D); of each the number of its person, and of its person and camera together, ordered by person."""
    array, labels = np.asarray(vectors), whole_labels("training", people, cameras)
    if array.ndim != 2 or len(array) != len(labels.people) or not array.shape[1]:
        raise ValueError(
            f"expected training vectors (N, D) with a person and a camera each, got shape {array.shape} and "
            f"{len(labels.people)} labels"
        )
    if not np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float64)
    check_finite(array, "training vector")
    extreme = max(float(array.max(initial=0)), -float(array.min(initial=0)))
    if extreme and extreme <= SMALLEST:
        raise ValueError(f"training vectors reach {extreme:.3g}, whose squares float64 can't hold; scale them")
    if junk := np.count_nonzero(labels.people == JUNK):
        raise ValueError(f"{junk} training vectors are junk (person -1); leave them out")
    everyone, person = np.unique(labels.people, return_inverse=True)
    if len(everyone) < 2:
        raise ValueError(f"expected training vectors of at least two people, got {len(array)} of {len(everyone)}")
    every_camera, camera = np.unique(labels.cameras, return_inverse=True)
    _, sight = np.unique(person * len(every_camera) + camera, return_inverse=True)
    return array, person, sight


def _gram(block: NDArray[np.float64], weights: NDArray[Any]) -> NDArray[np.float64]:
    """The weighted sum of x xᵀ over rows. A matrix times itself is half the work, so the weights' roots go in."""
    scaled = block * np.sqrt(weights)[:, None]
    gram: NDArray[np.float64] = scaled.T @ scaled
    return gram


def _pairs(counts: NDArray[np.intp]) -> int:
    """Unordered pairs within groups of these sizes."""
    return int((counts * (counts - 1) // 2).sum())


def _varying(scatter: NDArray[np.float64], dimensions: int | None) -> NDArray[np.float64]:
    """The principal directions in which vectors vary, (D, K), of largest variance first."""
    values, directions = np.linalg.eigh(scatter)
    count = int((values > UNSEEN * values[-1]).sum()) if values[-1] > 0 else 0
    if not count:
        raise ValueError("all training vectors are the same, so there is nothing to learn; check the embeddings")
    if dimensions is not None and dimensions > count:
        raise ValueError(
            f"the training vectors vary in {count} directions only, so {dimensions} can't be kept; keep fewer"
        )
    basis: NDArray[np.float64] = directions[:, ::-1][:, : dimensions or count]
    return basis


def _regularised(covariance: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    size = len(covariance)
    regular: NDArray[np.float64] = covariance + share * np.trace(covariance) / size * np.eye(size)
    return (regular + regular.T) / 2


def _inverse_root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """R of a covariance C, with R Rᵀ = inv(C) and Rᵀ C R = 1."""
    try:
        root: NDArray[np.float64] = np.linalg.inv(np.linalg.cholesky(covariance)).T
    except np.linalg.LinAlgError:
        root = np.full_like(covariance, np.inf)
    if not np.square(root).sum() * np.trace(covariance) < SINGULAR:  # traces of the inverse and of the covariance
        raise ValueError(
            "a covariance of differences cannot be inverted: its pairs do not differ in all directions that vary; "
            "give regularisation above 0 (0.001 is usual), or fewer dimensions"
        )
    return root
