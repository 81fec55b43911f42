"""Which pictures a benchmark consists of, and what they are called; nothing is drawn here."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from dare.datasets.market import GALLERY, QUERY, TRAIN
from dare.datasets.sample import DISTRACTOR, JUNK
from dare.synthetic.chance import Purpose, stream
from dare.synthetic.recipe import CAMERAS, MOST_PEOPLE, Recipe

Kind = Literal["person", "badly placed", "background"]


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


def plan(recipe: Recipe, seed: int) -> tuple[Picture, ...]:
    """Every picture of a benchmark, each person's together: train, query and gallery, distractors."""
    first_test = recipe.train_people + 1
    pictures = [
        picture
        for person in range(1, first_test)
        for camera, frames in itinerary(recipe, seed, person)
        for picture in _passage(TRAIN, TRAIN, person, camera, frames)
    ]
    passages = 0
    for person in range(first_test, first_test + recipe.test_people):
        for camera, frames in itinerary(recipe, seed, person):
            pictures += _passage(QUERY, GALLERY, person, camera, frames)
            junk = math.floor((passages + 1) * recipe.junk_rate) - math.floor(passages * recipe.junk_rate)
            pictures += (_junk(person, camera, number) for number in range(1, junk + 1))
            passages += 1
    for number in range(recipe.distractor_people):
        for camera, frames in itinerary(recipe, seed, MOST_PEOPLE + 1 + number):
            pictures += (_distractor(number, camera, frame) for frame in range(1, frames + 1))
    pictures += (_background(number) for number in range(recipe.background_boxes))
    assert len({(picture.folder, picture.name) for picture in pictures}) == len(pictures)
    return tuple(pictures)


def itinerary(recipe: Recipe, seed: int, person: int) -> tuple[tuple[int, int], ...]:
    """The cameras that a person passes, from 1, and how many frames each of them takes."""
    rng = stream(seed, Purpose.ITINERARY, person)
    count = int(rng.integers(recipe.least_cameras, recipe.most_cameras + 1))
    cameras = sorted(range(1, CAMERAS + 1), key=lambda _: rng.random())[:count]
    return tuple((camera, int(rng.integers(recipe.least_frames, recipe.most_frames + 1))) for camera in sorted(cameras))


# Names follow Market-1501: person, camera, sequence, six digits of time, box. Times are 100 apart from person to
# person and 11 apart from frame to frame. Sequences 2 and 3 hold what is nobody's, lest two names meet.


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
