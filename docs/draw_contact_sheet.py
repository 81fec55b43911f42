"""Draws docs/images/synthetic.png, the picture in docs/synthetic.md."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dare.synthetic import SIZES, draw_picture
from dare.synthetic.look import draw_look
from dare.synthetic.scene import draw_background

TINY, SEED, COLUMNS = SIZES["tiny"], 1, 12
CAMERAS = range(1, 7)

Pixels = NDArray[np.uint8]


def main() -> None:
    people = range(1, TINY.train_people + 1)
    hard = [person for person in people if not draw_look(TINY, SEED, person).easy]
    easy = [person for person in people if draw_look(TINY, SEED, person).easy]
    rows = [
        passing(easy[1]),
        passing(hard[0]),
        [draw_picture(TINY, SEED, person, 5, 1) for person in dressed_like(hard[0], hard)],
        [draw_picture(TINY, SEED, person, CAMERAS[person % 6], 1) for person in people[20 : 20 + COLUMNS]],
        list(oddities()),
    ]
    sheet = np.concatenate([np.concatenate(row, axis=1) for row in rows])
    # Grain does not compress; a palette keeps the file small.
    picture = Image.fromarray(sheet).quantize(160, dither=Image.Dither.NONE)
    picture.save(Path(__file__).parent / "images" / "synthetic.png", optimize=True)


def passing(person: int) -> list[Pixels]:
    """Two frames in each camera."""
    return [draw_picture(TINY, SEED, person, camera, frame) for camera in CAMERAS for frame in (1, 2)]


def dressed_like(person: int, others: list[int]) -> list[int]:
    """The people whose clothes have the most similar colours, the person first."""

    def colours(number: int) -> Pixels:
        look = draw_look(TINY, SEED, number)
        return np.array([look.top.colour, look.bottom.colour])

    return sorted(others, key=lambda other: float(np.abs(colours(other) - colours(person)).sum()))[:COLUMNS]


def oddities() -> Iterator[Pixels]:
    """Three each: occluders, bystanders, junk, backgrounds."""
    occluded = dataclasses.replace(TINY, occluder_rate=1.0)
    accompanied = dataclasses.replace(TINY, bystander_rate=1.0)
    yield from (draw_picture(occluded, SEED, person, person % 6 + 1, 1) for person in (40, 41, 43))
    yield from (draw_picture(accompanied, SEED, person, person % 6 + 1, 1) for person in (44, 45, 46))
    yield from (draw_picture(TINY, SEED, person, person % 6 + 1, 1, badly_placed=True) for person in (50, 51, 52))
    yield from (draw_background(TINY, SEED, camera, 0) for camera in (1, 3, 4))


if __name__ == "__main__":
    main()
