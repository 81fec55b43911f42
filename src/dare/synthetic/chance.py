"""Random numbers: a stream for every purpose, so that any picture can be drawn by itself; and smooth noise.

Streams are numpy's PCG64, which gives the same numbers on every machine.
"""

import bisect
import enum
import itertools
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from dare.synthetic.raster import Floats

T = TypeVar("T")

CELLS_X, CELLS_Y, SEEDS, MIXER = (np.uint32(prime) for prime in (374761393, 668265263, 1442695041, 1274126177))


class Purpose(enum.IntEnum):
    """What a stream is for; the number is part of the stream's key."""

    CAMERA = 1
    ITINERARY = 2
    LOOK = 3
    PASSAGE = 4
    FRAME = 5
    JUNK = 6
    BACKGROUND_BOX = 7


def stream(seed: int, purpose: Purpose, *key: int) -> Generator:
    """The random numbers for one purpose and, say, one person, camera and frame."""
    return np.random.default_rng([seed, int(purpose), *key])


def pick(rng: Generator, shares: Mapping[T, float]) -> T:
    """One of the keys, each as often as its share says; shares add up to 1."""
    levels = list(itertools.accumulate(shares.values()))
    chosen = bisect.bisect_right(levels, rng.random())
    return list(shares)[min(chosen, len(levels) - 1)]  # rounding may leave a crumb above the last level


def happens(rng: Generator, rate: float) -> bool:
    """True as often as the rate, from 0 to 1, says."""
    return rng.random() < rate


def side(rng: Generator) -> int:
    """-1 or 1."""
    return 1 if rng.random() < 0.5 else -1


def grain(rng: Generator, shape: tuple[int, ...]) -> Floats:
    """Noise of mean 0 and standard deviation 1: the number of ones among 64 random bits, standardised.

    A binomial comes from whole numbers only, so unlike a normal draw it cannot differ between machines.
    """
    words = rng.bit_generator.random_raw(int(np.prod(shape)))
    ones = np.bitwise_count(words).astype(np.float32)
    return ((ones - 32) / 4).reshape(shape)


def value_noise(x: Floats, y: Floats, seed: int) -> Floats:
    """Random values at whole coordinates, smoothly interpolated between them; from 0 to 1, shape of x."""
    cell_x, cell_y = np.floor(x), np.floor(y)
    right, down = _smooth(x - cell_x), _smooth(y - cell_y)
    columns = cell_x.astype(np.int32).astype(np.uint32) * CELLS_X
    rows = cell_y.astype(np.int32).astype(np.uint32) * CELLS_Y + np.uint32(seed * int(SEEDS) & 0xFFFFFFFF)
    top = _between(_hashed(columns + rows), _hashed(columns + CELLS_X + rows), right)
    rows = rows + CELLS_Y
    bottom = _between(_hashed(columns + rows), _hashed(columns + CELLS_X + rows), right)
    return _between(top, bottom, down)


def _smooth(t: Floats) -> Floats:
    result: Floats = t * t * (3 - 2 * t)
    return result


def _between(start: Floats, end: Floats, share: Floats) -> Floats:
    return start + (end - start) * share


def _hashed(cells: NDArray[np.uint32]) -> Floats:
    """Whole numbers scattered over 0 to 1; products wrap at 32 bits on purpose."""
    mixed = (cells ^ (cells >> 13)) * MIXER
    result: Floats = ((mixed ^ (mixed >> 16)) & 0xFFFF).astype(np.float32) * np.float32(1 / 65535)
    return result
