"""What leaving at each exit costs, in multiply-adds."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ExitCosts:
    """Multiply-adds spent by a query that leaves at each exit, stem included.

    Attributes:
        macs: one total per exit, increasing.
        source: where the numbers come from; printed beside every result that uses them.
    """

    macs: tuple[int, ...]
    source: str

    def __post_init__(self) -> None:
        if not self.macs or self.macs[0] <= 0:
            raise ValueError(f"exit costs must be positive, got {self.macs}")
        if any(later <= earlier for earlier, later in itertools.pairwise(self.macs)):
            raise ValueError(f"exit costs must increase, got {self.macs}")

    def times(self, crops: int) -> "ExitCosts":
        """The costs of queries that are embedded as the mean of `crops` crops."""
        if crops == 1:
            return self
        return ExitCosts(tuple(crops * macs for macs in self.macs), f"{self.source}, times {crops} crops")

    def mean(self, exits: Sequence[int] | NDArray[np.integer]) -> float:
        """Mean multiply-adds of queries that left at these exits, counted from 0; NaN of none."""
        left = _exits(exits, len(self.macs))
        if not len(left):
            return math.nan
        return float(np.asarray(self.macs, np.float64)[left].mean())


@dataclass(frozen=True, slots=True)
class ExitTimes:
    """Measured time from the start of a query to its answer at each exit.

    Attributes:
        median, slow: (E,), seconds up to each exit, the middle and the 95th percentile.
        steps: (E,), seconds from the previous exit, the 95th percentile: to decide whether to go on.
        longest_block: seconds, the longest time between two chances to stop, 95th percentile.
        source: what was measured where; printed beside every result that uses it.
    """

    median: tuple[float, ...]
    slow: tuple[float, ...]
    steps: tuple[float, ...]
    longest_block: float
    source: str

    def __post_init__(self) -> None:
        for name in ("median", "slow"):
            seconds = getattr(self, name)
            if not seconds or not seconds[0] > 0 or any(not b >= a for a, b in itertools.pairwise(seconds)):
                raise ValueError(f"times must be positive and not fall from exit to exit, got {seconds}")
        positive = all(0 < seconds < math.inf for seconds in (*self.steps, *self.slow, self.longest_block))
        if not len(self.median) == len(self.slow) == len(self.steps) or not positive:
            raise ValueError(f"expected a positive time per exit, got {self.median}, {self.slow} and {self.steps}")

    def mean(self, exits: Sequence[int] | NDArray[np.integer]) -> float:
        """Mean of the median seconds of queries that left at these exits, counted from 0; NaN of none."""
        left = _exits(exits, len(self.median))
        return float(np.asarray(self.median)[left].mean()) if len(left) else math.nan


def _exits(exits: Sequence[int] | NDArray[np.integer], count: int) -> NDArray[np.integer]:
    left = np.asarray(exits)
    if not len(left):
        return np.zeros(0, np.int64)
    if not np.issubdtype(left.dtype, np.integer):
        raise ValueError(f"exits are whole numbers, got {left.dtype}")
    if not 0 <= left.min() <= left.max() < count:
        raise ValueError(f"exits are counted from 0 to {count - 1}, got {left.min()} to {left.max()}")
    return left


NETSCOPE_2018 = ExitCosts(
    (523_568_640, 1_150_094_336, 2_060_915_200, 2_542_295_040),
    "DaRe(R) at 256x128 as published in 2018 (netscope, ResNet-50 with its stride on the 1x1)",
)
"""The costs behind figures 5, 6 and 8 of the paper. The released network itself costs a little more:
`count_macs(DaRe(resnet50()))`."""
