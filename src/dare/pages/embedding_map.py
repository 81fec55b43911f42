"""Embedding maps: vectors of a few people laid out on a plane by t-SNE, to see who is taken for whom."""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dare import missing_extra
from dare.evaluation.evaluate import Evaluation
from dare.pages.charts import Axes

PEOPLE = 12
MOST = 24
"""Pictures of each person at most: more take long and overlap."""

PERPLEXITY = 10.0
"""About half of a person's pictures, so that people are groups with something to see inside."""

FEWEST = 5

COLOURS = 12
"""How many people can be told apart."""

SHAPES = (
    "m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0z",  # circle
    "m-3.1-3.1h6.2v6.2h-6.2z",  # square
    "m0-4.2l4.1 7.2h-8.2z",  # triangle
    "m0-4.6l3.8 4.6l-3.8 4.6l-3.8-4.6z",  # lozenge
    "m0 4.2l4.1-7.2h-8.2z",  # triangle upside down
    "m-1.4-4.2h2.8v2.8h2.8v2.8h-2.8v2.8h-2.8v-2.8h-2.8v-2.8h2.8z",  # cross
    "m-4.4-1.6h8.8v3.2h-8.8z",  # horizontal bar
    "m-1.6-4.4h3.2v8.8h-3.2z",  # vertical bar
)
"""One per camera, as steps from its middle; after these they repeat."""


def shown_rows(
    evaluation: Evaluation, people: int = PEOPLE, most: int = MOST
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of queries and of gallery entries of some people, by person: people are spread evenly over those with a
    valid match, and so are at most `most` pictures of each."""
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
    return np.asarray(rows[0], np.intp), np.asarray(rows[1], np.intp)


def lay_out(vectors: NDArray[np.floating], seed: int = 0) -> NDArray[np.float64]:
    """(N, D) -> (N, 2): near points are likely to be near in the vectors too; far ones need not be far.

    The same places each time on one machine. The start is the vectors' two main directions.

    Args:
        vectors: N at least 5.
        seed: of the random numbers.

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


def embedding_map(
    name: str,
    places: NDArray[np.floating],
    people: Sequence[str],
    cameras: Sequence[str],
    all_cameras: Sequence[str],
    about: str,
) -> str:
    """Points of a plane, one unit equally long both ways.

    Args:
        name: whose vectors they are, as "stage 1".
        places: (N, 2).
        people, cameras: N names each. Colours go by the order in which people come.
        all_cameras: each camera's name once; shapes go by this order.
        about: how the plane was made, for screen readers.
    """
    middle = (places.max(0) + places.min(0)) / 2
    reach = 1.06 * max(1e-9, float(np.ptp(places, axis=0).max())) / 2
    axes = Axes((middle[0] - reach, middle[0] + reach), (middle[1] - reach, middle[1] + reach), 280, 280, 6, 6, 6, 6)
    groups: dict[tuple[str, str], list[str]] = {}
    shapes = {camera: SHAPES[place % len(SHAPES)] for place, camera in enumerate(all_cameras)}
    for (x, y), person, camera in zip(places.tolist(), people, cameras, strict=True):
        mark = f"M{axes.across(x):.1f} {axes.down(y):.1f}{shapes[camera]}"
        groups.setdefault((person, camera), []).append(mark)
    colours = {person: colour(place) for place, person in enumerate(names(people))}
    parts = [
        f'<path class="{colours[person]}" d="{"".join(marks)}">{_title(person, camera)}</path>'
        for (person, camera), marks in groups.items()
    ]
    described = f"{len(places)} vectors of {len(colours)} people at {name}, {about}"
    return axes.drawing(described, parts)


def names(labels: Sequence[str]) -> list[str]:
    """Each label once, in the order in which they come."""
    return list(dict.fromkeys(labels))


def colour(place: int) -> str:
    """The class of the person at a place in the list of names, counted from 0."""
    return f"p{place % COLOURS + 1}"


def sample(kind: str, place: int) -> str:
    """A mark for a legend: of a "person" (a disc of its colour) or a "camera" (its shape)."""
    shape = SHAPES[0] if kind == "person" else SHAPES[place % len(SHAPES)]
    classes = colour(place) if kind == "person" else "plain"
    return (
        f'<svg class="sample" viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">'
        f'<path class="{classes}" d="M6 6{shape}"/></svg>'
    )


def _spread(count: int, wanted: int) -> NDArray[np.intp]:
    """At most `wanted` places from 0 to count - 1, evenly spread."""
    return np.linspace(0, count - 1, min(count, wanted)).astype(np.intp)


def _t_sne() -> Any:
    try:
        from sklearn.manifold import TSNE
    except ModuleNotFoundError as error:
        if extra := missing_extra(error):
            raise ImportError(f"embedding maps need scikit-learn; {extra}") from error
        raise
    return TSNE


def _title(person: str, camera: str) -> str:
    return f"<title>{escape(f'{person}, {camera}' if camera else person)}</title>"
