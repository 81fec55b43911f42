"""Vectors laid out on a plane: a colour per person, a shape per camera."""

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from dare.pages.charts import Axes

COLOURS = 12
"""So many people can be told apart."""

SHAPES = (
    "m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0z",  # circle
    "m-3.1-3.1h6.2v6.2h-6.2z",  # square
    "m0-4.2l4.1 7.2h-8.2z",  # triangle
    "m0-4.6l3.8 4.6l-3.8 4.6l-3.8-4.6z",  # lozenge
    "m0 4.2l4.1-7.2h-8.2z",  # triangle on its head
    "m-1.4-4.2h2.8v2.8h2.8v2.8h-2.8v2.8h-2.8v-2.8h-2.8v-2.8h2.8z",  # cross
    "m-4.4-1.6h8.8v3.2h-8.8z",  # lying bar
    "m-1.6-4.4h3.2v8.8h-3.2z",  # standing bar
)
"""One per camera, as steps from its middle; after these they come again."""


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
        people, cameras: N names each. Colours are given in the order in which `names` lists the people.
        all_cameras: each camera's name once; shapes are given in this order.
        about: how the plane was made, for those who do not see it.
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


def _title(person: str, camera: str) -> str:
    return f"<title>{escape(f'{person}, {camera}' if camera else person)}</title>"
