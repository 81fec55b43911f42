"""Networks evaluated one after the other, each an exit: the paper's sequential ensemble, SE-ResNets."""

import hashlib
import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dare.anytime.costs import ExitCosts
from dare.datasets.seen import together
from dare.images.preparation import from_pixels, unprepared
from dare.runners.runner import Runner, Stop, Vectors, as_input, row_numbers


def cascade_of(runners: Sequence[Runner]) -> Runner:
    """Whole networks as one network with exits: each one's last exit is an exit of the cascade.

    Unlike stages they share no computation, so costs add up; and each has vectors of its own in a gallery.

    Where networks take images prepared in different ways, the cascade takes plain pixel values of the largest height
    and width among them, and each network's input is made of these when its turn comes. A network that takes images of
    that size gets what it gets alone, to the last bit.

    Args:
        runners: in the order they are evaluated.

    Source: paper, section 5.3.1.
    """
    if not runners:
        raise ValueError("a cascade needs at least one network")
    wanted = [runner.preparation for runner in runners]
    preparation, is_plain = wanted[0], any(one != wanted[0] for one in wanted)
    if is_plain:
        if any(one.frames != 1 for one in wanted):
            raise ValueError(
                "a network that takes tracklets stands in a cascade only with those that take them prepared alike, "
                f"got {' and '.join(map(str, wanted))}; leave it out"
            )
        preparation = unprepared(max(one.height for one in wanted), max(one.width for one in wanted))

    def begin(images: NDArray[np.float32]) -> _CascadeWalk:
        # An image of another size would be resized without a word.
        return _CascadeWalk(runners, as_input(images, preparation) if is_plain else images, is_plain)

    names = tuple(f"network {number}" for number in range(1, len(runners) + 1))
    totals = itertools.accumulate(runner.costs.macs[-1] for runner in runners)
    sources = dict.fromkeys(runner.costs.source for runner in runners)
    digests = [runner.digest for runner in runners]
    return Runner(
        names,
        names,
        preparation,
        ExitCosts(tuple(totals), f"cascade of {len(runners)} networks, added up; {'; '.join(sources)}"),
        hashlib.sha256(" ".join(digests).encode()).hexdigest() if all(digests) else "",
        "+".join(dict.fromkeys(runner.precision for runner in runners)),
        "own",  # networks that were trained apart know nothing of each other's spaces
        f"cascade of {len(runners)} networks, {'; '.join(dict.fromkeys(runner.description for runner in runners))}",
        begin,
        seen=together(*(runner.seen for runner in runners)),
    )


class _CascadeWalk:
    """A batch on its way from network to network.

    Args:
        is_plain: whether images are pixel values, to be prepared for each network.
    """

    def __init__(self, runners: Sequence[Runner], images: NDArray[np.float32], is_plain: bool) -> None:
        self._ahead, self._images, self._is_plain = list(runners), images, is_plain

    def exit(self, stop: Stop | None = None) -> Vectors | None:
        """As `Walk.exit`: the next network's last vectors."""
        if not self._ahead:
            return None
        runner = self._ahead.pop(0)
        walk = runner.walk(from_pixels(self._images, runner.preparation) if self._is_plain else self._images)
        for _ in runner.exit_names:
            vectors = walk.exit(stop)
            if vectors is None:
                self._ahead = []
                return None
        return vectors

    def keep(self, rows: Sequence[int]) -> None:
        """As `Walk.keep`."""
        self._images = self._images[row_numbers(rows)]

    def finish(self) -> tuple[list[Vectors], None]:
        """As `Walk.finish`; there is no fusion."""
        return [vectors for _ in range(len(self._ahead)) if (vectors := self.exit()) is not None], None
