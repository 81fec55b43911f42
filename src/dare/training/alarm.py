"""Notices an embedding whose scale has gone to zero."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

COLLAPSED_SHARE = 0.05
PATIENCE = 200


class TrainingStoppedError(RuntimeError):
    """Training cannot go on usefully; says why, at which iteration, and on which pictures."""


@dataclass(slots=True)
class ScaleAlarm:
    """Watches the median distance within batches, of every exit.

    The loss alone says nothing: a healthy run from random weights can sit near ln 2 for hundreds of
    iterations while its ranking improves; a collapsed one sits there too.

    Attributes:
        start: (E,), the scales of the first batch; empty before it.
        low: (E,), for how many iterations in a row each scale has been under 5 % of its start.
    """

    start: NDArray[np.float64]
    low: NDArray[np.int64]

    @classmethod
    def new(cls) -> "ScaleAlarm":
        """One that has seen nothing yet."""
        return cls(np.zeros(0), np.zeros(0, np.int64))

    def collapsed(self, scales: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Take in a batch's scales; True for exits that have been low for 200 iterations."""
        if not len(self.start):
            self.start, self.low = scales.copy(), np.zeros(len(scales), np.int64)
        self.low = np.where(scales < COLLAPSED_SHARE * self.start, self.low + 1, 0)
        collapsed: NDArray[np.bool_] = self.low >= PATIENCE
        return collapsed
