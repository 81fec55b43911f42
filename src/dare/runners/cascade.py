"""Networks evaluated one after the other, each an exit: the paper's sequential ensemble, SE-ResNets."""

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from dare.anytime.costs import ExitCosts
from dare.images.reading import from_pixels, unprepared
from dare.retrieval.distances import Space
from dare.runners.runner import Runner, Walk, row_numbers
from dare.runners.steps import as_input


class Cascade:
    """Whole networks behind the interface of one network with exits: each one's last exit is an exit of the cascade.

    Unlike stages they share no computation, so costs add up; and each has vectors of its own in a gallery.

    Where networks take images prepared in different ways, the cascade takes plain pixel values of the largest height
    and width among them, and each network's input is made of these when its turn comes. A network that takes images of
    that size gets what it gets alone, to the last bit.

    Args:
        runners: in the order they are evaluated.

    Source: paper, section 5.3.1.
    """

    def __init__(self, runners: Sequence[Runner]) -> None:
        if not runners:
            raise ValueError("a cascade needs at least one network")
        self._runners = tuple(runners)
        self.stage_names = self.exit_names = tuple(f"network {number}" for number in range(1, len(runners) + 1))
        self.precision = "+".join(dict.fromkeys(runner.precision for runner in runners))
        self.space: Space = "own"  # networks that were trained apart know nothing of each other's spaces
        wanted = [runner.preparation for runner in runners]
        self.preparation, self._is_plain = wanted[0], any(one != wanted[0] for one in wanted)
        if self._is_plain:
            if any(one.frames != 1 for one in wanted):
                raise ValueError(
                    "a network that takes tracklets stands in a cascade only with those that take them prepared alike, "
                    f"got {' and '.join(map(str, wanted))}; leave it out"
                )
            self.preparation = unprepared(max(one.height for one in wanted), max(one.width for one in wanted))
        totals = itertools.accumulate(runner.costs.macs[-1] for runner in runners)
        sources = dict.fromkeys(runner.costs.source for runner in runners)
        self.costs = ExitCosts(tuple(totals), f"cascade of {len(runners)} networks, added up; {'; '.join(sources)}")
        digests = [runner.digest for runner in runners]
        self.digest = hashlib.sha256(" ".join(digests).encode()).hexdigest() if all(digests) else ""

    @property
    def description(self) -> str:
        """As in `Runner`."""
        each = dict.fromkeys(runner.description for runner in self._runners)
        return f"cascade of {len(self._runners)} networks, {'; '.join(each)}"

    def exits(
        self, images: NDArray[np.float32], stop: Callable[[], bool] | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """As `Runner.exits`; a network runs when its vectors are asked for."""
        walk = self.walk(images)
        while (vectors := walk.exit(stop)) is not None:
            yield vectors

    def walk(self, images: NDArray[np.float32]) -> "CascadeWalk":
        """As `Runner.walk`."""
        if self._is_plain:
            images = as_input(images, self.preparation)  # another size would be resized without a word
        return CascadeWalk(self._runners, images, self._is_plain)

    def embed(self, images: NDArray[np.float32]) -> tuple[list[NDArray[np.float32]], None]:
        """(B, 3, H, W) -> (B, D) per network; there is no fusion."""
        return list(self.exits(images)), None


class CascadeWalk:
    """A batch on its way from network to network.

    Args:
        is_plain: whether images are pixel values, to be prepared for each network.
    """

    def __init__(self, runners: Sequence[Runner], images: NDArray[np.float32], is_plain: bool) -> None:
        self._ahead, self._images, self._is_plain = list(runners), images, is_plain

    def exit(self, stop: Callable[[], bool] | None = None) -> NDArray[np.float32] | None:
        """As `Walk.exit`: the next network's last vectors."""
        if not self._ahead:
            return None
        runner = self._ahead.pop(0)
        images = from_pixels(self._images, runner.preparation) if self._is_plain else self._images
        walk: Walk = runner.walk(images)
        for _ in runner.exit_names:
            vectors = walk.exit(stop)
            if vectors is None:
                self._ahead = []
                return None
        return vectors

    def keep(self, rows: Sequence[int]) -> None:
        """As `Walk.keep`."""
        self._images = self._images[row_numbers(rows)]
