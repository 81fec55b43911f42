"""Which vectors compare with which: those of one exit among themselves, or those of all exits with the last one's."""

from collections.abc import Sequence
from typing import Literal, get_args

Space = Literal["own", "shared"]
"""Where a network's vectors lie. `own`: each exit has a space of its own. `shared`: the network was trained so that the
vectors of all exits lie in that of the last one."""


def entry_exit(space: Space, exit: int, exits: int) -> int:
    """The exit whose vectors of gallery entries a query's vector is compared with.

    Args:
        exit: of the query's vector, counted from 0.
        exits: how many there are.
    """
    return exit if space == "own" else exits - 1


def entry_sizes(space: Space, dimensions: Sequence[int]) -> dict[int, int]:
    """Exit -> size of its vectors, for the exits of which a gallery keeps vectors: all, or the last one alone.

    Args:
        dimensions: (E,), of the vectors of each exit.

    Raises:
        ValueError: as `check_space`.
    """
    check_space(space, dimensions)
    kept = (entry_exit(space, exit, len(dimensions)) for exit in range(len(dimensions)))
    return {exit: dimensions[exit] for exit in kept}


def check_space(space: str, dimensions: Sequence[int] = ()) -> None:
    """Raise ValueError for an unknown space, and for exits of different sizes (E,) that are said to share one."""
    if space not in get_args(Space):
        raise ValueError(f"the space of vectors is {' or '.join(get_args(Space))}, got {space!r}")
    if space == "shared" and len(set(dimensions)) > 1:
        raise ValueError(f"exits share a space only if their vectors have one size, got {tuple(dimensions)} dimensions")
