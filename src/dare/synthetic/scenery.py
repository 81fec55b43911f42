"""The places that the six cameras look at: ground, wall, clutter and poles, much larger than a box.

Every box shows a random piece, so the background tells which camera it was and nothing about the person.
"""

import math

import numpy as np
from numpy.random import Generator

from dare.synthetic.arrays import Floats, Mask
from dare.synthetic.colours import Colour
from dare.synthetic.noise import value_noise

SIDE = 320
"""Pixels along each side of a place."""


def draw_scenery(camera: int, ground: Colour, wall: Colour, horizon: float, contrast: float, rng: Generator) -> Floats:
    """A place as (SIDE, SIDE, 3) levels from 0 to 255.

    Args:
        camera: from 0; decides about the paving.
        horizon: where the ground begins, as a share of the height from the top.
        contrast: of the whole, around its mean colour.
    """
    line = SIDE * horizon
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    on_ground = rows > line
    place = np.where(on_ground[:, :, None], np.array(ground, np.float32), np.array(wall, np.float32))
    rough = sum(
        share * value_noise(columns / size, rows / size, 9 * camera + layer)
        for layer, (size, share) in enumerate(((24, 0.5), (7, 0.3), (2.5, 0.2)), start=1)
    )
    place *= (0.78 + 0.44 * np.asarray(rough))[:, :, None]
    place[_joints(camera, line, rows, columns) & on_ground] *= 0.79
    for _ in range(26):
        _add_clutter(place, line, rng)
    for _ in range(10):
        _add_pole(place, line, rng)
    mean = np.float32(place.mean(dtype=np.float64))
    result: Floats = np.clip(mean + (place - mean) * np.float32(contrast), 0, 255)
    result.setflags(write=False)
    return result


def _joints(camera: int, line: float, rows: Floats, columns: Floats) -> Mask:
    """The lines between paving stones: receding, slanted or none."""
    if camera % 3 == 0:
        depth = np.maximum(rows - line, 0) + 8
        # One logarithm per row, and rounded: its last bit differs between machines.
        logarithms = [round(math.log(max(row - line, 0) + 8), 4) for row in range(SIDE)]
        across = np.array([(9 * value) % 1 < 0.09 for value in logarithms])[:, None]
        towards = _fraction((columns - SIDE / 2) / depth * 3.5) < 0.06
        return across | towards
    if camera % 3 == 1:
        slanted: Mask = _fraction((columns + rows * 0.4) / 38) < 0.05
        return slanted
    return np.zeros(rows.shape, np.bool_)


def _fraction(values: Floats) -> Floats:
    result: Floats = values - np.floor(values)
    return result


def _add_clutter(place: Floats, line: float, rng: Generator) -> None:
    """A window, poster or parked thing near the horizon."""
    left, width = int(rng.integers(0, SIDE - 10)), int(rng.integers(4, 46))
    height = int(rng.integers(16, 90))
    top = max(0, int(line) - int(rng.integers(-10, 100)))
    grey = rng.uniform(30, 220)
    colour = [min(max(grey + rng.normal(0, 24), 10), 245) for _ in range(3)]
    patch = place[top : top + height, left : left + width]
    patch *= 0.35
    patch += np.array(colour, np.float32) * np.float32(0.65)


def _add_pole(place: Floats, line: float, rng: Generator) -> None:
    left, width = int(rng.integers(0, SIDE - 4)), int(rng.integers(2, 6))
    foot = int(line) + int(rng.integers(10, 120))
    place[int(0.3 * line) : foot, left : left + width] *= np.float32(rng.uniform(0.45, 1.3))
