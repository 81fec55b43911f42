"""What is known of a shipped network: what it was made from, its accuracy and speed, and which files belong to it.

One JSON file, `shipped.json`, which holds the SHA-256 of every other file of the folder, and of itself.
"""

import hashlib
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from dare.datasets.seen import Seen
from dare.files import replacing, said, sealed, unsealed

CARD = "shipped.json"
MODEL, THRESHOLDS, PLAN = "model.safetensors", "thresholds.json", "plan.json"
"""The checkpoint; what `dare threshold` and `dare choose-exits` wrote for it, if they did."""

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

Share = Annotated[float, Field(ge=0, le=1)]
Interval = tuple[Share, Share, Share]
"""A value and the ends of its 95 % interval."""


class ShippedError(ValueError):
    """A shipped network that can't be used."""


@dataclass(frozen=True, config=STRICT)
class Accuracy:
    """The accuracy of every exit on one benchmark.

    Attributes:
        benchmark: name, and the number of queries and gallery entries.
        rank1, mean_average_precision: one per exit, by the official rule, people resampled.
    """

    benchmark: str
    rank1: tuple[Interval, ...]
    mean_average_precision: tuple[Interval, ...]

    def __post_init__(self) -> None:
        for value, low, high in (*self.rank1, *self.mean_average_precision):
            if low > high:
                raise ValueError(f"expected an interval, got {value} in [{low}, {high}]")


@dataclass(frozen=True, config=STRICT)
class Engine:
    """One way to run the network.

    Attributes:
        runner, precision: as of `open_runner`.
        place: the checkpoint, or the folder of exported steps, below the network's folder.
        milliseconds: of CPU time until each exit, on `Card.measured_on`; medians.
        losses: of mAP at each exit against the checkpoint in fp32, from -1 to 1; the greater of two: with a gallery
            embedded by this engine, and with one embedded by the checkpoint.
    """

    runner: str
    precision: str
    place: str
    milliseconds: tuple[Annotated[float, Field(ge=0)], ...]
    losses: tuple[Annotated[float, Field(ge=-1, le=1)], ...]


@dataclass(frozen=True, config=STRICT)
class Card:
    """What `shipped.json` says.

    Attributes:
        name: of the network.
        digest: of its checkpoint, which is that of all its engines too.
        summary: data and terms, briefly.
        words: title -> paragraph, in order: data and terms, teacher, start, recipe, limits.
        exits, macs: names and multiply-adds of the exits.
        accuracy: on one or more benchmarks; `dare models` lists the first.
        engines: the fastest first, by the time of the last exit.
        measured_on: the machine that the times were measured on.
        files: path below the folder -> SHA-256.
        seen: whom the network was trained on, as `dare.datasets.seen` says.
        format: of `shipped.json` itself.
    """

    name: str
    digest: str
    summary: str
    words: dict[str, str]
    exits: tuple[str, ...]
    macs: tuple[int, ...]
    accuracy: Annotated[tuple[Accuracy, ...], Field(min_length=1)]
    engines: Annotated[tuple[Engine, ...], Field(min_length=1)]
    measured_on: str
    files: dict[str, str]
    seen: Seen = ""
    format: Literal[1] = 1

    def __post_init__(self) -> None:
        per_exit = [self.macs, *(scores.rank1 for scores in self.accuracy)]
        per_exit += [scores.mean_average_precision for scores in self.accuracy]
        per_exit += [figures for engine in self.engines for figures in (engine.milliseconds, engine.losses)]
        if not self.exits or any(len(figures) != len(self.exits) for figures in per_exit):
            raise ValueError(f"expected figures of {len(self.exits)} exits throughout")
        if any(a.milliseconds[-1] > b.milliseconds[-1] for a, b in pairwise(self.engines)):
            raise ValueError("expected the fastest engine first")
        whole = {engine.runner for engine in self.engines if engine.precision == "fp32"}
        if lacking := {engine.runner for engine in self.engines} - whole:
            raise ValueError(f"expected fp32 for every runner, {', '.join(sorted(lacking))} lacks it")
        for name in self.files:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise ValueError(f"expected files below the folder, got {name}")
        for place in {MODEL, *(engine.place for engine in self.engines)}:
            if not self.files_of(place):
                raise ValueError(f"{place} is not among its files")

    def files_of(self, place: str) -> dict[str, str]:
        """The files at or below a place."""
        return {name: digest for name, digest in self.files.items() if name == place or name.startswith(f"{place}/")}


_SCHEMA = TypeAdapter(Card)


def file_digests(folder: Path) -> dict[str, str]:
    """For `Card.files`: every file of a folder but `shipped.json`."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name: sha256(folder / name) for name in files if name != CARD}


def write_card(folder: Path, card: Card) -> None:
    """Write `shipped.json`."""
    with replacing(folder / CARD) as file:
        file.write(sealed(_SCHEMA.dump_json(card, indent=1)))


def read_card(folder: Path) -> Card:
    """Read the `shipped.json` of a folder; its other files are not opened.

    Raises:
        ShippedError: missing, damaged or of another format.
    """
    file = folder / CARD
    try:
        content, whole = unsealed(file.read_bytes())
    except OSError:
        raise damaged(file) from None
    if not whole:
        raise damaged(file)
    try:
        return _SCHEMA.validate_json(content)
    except ValidationError as error:
        raise ShippedError(f"{said(error, file)}; {AGAIN}, or another version of it") from error


AGAIN = "install dare-reid again, or ship it again"


def damaged(file: Path) -> ShippedError:
    """The error for a file that is missing or not the one that was shipped."""
    problem = "is damaged: its SHA-256 is not the one it was shipped with" if file.is_file() else "is missing"
    return ShippedError(f"{file} {problem}; {AGAIN}")


def sha256(file: Path) -> str:
    """Of a file's content; "" if it can't be read."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""
