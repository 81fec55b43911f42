"""Writing a benchmark: whole or not at all, on any number of processes, always the same pictures."""

import dataclasses
import itertools
import json
import multiprocessing
import os
import secrets
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dare.datasets.layout import SYNTHETIC_RECIPE
from dare.datasets.market import GALLERY, QUERY, TRAIN
from dare.datasets.sample import DISTRACTOR, JUNK
from dare.files import replacing
from dare.synthetic.appearance import draw_look
from dare.synthetic.camera import open_camera
from dare.synthetic.plan import Picture, plan
from dare.synthetic.recipe import SIZES, Recipe
from dare.synthetic.scene import draw_background, draw_person

FORMAT = 1
"""Counted up whenever the same recipe and seed would give other pictures."""


def draw_benchmark(
    root: str | Path,
    size: str = "tiny",
    *,
    seed: int = 1,
    recipe: Recipe | None = None,
    processes: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Draw a benchmark in the layout of Market-1501, with its recipe in `synthetic.json`.

    Pictures are drawn into a hidden folder beside `root`, which takes its place when it is complete. A run that
    fails leaves nothing; one that is killed leaves the hidden folder.

    Args:
        root: a folder that does not exist yet, or is empty.
        size: a name in `SIZES`.
        seed: from 0; another seed gives other people and other scenery.
        recipe: the knobs, where they are not those of the size.
        processes: how many draw at once, all available cores by default. They are spawned, so a script must
            call this below `if __name__ == "__main__":`, or with one process.
        on_progress: told how many pictures are done, out of how many.

    Returns:
        How many pictures were written.

    Raises:
        FileExistsError: there is something at `root` already.
        ValueError: an unknown size, or a seed or number of processes that cannot be.
    """
    if size not in SIZES:
        raise ValueError(f"size must be one of {', '.join(SIZES)}, got {size!r}; choose one of them")
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed must be a whole number from 0, got {seed!r}; choose another seed")
    if processes is not None and (not isinstance(processes, int) or processes < 1):
        raise ValueError(f"processes must be a whole number from 1, got {processes!r}; leave it out to use all cores")
    root = Path(root).resolve()
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise FileExistsError(f"{root} exists and is not an empty folder; choose another or remove it")

    knobs = recipe or SIZES[size]
    pictures = plan(knobs, seed)
    aside = root.parent / f".{root.name}.{secrets.token_hex(4)}"
    try:
        for folder in (TRAIN, QUERY, GALLERY):
            (aside / folder).mkdir(parents=True)
        done = 0
        for written in _draw_all(pictures, knobs, seed, aside, processes or _available_cores()):
            done += written
            on_progress(done, len(pictures))
        with replacing(aside / SYNTHETIC_RECIPE) as file:
            file.write(_describe(pictures, knobs, size, seed).encode())
        if root.exists():
            root.rmdir()  # Windows does not rename onto a folder, not even an empty one
        aside.rename(root)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return done


def _draw_all(pictures: Sequence[Picture], recipe: Recipe, seed: int, folder: Path, processes: int) -> Iterator[int]:
    """Draw one person's pictures after the other's, yielding how many there were."""
    jobs = [tuple(group) for _, group in itertools.groupby(pictures, key=lambda picture: picture.person)]
    if processes == 1:
        for job in jobs:
            yield _write(job, recipe, seed, folder)
        return
    # Spawned, not forked: the caller may have threads, and a fork of those can hang.
    # Ctrl-C is the caller's to handle; the others finish the person that they are drawing.
    pool = ProcessPoolExecutor(
        min(processes, len(jobs)),
        multiprocessing.get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    )
    try:
        for future in as_completed([pool.submit(_write, job, recipe, seed, folder) for job in jobs]):
            yield future.result()
    except BrokenProcessPool as error:
        raise ChildProcessError(
            "a drawing process ended unexpectedly: it was killed, or the program that draws is not a file with "
            'if __name__ == "__main__": around the call; make it one, or draw with one process'
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _write(pictures: Sequence[Picture], recipe: Recipe, seed: int, folder: Path) -> int:
    for picture in pictures:
        pixels = _draw(picture, recipe, seed)
        quality = open_camera(recipe, seed, picture.camera).quality
        Image.fromarray(pixels).save(folder / picture.folder / picture.name, quality=quality)
    return len(pictures)


def _draw(picture: Picture, recipe: Recipe, seed: int) -> NDArray[np.uint8]:
    if picture.kind == "background":
        return draw_background(recipe, seed, picture.camera, picture.frame)
    badly_placed = picture.kind == "badly placed"
    return draw_person(recipe, seed, picture.person, picture.camera, picture.frame, badly_placed=badly_placed)


def _available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _describe(pictures: Sequence[Picture], recipe: Recipe, size: str, seed: int) -> str:
    """What `synthetic.json` says: enough to draw the same benchmark again, and who is easy to recognise."""
    folders = Counter(picture.folder for picture in pictures)
    labels = Counter(picture.label for picture in pictures)
    people = range(1, recipe.train_people + recipe.test_people + 1)
    description = {
        "format": FORMAT,
        "size": size if recipe == SIZES[size] else "custom",
        "seed": seed,
        "recipe": dataclasses.asdict(recipe),
        "counts": {
            "pictures": len(pictures),
            **{folder: folders[folder] for folder in (TRAIN, QUERY, GALLERY)},
            "junk": labels[JUNK],
            "distractors": labels[DISTRACTOR],
        },
        "easy_people": [person for person in people if draw_look(recipe, seed, person).easy],
    }
    return json.dumps(description, indent=2) + "\n"
