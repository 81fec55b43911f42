"""A whole benchmark: its pictures and their names, drawn into files."""

import contextlib
import dataclasses
import itertools
import json
import math
import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from PIL import Image

from dare.datasets import SYNTHETIC_RECIPE
from dare.datasets.market import GALLERY, QUERY, TRAIN
from dare.datasets.sample import DISTRACTOR, JUNK
from dare.synthetic.camera import open_camera
from dare.synthetic.chance import Purpose, stream
from dare.synthetic.knobs import CAMERAS, MOST_PEOPLE, SIZES, Knobs
from dare.synthetic.look import draw_look
from dare.synthetic.scene import draw_background, draw_picture

Kind = Literal["person", "badly placed", "background"]

FORMAT = 1
"""Counted up whenever the same knobs and seed would give other pictures."""


STOPS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture to draw.

    Attributes:
        folder, name: where it goes below the benchmark's root.
        kind: what it shows.
        person: who it shows, by internal number; beyond four digits for people without a label.
        camera, frame: from 1. For backgrounds, `frame` is a running number.
        label: the person as written in the name.
    """

    folder: str
    name: str
    kind: Kind
    person: int
    camera: int
    frame: int
    label: int


def draw_benchmark(
    root: str | Path,
    size: str = "tiny",
    *,
    seed: int = 1,
    knobs: Knobs | None = None,
    processes: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Draw a benchmark in the layout of Market-1501, with its knobs in `synthetic.json`.

    Pictures are drawn into a hidden folder beside `root`, which takes its place when it is complete. A run that
    fails leaves nothing; one that is killed leaves the hidden folder.

    Args:
        root: a folder that does not exist yet, or is empty.
        size: a name in `SIZES`.
        seed: from 0; another seed gives other people and other scenery.
        knobs: in place of the size's.
        processes: how many draw at once; all available cores by default. They are spawned, so a script must
            call this below `if __name__ == "__main__":`, or use one process.
        on_progress: called with the number of pictures done and their total.

    Returns:
        How many pictures were written.

    Raises:
        FileExistsError: `root` exists and isn't an empty folder.
        ValueError: an unknown size, an invalid seed or number of processes.
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

    knobs = knobs or SIZES[size]
    pictures = plan(knobs, seed)
    done = 0
    root.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{root.name}.", dir=root.parent) as hidden:
        aside = Path(hidden) / root.name
        for folder in (TRAIN, QUERY, GALLERY):
            (aside / folder).mkdir(parents=True)
        for written in _draw_all(pictures, knobs, seed, aside, processes or _available_cores()):
            done += written
            on_progress(done, len(pictures))
        (aside / SYNTHETIC_RECIPE).write_text(_describe(pictures, knobs, size, seed))
        if root.exists():
            root.rmdir()  # Windows does not rename onto a folder, not even an empty one
        aside.rename(root)
    return done


def _draw_all(pictures: Sequence[Picture], knobs: Knobs, seed: int, folder: Path, processes: int) -> Iterator[int]:
    """Draw person by person, yielding the number of pictures of each."""
    jobs = [tuple(group) for _, group in itertools.groupby(pictures, key=lambda picture: picture.person)]
    if processes == 1:
        for job in jobs:
            yield _write(job, knobs, seed, folder)
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
        with _undisturbed():
            futures = [pool.submit(_write, job, knobs, seed, folder) for job in jobs]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool as error:
        raise ChildProcessError(
            "a drawing process ended unexpectedly: it was killed, or the program that draws is not a file with "
            'if __name__ == "__main__": around the call; make it one, or draw with one process'
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Signals wait for the end of the block, and processes that are started in it never get Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[int] = []
    before = {number: signal.signal(number, lambda number, _: waiting.append(number)) for number in STOPS}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if hasattr(signal, "pthread_sigmask") else None
    try:
        yield
    finally:
        if blocked is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for number, handler in before.items():
            signal.signal(number, handler)
    for missed in waiting:
        signal.raise_signal(missed)


def _write(pictures: Sequence[Picture], knobs: Knobs, seed: int, folder: Path) -> int:
    for picture in pictures:
        if picture.kind == "background":
            pixels = draw_background(knobs, seed, picture.camera, picture.frame)
        else:
            key, badly_placed = (picture.person, picture.camera, picture.frame), picture.kind == "badly placed"
            pixels = draw_picture(knobs, seed, *key, badly_placed=badly_placed)
        quality = open_camera(knobs, seed, picture.camera).site.quality
        Image.fromarray(pixels).save(folder / picture.folder / picture.name, quality=quality)
    return len(pictures)


def _available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _describe(pictures: Sequence[Picture], knobs: Knobs, size: str, seed: int) -> str:
    """What `synthetic.json` says: enough to draw the same benchmark again, and who is easy to recognise."""
    folders = Counter(picture.folder for picture in pictures)
    labels = Counter(picture.label for picture in pictures)
    people = range(1, knobs.train_people + knobs.test_people + 1)
    description = {
        "format": FORMAT,
        "size": size if knobs == SIZES[size] else "custom",
        "seed": seed,
        "recipe": dataclasses.asdict(knobs),
        "counts": {
            "pictures": len(pictures),
            **{folder: folders[folder] for folder in (TRAIN, QUERY, GALLERY)},
            "junk": labels[JUNK],
            "distractors": labels[DISTRACTOR],
        },
        "easy_people": [person for person in people if draw_look(knobs, seed, person).easy],
    }
    return json.dumps(description, indent=2) + "\n"


def plan(knobs: Knobs, seed: int) -> tuple[Picture, ...]:
    """Every picture of a benchmark, each person's together: train, query and gallery, distractors."""
    first_test = knobs.train_people + 1
    pictures = [
        picture
        for person in range(1, first_test)
        for camera, frames in itinerary(knobs, seed, person)
        for picture in _passage(TRAIN, TRAIN, person, camera, frames)
    ]
    passages = 0
    for person in range(first_test, first_test + knobs.test_people):
        for camera, frames in itinerary(knobs, seed, person):
            pictures += _passage(QUERY, GALLERY, person, camera, frames)
            junk = math.floor((passages + 1) * knobs.junk_rate) - math.floor(passages * knobs.junk_rate)
            pictures += (_junk(person, camera, number) for number in range(1, junk + 1))
            passages += 1
    for number in range(knobs.distractor_people):
        for camera, frames in itinerary(knobs, seed, MOST_PEOPLE + 1 + number):
            pictures += (_distractor(number, camera, frame) for frame in range(1, frames + 1))
    pictures += (_background(number) for number in range(knobs.background_boxes))
    return tuple(pictures)


