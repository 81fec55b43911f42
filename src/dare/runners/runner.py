"""A network ready to run: what it is, and how a batch walks through it, one exit after the other."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dare.anytime.costs import ExitCosts
from dare.images.preparation import Preparation
from dare.retrieval.distances import Space

Vectors = NDArray[np.float32]
Stop = Callable[[], bool]

SLICES = (4, 3, 2, 1)
"""Batch sizes that engines compile for; larger batches are put together from them. More at once is hardly faster on a
CPU, and each size costs memory for packed weights."""


class Walk(Protocol):
    """A batch on its way through a network, exit by exit, which leaves behind those who need not go on."""

    def exit(self, stop: Stop | None = None) -> Vectors | None:
        """(B, D) at the next exit; None behind the last one, or if `stop` said True on the way."""
        ...

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows of the batch only, in the order given. Numbers, no mask."""
        ...

    def finish(self) -> tuple[list[Vectors], Vectors | None]:
        """Go to the end: (B, D) of every tapped stage, and the fused (B, D) if there is fusion."""
        ...


@dataclass(frozen=True)
class Runner:
    """A network ready to run.

    Attributes:
        exit_names: what to call each exit, "stage 1" to "fusion".
        stage_names: the tapped stages, of which the fused vector is the weighted sum.
        preparation: how images become its input.
        costs: multiply-adds per exit.
        digest: of the checkpoint; "" for a network that was never saved.
        precision: what it computes in: "fp32", "bf16" or "int8".
        space: "shared" if the vectors of all exits lie in one space, that of the last; "own" if they don't.
        description: engine, precision, threads and device as the network was opened, to print beside measured times.
        begin: the engine: images (B, 3, H, W) -> a walk, which computes nothing before it is asked to.
        together: images that `embed` takes through the whole network before the next ones, so that their feature maps
            stay in the cache; None takes all.
        close: ends the processes of a runner that has some.
        process: where it was opened. A copy of the process that the system makes (`os.fork`) lacks the threads that
            engines compute with, and would wait for them for ever.
        fusion: weights of the stages' vectors in the fused one; () without fusion.
        seen: whom it was trained on, as `dare.datasets.seen` says; "" if nothing is known.
    """

    exit_names: tuple[str, ...]
    stage_names: tuple[str, ...]
    preparation: Preparation
    costs: ExitCosts
    digest: str
    precision: str
    space: Space
    description: str
    begin: Callable[[Any], Walk]
    together: int | None = None
    close: Callable[[], None] = lambda: None
    process: int = field(default_factory=os.getpid)
    fusion: tuple[float, ...] = ()
    seen: str = ""

    def walk(self, images: Any) -> Walk:
        """As `exits`, for batches that shrink on the way.

        Raises:
            RuntimeError: this is a fork of the process that opened the network.
        """
        if os.getpid() != self.process:
            raise RuntimeError(
                "the network was opened in another process, of which this one is a fork; open it here, or start "
                "processes by spawn, or take open_runner(..., workers=N)"
            )
        return self.begin(images)

    def exits(self, images: Any, stop: Stop | None = None) -> Iterator[Vectors]:
        """(B, 3, H, W) -> (B, D) per exit, each computed when it is asked for; not to be written to.

        Args:
            images: an array of finite float32; engines of torch take tensors too. A network that takes tracklets gets
                their frames one behind the other, `preparation.frames` of each, and gives a vector for each tracklet.
            stop: asked before each block of a stage; when it says True no further exit comes.
        """
        walk = self.walk(images)
        while (vectors := walk.exit(stop)) is not None:
            yield vectors

    def embed(self, images: Any) -> tuple[list[Vectors], Vectors | None]:
        """(B, 3, H, W) -> (B, D) per tapped stage, and the fused (B, D) if there is fusion."""
        size = self.together or max(1, len(images))
        walks = (self.walk(images[start : start + size]) for start in range(0, max(1, len(images)), size))
        stages, fused = zip(*(walk.finish() for walk in walks), strict=True)
        joined = [np.concatenate(vectors) for vectors in zip(*stages, strict=True)]
        return joined, None if fused[0] is None else np.concatenate(fused)


