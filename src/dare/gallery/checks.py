"""What may not come into a gallery, nor be searched for: vectors of another shape, or that are no numbers."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dare.gallery.entry import Entry
from dare.gallery.errors import MismatchError
from dare.gallery.store import Gallery
from dare.retrieval.distances import entry_exit, entry_sizes

LONGEST_SQUARE = float(np.finfo(np.float32).max) / 16
"""Of a vector's squared length: sums of squares and products stay finite below."""


def check_vectors(
    gallery: Gallery, vectors: Sequence[NDArray[np.floating]], entries: Sequence[Entry]
) -> dict[int, NDArray[np.float32]]:
    """What a gallery may store: exit -> (N, D) float32.

    Raises:
        MismatchError: other numbers of exits, entries or dimensions than the gallery has, NaN or infinity.
        ValueError: one id twice.
    """
    exits = entry_sizes(gallery.space, gallery.dimensions)
    if len(vectors) != len(exits):
        kept = f"{len(exits)} exits" if gallery.space == "own" else "the last exit alone, whose space all exits share"
        raise MismatchError(f"the gallery holds vectors of {kept}, got {len(vectors)}")
    arrays = {exit: check_exit(gallery, exit, rows) for exit, rows in zip(exits, vectors, strict=True)}
    for exit, rows in arrays.items():
        if len(rows) != len(entries):
            raise MismatchError(f"expected one vector per entry at exit {exit}, got {len(rows)} for {len(entries)}")
    seen: set[str] = set()
    for entry in entries:
        if entry.id in seen:
            raise ValueError(f"two entries of one call have the id {entry.id}")
        seen.add(entry.id)
    return arrays


def check_exit(gallery: Gallery, exit: int, vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Vectors (N, D) of one exit, as the gallery compares them."""
    kept_exit(gallery, exit)  # raises where there is no such exit
    array = np.asarray(vectors)
    if array.dtype.kind not in "fiu" or isinstance(vectors, np.ma.MaskedArray):
        kind = "a masked array" if isinstance(vectors, np.ma.MaskedArray) else str(array.dtype)
        raise MismatchError(f"expected vectors of real numbers at exit {exit}, got {kind}")
    if array.ndim != 2 or array.shape[1] != gallery.dimensions[exit]:
        raise MismatchError(
            f"expected vectors (N, {gallery.dimensions[exit]}) at exit {exit}, got shape {array.shape}; "
            "they are of another network"
        )
    with np.errstate(over="ignore"):
        rounded = np.ascontiguousarray(array, np.float32)
    with np.errstate(over="ignore"):
        squares = np.einsum("nd,nd->n", rounded, rounded)
    unusable = ~(squares < LONGEST_SQUARE) | (squares == 0)
    if unusable.any():
        row = int(unusable.argmax())
        finite = np.isfinite(array[row]).all()
        length = "is zero, or nearly" if squares[row] == 0 else "is too long"
        problem = length if finite else "contains NaN or infinity"
        raise MismatchError(f"vector {row} of exit {exit} {problem}; check the pictures and the network")
    return rounded


def kept_exit(gallery: Gallery, exit: int) -> int:
    """The exit of the entries' vectors that an exit's vectors are compared with.

    Raises:
        ValueError: no such exit.
    """
    if not 0 <= exit < len(gallery.dimensions):
        raise ValueError(f"the gallery's exits are 0 to {len(gallery.dimensions) - 1}, got {exit}")
    return entry_exit(gallery.space, exit, len(gallery.dimensions))
