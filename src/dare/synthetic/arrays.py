"""Names for the two kinds of arrays that drawing works with."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
"""float32 throughout; type checkers lose the width wherever a Python number joins in."""

Mask = NDArray[np.bool_]
"""True where something is."""