def itinerary(knobs: Knobs, seed: int, person: int) -> tuple[tuple[int, int], ...]:
    """The cameras that a person passes, from 1, and how many frames each of them takes."""
    rng = stream(seed, Purpose.ITINERARY, person)
    count = int(rng.integers(knobs.least_cameras, knobs.most_cameras + 1))
    cameras = sorted(range(1, CAMERAS + 1), key=lambda _: rng.random())[:count]
    return tuple((camera, int(rng.integers(knobs.least_frames, knobs.most_frames + 1))) for camera in sorted(cameras))


# Names follow Market-1501: person, camera, sequence, six digits of time, box. Times are 100 apart from person to
# person and 11 apart from frame to frame. Sequences 2 and 3 hold distractors, so that no two names are equal.


def _passage(first: str, others: str, person: int, camera: int, frames: int) -> Iterator[Picture]:
    for frame in range(1, frames + 1):
        name = f"{person:04d}_c{camera}s1_{100 * person + 11 * frame:06d}_{frame:02d}.jpg"
        yield Picture(first if frame == 1 else others, name, "person", person, camera, frame, person)


def _junk(person: int, camera: int, number: int) -> Picture:
    name = f"{JUNK}_c{camera}s1_{100 * person + 11 * number:06d}_00.jpg"
    return Picture(GALLERY, name, "badly placed", person, camera, number, JUNK)


def _distractor(number: int, camera: int, frame: int) -> Picture:
    """Every second frame is badly placed: half bodies are wrong answers too."""
    name = f"{DISTRACTOR:04d}_c{camera}s2_{100 * number + 11 * frame:06d}_{frame:02d}.jpg"
    kind: Kind = "person" if frame % 2 else "badly placed"
    return Picture(GALLERY, name, kind, MOST_PEOPLE + 1 + number, camera, frame, DISTRACTOR)


def _background(number: int) -> Picture:
    camera = number % CAMERAS + 1
    name = f"{DISTRACTOR:04d}_c{camera}s3_{100 * number:06d}_01.jpg"
    return Picture(GALLERY, name, "background", 0, camera, number, DISTRACTOR)
