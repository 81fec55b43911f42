"""Value noise: smooth random patches over a plane, for camouflage, folds of cloth and rough walls."""

import numpy as np
from numpy.typing import NDArray

from dare.synthetic.arrays import Floats

CELLS_X, CELLS_Y, SEEDS, MIXER = (np.uint32(prime) for prime in (374761393, 668265263, 1442695041, 1274126177))


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
