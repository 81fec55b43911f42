"""Picture sizes that grow while a network trains: most is learnt from small pictures, at a quarter of the price."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dare.images.reading import Preparation

Sizes = tuple[tuple[int, int, int], ...]
"""Height, width and for how many iterations, one after the other."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Iterations on pictures of one size.

    Attributes:
        preparation: with the size.
        stop: the iteration before which it ends, counted from 0.
    """

    preparation: Preparation
    stop: int


def parse_sizes(text: str) -> Sizes:
    """`128x64:2500,256x128:700` as height, width and iterations; "none" is no sizes."""
    if text == "none":
        return ()
    found = [re.fullmatch(r"(\d+)x(\d+):(\d+)", part.strip()) for part in text.split(",")]
    if not all(found):
        raise ValueError(
            f"expected sizes as height x width : iterations, such as 128x64:2500,256x128:700, or none; got {text!r}"
        )
    return tuple((int(match[1]), int(match[2]), int(match[3])) for match in found if match)


def check_sizes(sizes: Sizes, preparation: Preparation, iterations: int) -> None:
    """That they add up to the iterations and end at the network's size.

    Raises:
        ValueError: they do not, or a size is too small or has no iterations.
    """
    if not sizes:
        return
    if any(len(size) != 3 or size[2] < 1 for size in sizes):
        raise ValueError(f"every size needs height, width and at least one iteration, got {sizes}")
    if (total := sum(count for *_, count in sizes)) != iterations:
        raise ValueError(f"the sizes' iterations must add up to {iterations}, got {total}; change one of both")
    if sizes[-1][:2] != (preparation.height, preparation.width):
        raise ValueError(
            f"the last size is the network's, {preparation.size}, got {sizes[-1][0]}x{sizes[-1][1]}; change one of both"
        )
    stretches(sizes, preparation, iterations)


def stretches(sizes: Sizes, preparation: Preparation, iterations: int) -> tuple[Stretch, ...]:
    """The parts of a training, one per size; without sizes, one at the network's own."""
    if not sizes:
        return (Stretch(preparation, iterations),)
    parts, stop = [], 0
    for height, width, count in sizes:
        stop += count
        parts.append(Stretch(replace(preparation, height=height, width=width), stop))
    return tuple(parts)


def rescaled(sizes: Sequence[tuple[int, int, int]], iterations: int) -> Sizes:
    """The same sizes in proportion over other iterations, at least one each."""
    if iterations < len(sizes):
        raise ValueError(f"{len(sizes)} sizes need at least as many iterations, got {iterations}; give other sizes")
    total, done, stop, parts = sum(count for *_, count in sizes), 0, 0, []
    for number, (height, width, count) in enumerate(sizes, start=1):
        stop += count
        until = max(done + 1, min(round(stop * iterations / total), iterations - (len(sizes) - number)))
        parts.append((height, width, until - done))
        done = until
    return tuple(parts)
