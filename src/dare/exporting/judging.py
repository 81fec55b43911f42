"""Whether an export may be written: compared with its network, refused, and with what advice."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from dare.datasets.sample import Benchmark
from dare.exporting.parity import (
    MOST_LOSS,
    Accuracy,
    ExitParity,
    LossError,
    accuracy,
    compare,
    in_words,
    too_far,
    too_inexact,
)
from dare.exporting.step_files import Progress, StepFiles
from dare.retrieval.distances import entry_exit
from dare.runners.eager import EagerRunner


@dataclass(frozen=True, slots=True)
class Judge:
    """Compares exports with their network; fields as the arguments of `export`."""

    reference: EagerRunner
    files: StepFiles
    precision: str
    images: NDArray[np.float32]
    validation: Benchmark | None
    on_progress: Progress

    def exits(self, chosen: Collection[int]) -> tuple[ExitParity, ...]:
        """All exits, where these steps are int8."""
        runner = self.files.open(self.precision, chosen)
        scores: list[tuple[Accuracy, Accuracy]] = []
        if self.validation is not None:
            before = accuracy(self.reference, self.validation, partial(self.on_progress, "scoring the network"))
            after = accuracy(runner, self.validation, partial(self.on_progress, "scoring the export"))
            scores = list(zip(before, after, strict=True))
        return compare(self.reference, runner, self.images, scores)

    def refuse(self, exits: Sequence[ExitParity], chosen: Sequence[int]) -> None:
        """Raise `LossError` for an export that nobody should trust."""
        if self.precision != "int8" and (far := too_far(exits, self.precision)):
            raise LossError(f"the export is not the network, {far}; export for another engine, or take --force")
        bad = too_inexact(exits) if self.precision == "int8" else []
        if bad:
            raise LossError(
                f"int8 loses more than {100 * MOST_LOSS:g} points of mAP: {in_words([exits[n] for n in bad])} "
                f"(all exits: {in_words(exits)}); {self._advice(exits, chosen, bad[0])}"
            )

    def _advice(self, exits: Sequence[ExitParity], chosen: Sequence[int], first_bad: int) -> str:
        """Which first steps can be int8: those before the first bad exit, or fewer, measured anew.

        Where exits share a space, what an exit is compared with comes from the last one.
        """
        first_bad = entry_exit(self.reference.space, first_bad, len(exits))
        for last in range(first_bad, 0, -1):
            fewer = [number for number in chosen if number <= last]
            if fewer and (last == chosen[-1] or last in chosen) and not too_inexact(found := self.exits(fewer)):
                listed = ",".join(str(number) for number in fewer)
                return f"--int8-steps {listed} would do ({in_words(found)}), or take --force"
        return "no choice of first steps would do; export in another precision, or take --force"
