"""How close an export comes to its network: cosines of vectors, accuracy of every exit, and whether that will do."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from dare.datasets.sample import Benchmark
from dare.evaluation.embedding import embed
from dare.evaluation.evaluate import evaluate
from dare.exporting.step_files import Progress, StepFiles
from dare.images.reading import UnreadableImageError
from dare.retrieval.distances import entry_exit
from dare.runners.runner import Runner

LEAST_COSINES = {"fp32": 0.9999, "bf16": 0.99}
"""Of each picture's vectors: what rounding alone leaves. int8 is judged by its mAP."""

MOST_LOSS = 0.005
"""Of mAP, at any exit, through int8: half a point."""

BATCH = 8


class LossError(ValueError):
    """An export that is too far from its network; says where and by how much."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Of one exit, each between 0 and 1."""

    rank1: float
    mean_average_precision: float


@dataclass(frozen=True, slots=True)
class ExitParity:
    """An exit of the network beside that of the export.

    Attributes:
        cosine_mean, cosine_min: of the two vectors of each picture.
        network, export: accuracy on the validation, or None without one.
    """

    name: str
    cosine_mean: float
    cosine_min: float
    network: Accuracy | None = None
    export: Accuracy | None = None

    @property
    def loss(self) -> float:
        """Of mAP; 0 where it was not measured."""
        if self.network is None or self.export is None:
            return 0.0
        return self.network.mean_average_precision - self.export.mean_average_precision


@dataclass(frozen=True, slots=True)
class Parity:
    """A network and its export, exit by exit.

    Attributes:
        compared: the pictures of the cosines, in words.
        scored: the validation in words, or "".
    """

    compared: str
    scored: str
    exits: tuple[ExitParity, ...]


def compare(
    reference: Runner, export: Runner, images: NDArray[np.float32], scores: Sequence[tuple[Accuracy, Accuracy]]
) -> tuple[ExitParity, ...]:
    """Both runners' vectors of the same pictures (N, 3, H, W), exit by exit.

    Args:
        scores: of each exit, of the network and of the export; empty where nothing was scored.
    """
    cosines: list[list[NDArray[np.float64]]] = [[] for _ in reference.exit_names]
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        for exit, pair in enumerate(zip(reference.exits(batch), export.exits(batch), strict=True)):
            cosines[exit].append(_cosines(*pair))
    found = []
    for exit, (name, parts) in enumerate(zip(reference.exit_names, cosines, strict=True)):
        values = np.concatenate(parts)
        network, exported = scores[exit] if scores else (None, None)
        found.append(ExitParity(name, float(values.mean()), float(values.min()), network, exported))
    return tuple(found)


def accuracy(runner: Runner, benchmark: Benchmark, on_progress: Callable[[int, int], None]) -> list[Accuracy]:
    """Of every exit, on a benchmark's queries and gallery, by the official rule.

    Raises:
        UnreadableImageError: a picture cannot be used.
        ValueError: the benchmark's labels say nothing.
    """
    skipped: list[UnreadableImageError] = []
    samples = (*benchmark.query, *benchmark.gallery)
    vectors = embed(runner, samples, root=benchmark.root, skipped=skipped, on_progress=on_progress)
    if skipped:
        raise UnreadableImageError(skipped[0].path, skipped[0].reason)
    result = evaluate(vectors, benchmark)
    if reason := result.nothing_to_score:
        raise ValueError(f"{benchmark.name}: {reason}")
    return [Accuracy(exit.scores.cmc(1), exit.scores.mean_average_precision) for exit in result.exits]


def too_far(exits: Sequence[ExitParity], precision: str) -> str:
    """Exits whose vectors are not those of the network but for rounding, or ""."""
    least = LEAST_COSINES[precision]
    far = [exit for exit in exits if not exit.cosine_min >= least]
    if not far:
        return ""
    listed = ", ".join(f"{exit.name} {exit.cosine_min:.6f}" for exit in far)
    return f"cosine with the network's vectors under {least}: {listed}"


def too_inexact(exits: Sequence[ExitParity]) -> list[int]:
    """Exits, counted from 0, that lose more mAP than `MOST_LOSS`."""
    return [number for number, exit in enumerate(exits) if not exit.loss <= MOST_LOSS]


def in_words(exits: Sequence[ExitParity]) -> str:
    """The mAP of each exit, in percent, before and after."""
    return ", ".join(
        f"{exit.name} {100 * exit.network.mean_average_precision:.1f} -> {100 * exit.export.mean_average_precision:.1f}"
        for exit in exits
        if exit.network is not None and exit.export is not None
    )


@dataclass(frozen=True, slots=True)
class Judge:
    """Compares exports with their network; fields as the arguments of `export`."""

    reference: Runner
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


def _cosines(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    a, b = first.astype(np.float64), second.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines: NDArray[np.float64] = np.where(
        lengths > 0, (a * b).sum(1) / np.maximum(lengths, 1e-300), a.sum(1) == b.sum(1)
    )
    return cosines
