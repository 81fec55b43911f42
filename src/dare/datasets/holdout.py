"""Training people set aside to choose settings with, so that the test people stay unseen until the end."""

import csv
import io
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from dare.datasets.sample import Benchmark, Sample
from dare.files import replacing


def hold_out(benchmark: Benchmark, people: int, seed: int = 0) -> Benchmark:
    """A benchmark made from another one's training pictures only.

    It draws `people` at random. Their first picture at each camera (their first picture if cameras are unknown) is a
    query, and the others are the gallery. Everybody else stays in `train`.

    Raises:
        ValueError: fewer than two people would be left on a side.
    """
    everyone = np.unique([sample.person for sample in benchmark.train])
    if not 2 <= people <= len(everyone) - 2:
        raise ValueError(
            f"{people} of {len(everyone)} training people cannot be held out; "
            "at least two must be held out, and two be left to train on"
        )
    held = set(np.random.default_rng(seed).permutation(everyone)[:people].tolist())
    queries: dict[tuple[int, int], Sample] = {}
    gallery = []
    for sample in benchmark.train:
        key = (sample.person, sample.camera if benchmark.cameras_known else 0)
        if sample.person in held and queries.setdefault(key, sample) is not sample:
            gallery.append(sample)
    train = tuple(sample for sample in benchmark.train if sample.person not in held)
    if not gallery:
        raise ValueError("the people held out have one picture at each camera, so nothing is left for a gallery")
    note = f"{people} training people of {benchmark.name} held out, seed {seed}"
    return replace(
        benchmark, train=train, query=tuple(queries.values()), gallery=tuple(gallery), notes=(*benchmark.notes, note)
    )


def write_manifest(benchmark: Benchmark, path: Path) -> int:
    """Write a benchmark of stills as a CSV file that `folder` reads; returns the number of pictures."""
    if path.suffix.lower() != ".csv":
        raise ValueError(f"expected the name of a .csv file, got {path}")
    if path.exists():
        raise FileExistsError(f"{path} exists already; remove it, or choose another name")
    base = Path(os.path.normpath(path.parent.absolute()))
    lines: list[list[str | int]] = []
    for split in ("train", "query", "gallery"):
        for sample in getattr(benchmark, split):
            image = Path(os.path.normpath(sample.images[0].absolute()))
            if len(sample.images) > 1:
                raise ValueError(
                    f"a CSV file lists single pictures, and {image} is one of {len(sample.images)} of a sample"
                )
            if not image.is_relative_to(base):
                raise ValueError(f"{path} must lie in a folder above the pictures, such as {benchmark.root.absolute()}")
            person = benchmark.names.get(sample.person, sample.person)
            camera = [benchmark.camera_names.get(sample.camera, sample.camera)] if benchmark.cameras_known else []
            lines.append([image.relative_to(base).as_posix(), person, *camera, split])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "person", *(["camera"] if benchmark.cameras_known else []), "split"])
    writer.writerows(lines)
    try:
        content = text.getvalue().encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"a picture's name isn't valid UTF-8, so {path} can't list it: {error}; rename it") from error
    with replacing(path) as file:
        file.write(content)
    return len(lines)
