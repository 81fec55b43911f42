"""Chance: a stream of random numbers for every purpose, so that any picture can be drawn alone.

Streams are numpy's PCG64, which gives the same numbers on every machine.
"""

import bisect
import enum
import itertools
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from numpy.random import Generator

from dare.synthetic.arrays import Floats

T = TypeVar("T")


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