def to_front(features: Any, rows: list[int]) -> Any:
    """These rows, those that stay moved to the front and the rest cut off: only what changes its place is copied.

    Args:
        features: an array or tensor whose first axis is the batch; overwritten where rows rise.
    """
    if any(row < place for place, row in enumerate(rows)) or sorted(set(rows)) != rows:
        return features[rows]
    for place, row in enumerate(rows):
        if row != place:
            features[place] = features[row]
    return features[: len(rows)]


@dataclass(frozen=True)
class Steps:
    """A network as steps, and the engine that runs them; its feature maps are of a kind of its own.

    Attributes:
        tapped: of each step, whether it gives vectors.
        fusion: (S,), the weights of the tapped steps' vectors in the fused one, or None.
        unit: whether vectors have length 1, the fused one too.
        run: step, its feature maps (images at step 0), `stop` -> the next feature maps, and (B, D) of a tapped step;
            None if `stop` said True. Feature maps that were given are used up: the next call may overwrite them. Images
            stay as they are.
        keep: feature maps, rows of the batch -> the maps of these, in the order given.
    """

    tapped: Sequence[bool]
    fusion: NDArray[np.float32] | None
    unit: bool
    run: Callable[[int, Any, Stop | None], tuple[Any, Vectors | None] | None]
    keep: Callable[[Any, list[int]], Any] = to_front


class StepWalk:
    """`Walk` through steps, whatever engine runs them: when to stop, who goes on, the fusion.

    Args:
        features: the images, as the engine takes them.
    """

    def __init__(self, steps: Steps, features: Any) -> None:
        self.features, self._steps, self._at = features, steps, 0
        self._vectors: list[Vectors] = []

    def exit(self, stop: Stop | None = None) -> Vectors | None:
        """As `Walk.exit`."""
        steps = self._steps
        while self._at < len(steps.tapped):
            found = steps.run(self._at, self.features, stop)
            if found is None:
                self._at = len(steps.tapped)
                return None
            self.features, vectors = found
            self._at += 1
            if vectors is not None:
                self._vectors.append(vectors)
                is_fused = self._at == len(steps.tapped) and steps.fusion is not None
                return self._fused(steps.fusion) if is_fused else vectors
        return None

    def keep(self, rows: Sequence[int]) -> None:
        """As `Walk.keep`."""
        rows = row_numbers(rows)
        if self._at == 0:
            self.features = self.features[rows]  # images are the caller's
        elif self._at < len(self._steps.tapped):
            self.features = self._steps.keep(self.features, rows)
        self._vectors = [vectors[rows] for vectors in self._vectors]

    def finish(self) -> tuple[list[Vectors], Vectors | None]:
        """As `Walk.finish`."""
        last = None
        while (vectors := self.exit()) is not None:
            last = vectors
        return self._vectors, None if self._steps.fusion is None else last

    def _fused(self, weights: Any) -> Vectors:
        total: Vectors = weights[0] * self._vectors[0]
        for weight, vectors in zip(weights[1:], self._vectors[1:], strict=True):
            total += weight * vectors
        if self._steps.unit:
            total /= np.linalg.norm(total, axis=1, keepdims=True)
        return total


def row_numbers(rows: Sequence[int]) -> list[int]:
    """What `Walk.keep` was given; a mask is refused, whose False and True would be rows 0 and 1."""
    numbers = np.asarray(rows)
    if numbers.dtype == bool:
        raise TypeError("keep takes the numbers of the rows that stay, got a mask; give np.flatnonzero(mask)")
    return [int(row) for row in numbers]


def as_input(images: NDArray[np.float32], preparation: Preparation) -> NDArray[np.float32]:
    """Images of the network's size; copied only where they have to be."""
    height, width = preparation.height, preparation.width
    images = np.ascontiguousarray(images, np.float32)
    if images.ndim != 4 or images.shape[1:] != (3, height, width):
        raise ValueError(
            f"expected images (B, 3, {height}, {width}), got shape {tuple(images.shape)}; the network takes one size, "
            "prepare them for it"
        )
    return images


def slices(batch: int, frames: int = 1) -> list[int]:
    """7 -> [4, 3]; of an empty batch [0].

    Args:
        frames: images that stay together.
    """
    sizes, left = [], batch
    for size in SLICES:
        sizes += [size * frames] * (left // (size * frames))
        left %= size * frames
    return [*sizes, left] if left or not sizes else sizes
