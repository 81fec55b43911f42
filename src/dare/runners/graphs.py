"""What an engine says of a file that holds a network of others, and what it does with it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class ForeignError(ValueError):
    """A network of others that cannot be used as it is; says which file, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Port:
    """What goes into a graph or comes out; sides of `shape` that may be any are None."""

    name: str
    kind: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.kind}[{', '.join('any' if side is None else str(side) for side in self.shape)}]"


@dataclass(frozen=True, slots=True)
class Work:
    """What a graph does for one image.

    Attributes:
        macs: multiply-adds of its convolutions and matrix products.
        uncounted: operations in it that hold products too, but are not counted.
        quantised: whether it computes in whole numbers.
    """

    macs: int
    uncounted: frozenset[str]
    quantised: bool


class Graph(Protocol):
    """A network's file, opened by an engine.

    Attributes:
        family: a name in `FAMILIES` if the file says so beyond doubt.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    family: str | None

    def work(self, shape: tuple[int, ...]) -> Work:
        """What it does for an input (1, 3, H, W)."""
        ...

    def start(self, shape: tuple[int, ...], precision: str) -> str:
        """Make ready for inputs of this shape, whatever their number; engine, precision and threads in words."""
        ...

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """What comes out, any number of threads at a time."""
        ...


def unreadable(file: Path, engine: str, reason: object) -> ForeignError:
    """The error for a file that the engine cannot open or run; the last line of what it says is the cause."""
    lines = str(reason).strip().splitlines() or [type(reason).__name__]
    return ForeignError(
        f"{file} is damaged, or not for this version of {engine} ({lines[-1].strip()}); export it again, or take "
        "another version"
    )
