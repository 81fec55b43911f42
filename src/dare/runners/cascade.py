"""Networks evaluated one after the other, each an exit: the paper's sequential ensemble, SE-ResNets."""

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from dare.anytime.costs import ExitCosts
from dare.retrieval.space import Space
from dare.runners.runner import Runner, Walk, row_numbers


class Cascade:
    """Whole networks behind the interface of one network with exits: each one's last exit is an exit of the cascade.

    Unlike stages they share no computation, so costs add up; and each has vectors of its own in a gallery.

    Args:
        runners: in the order they are evaluated; pictures are prepared alike for all of them.

    Source: paper, section 5.3.1.
    """

    def __init__(self, runners: Sequence[Runner]) -> None:
        if not runners:
            raise ValueError("a cascade needs at least one network")
        for runner in runners[1:]:
            if runner.preparation != runners[0].preparation:
                raise ValueError(
                    f"the networks of a cascade take pictures prepared alike, got {runners[0].preparation} and "
                    f"{runner.preparation}; train them with one input size and normalisation"
                )
        self._runners = tuple(runners)
        self.stage_names = self.exit_names = tuple(f"network {number}" for number in range(1, len(runners) + 1))
        self.preparation, self.precision = runners[0].preparation, runners[0].precision
        self.space: Space = "own"  # networks that were trained apart know nothing of each other's spaces
        totals = itertools.accumulate(runner.costs.macs[-1] for runner in runners)
        sources = dict.fromkeys(runner.costs.source for runner in runners)
        self.costs = ExitCosts(tuple(totals), f"cascade of {len(runners)} networks, added up; {'; '.join(sources)}")
        digests = [runner.digest for runner in runners]
        self.digest = hashlib.sha256(" ".join(digests).encode()).hexdigest() if all(digests) else ""

    @property
    def description(self) -> str:
        """As in `Runner`."""
        return f"cascade of {len(self._runners)} networks, {self._runners[0].description}"

    def exits(
        self, images: NDArray[np.float32], stop: Callable[[], bool] | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """As `Runner.exits`; a network runs when its vectors are asked for."""
        walk = self.walk(images)
        while (vectors := walk.exit(stop)) is not None:
            yield vectors

    def walk(self, images: NDArray[np.float32]) -> "CascadeWalk":
        """As `Runner.walk`."""
        return CascadeWalk(self._runners, images)

    def embed(self, images: NDArray[np.float32]) -> tuple[list[NDArray[np.float32]], None]:
        """(B, 3, H, W) -> (B, D) per network; there is no fusion."""
        return list(self.exits(images)), None


class CascadeWalk:
    """A batch on its way from network to network."""

    def __init__(self, runners: Sequence[Runner], images: NDArray[np.float32]) -> None:
        self._ahead, self._images = list(runners), images

    def exit(self, stop: Callable[[], bool] | None = None) -> NDArray[np.float32] | None:
        """As `Walk.exit`: the next network's last vectors."""
        if not self._ahead:
            return None
        runner = self._ahead.pop(0)
        walk: Walk = runner.walk(self._images)
        for _ in runner.exit_names:
            vectors = walk.exit(stop)
            if vectors is None:
                self._ahead = []
                return None
        return vectors

    def keep(self, rows: Sequence[int]) -> None:
        """As `Walk.keep`."""
        self._images = self._images[row_numbers(rows)]
