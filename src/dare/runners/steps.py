"""A walk through a network that is given as steps, whatever engine runs them: when to stop, who goes on, the fusion."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dare.images.reading import Preparation
from dare.runners.runner import Walk, row_numbers

SLICES = (4, 3, 2, 1)
"""Batch sizes that engines compile for; larger batches are put together from them. More at once is hardly faster on a
CPU, and each size costs memory for packed weights."""

Vectors = NDArray[np.float32]
Stop = Callable[[], bool]


class Steps(Protocol):
    """What an engine does with one batch; its feature maps are of a kind of its own.

    Attributes:
        tapped: of each step, whether it gives vectors.
        fusion: (S,), the weights of the tapped steps' vectors in the fused one, or None.
        unit: whether vectors have length 1, the fused one too.
    """

    @property
    def tapped(self) -> Sequence[bool]: ...

    @property
    def fusion(self) -> NDArray[np.float32] | None: ...

    @property
    def unit(self) -> bool: ...

    def run(self, step: int, features: Any, stop: Stop | None) -> tuple[Any, Vectors | None] | None:
        """Feature maps (images at step 0) -> the next ones and (B, D) of a tapped step; None if `stop` said True.

        Feature maps that were given are used up: the next call may overwrite them. Images stay as they are.
        """
        ...

    def keep(self, features: Any, rows: Sequence[int]) -> Any:
        """These rows of the batch, in the order given; what is given may be overwritten."""
        ...


class StepWalk:
    """`Walk` through steps.

    Args:
        features: the images, as the engine takes them.

    Attributes:
        vectors: (B, D) of every tapped stage behind it.
    """

    def __init__(self, steps: Steps, features: Any) -> None:
        self._steps, self._features, self._at = steps, features, 0
        self.vectors: list[Vectors] = []

    def exit(self, stop: Stop | None = None) -> Vectors | None:
        """As `Walk.exit`."""
        while self._at < len(self._steps.tapped):
            found = self._steps.run(self._at, self._features, stop)
            if found is None:
                self._at = len(self._steps.tapped)
                return None
            self._features, vectors = found
            self._at += 1
            if vectors is not None:
                self.vectors.append(vectors)
                return self._fused() if self._is_last() and self._steps.fusion is not None else vectors
        return None

    def embed(self) -> tuple[list[Vectors], Vectors | None]:
        """As `Runner.embed`."""
        fused = None
        while (vectors := self.exit()) is not None:
            fused = vectors
        return self.vectors, None if self._steps.fusion is None else fused

    def keep(self, rows: Sequence[int]) -> None:
        """As `Walk.keep`."""
        rows = row_numbers(rows)
        if self._at == 0:
            self._features = self._features[rows]  # pictures are the caller's
        elif not self._is_last():
            self._features = self._steps.keep(self._features, rows)
        self.vectors = [vectors[rows] for vectors in self.vectors]

    def _is_last(self) -> bool:
        return self._at == len(self._steps.tapped)

    def _fused(self) -> Vectors:
        weights = self._steps.fusion
        assert weights is not None
        total: Vectors = weights[0] * self.vectors[0]
        for weight, vectors in zip(weights[1:], self.vectors[1:], strict=True):
            total += weight * vectors
        if self._steps.unit:
            total /= np.linalg.norm(total, axis=1, keepdims=True)
        return total


def exits(walk: Walk, stop: Stop | None) -> Iterator[Vectors]:
    """As `Runner.exits`."""
    while (vectors := walk.exit(stop)) is not None:
        yield vectors


def as_input(images: NDArray[np.float32], preparation: Preparation) -> NDArray[np.float32]:
    """Images of the network's size; the caller's array is only looked at: a walk that shrinks must not overwrite it."""
    height, width = preparation.height, preparation.width
    images = np.ascontiguousarray(images, np.float32).view()
    if images.ndim != 4 or images.shape[1:] != (3, height, width):
        raise ValueError(
            f"expected images (B, 3, {height}, {width}), got shape {tuple(images.shape)}; the network takes one size, "
            "prepare them for it"
        )
    images.flags.writeable = False
    return images


def to_front(features: Any, rows: Sequence[int]) -> Any:
    """These rows, those that stay moved to the front and the rest cut off: only what changes its place is copied.

    Args:
        features: an array or tensor whose first axis is the batch; overwritten where rows rise.
    """
    rows = list(rows)
    if any(row < place for place, row in enumerate(rows)) or sorted(set(rows)) != rows:
        return features[rows]
    for place, row in enumerate(rows):
        if row != place:
            features[place] = features[row]
    return features[: len(rows)]


def slices(batch: int, frames: int = 1) -> list[int]:
    """7 -> [4, 3]; of an empty batch [0].

    Args:
        frames: pictures that stay together.
    """
    sizes, left = [], batch
    for size in SLICES:
        sizes += [size * frames] * (left // (size * frames))
        left %= size * frames
    return [*sizes, left] if left or not sizes else sizes
