"""Which pictures an export is calibrated with, and which people it is judged on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dare.datasets import Benchmark, open_benchmark
from dare.datasets.holdout import hold_out
from dare.images.preparation import Preparation, prepare
from dare.images.reading import read_resized

CALIBRATION_PICTURES = 256
VALIDATION_PEOPLE = 100
VALIDATION_PICTURES = 1500


@dataclass(frozen=True, slots=True)
class Pictures:
    """What an export looks at.

    Attributes:
        calibration: picture files; none where none were given.
        validation: whose queries and gallery the export is scored on, or None.
        unlabelled: why there is no validation, or "".
    """

    calibration: tuple[Path, ...]
    validation: Benchmark | None
    unlabelled: str


def choose_pictures(calibrate: Path | None, benchmark: Path | None, *, judged: bool, seed: int) -> Pictures:
    """Draw calibration pictures, and hold out people for validation where no benchmark is given.

    Args:
        calibrate: a data set; its training pictures are taken, or all of them if it has none.
        benchmark: a data set that is scored as a whole.
        judged: whether there has to be a validation.
        seed: same seed, same pictures.
    """
    validation = None if benchmark is None else open_benchmark(benchmark)
    if calibrate is None:
        return Pictures((), validation, "")
    data, unlabelled = open_benchmark(calibrate, unlabelled=True), ""
    if validation is None and judged:
        try:
            validation = data = _held_out(data, seed)
        except ValueError as error:
            unlabelled = str(error)
    samples = data.train or (*data.query, *data.gallery)
    paths = list(dict.fromkeys(path for sample in samples for path in sample.images))
    drawn = np.random.default_rng(seed).permutation(len(paths))[:CALIBRATION_PICTURES]
    return Pictures(tuple(paths[row] for row in sorted(drawn)), validation, unlabelled)


def read_pictures(paths: Sequence[Path], preparation: Preparation) -> NDArray[np.float32]:
    """(N, 3, H, W), as the network takes them.

    Raises:
        UnreadableImageError: a picture cannot be used.
    """
    pictures = [read_resized(path, preparation.height, preparation.width) for path in paths]
    return prepare(np.stack(pictures), preparation)


def _held_out(data: Benchmark, seed: int) -> Benchmark:
    people = min(VALIDATION_PEOPLE, len({sample.person for sample in data.train}) // 2)
    split = hold_out(data, people, seed)
    while (pictures := len(split.query) + len(split.gallery)) > VALIDATION_PICTURES and people > 2:
        people = max(2, min(people - 1, people * VALIDATION_PICTURES // pictures))
        split = hold_out(data, people, seed)
    return split
