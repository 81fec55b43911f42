"""How many people a drawn benchmark has, and how hard they are to tell apart."""

import dataclasses
import math
from dataclasses import MISSING, dataclass, field
from typing import Any

CAMERAS = 6

MOST_PEOPLE = 9_999
"""Person labels have four digits in file names."""


def _knob(low: float, high: float, default: float | None = None) -> Any:
    return field(default=MISSING if default is None else default, metadata={"low": low, "high": high})


@dataclass(frozen=True, slots=True)
class Knobs:
    """Every knob of a drawn benchmark. Shares and rates are from 0 to 1 unless said otherwise.

    Attributes:
        train_people, test_people: labelled people; nobody is in both splits.
        distractor_people: unlabelled people in the gallery (`0000_...`).
        background_boxes: gallery boxes with nobody in them (`0000_...`).
        junk_rate: badly placed boxes (`-1_...`) per passage of a test person, up to 5.
        least_cameras, most_cameras: how many of the six cameras a person passes.
        least_frames, most_frames: pictures of one person's passage of one camera; the first is the query.
        easy_share: people in a vivid outfit of their own; the others share a few outfits and differ in details.
        outfits: how many pairs of colours the hard people share, up to 10.
        outfit_noise: grey levels by which the same outfit differs between people, a standard deviation.
        detail: contrast of patterns and bands, from 0 (plain) to 2.
        camera_strength: how differently the cameras render colour, from 0 (all alike) to 2.
        background_contrast: from 0 (flat) to 2.
        softness: blur and low resolution, from 0 (sharp) to 2.
        box_error: how badly boxes are placed, from 0 (perfectly) to 2.
        occluder_rate: pictures with a pole, wall, box or railing in front of the person.
        bystander_rate: pictures with a second person in front or behind.
    """

    train_people: int = _knob(1, MOST_PEOPLE)
    test_people: int = _knob(1, MOST_PEOPLE)
    distractor_people: int = _knob(0, MOST_PEOPLE, 5)
    background_boxes: int = _knob(0, MOST_PEOPLE, 20)
    junk_rate: float = _knob(0, 5, 0.2)
    # Two cameras and two frames are the least with which every query has a match in another camera.
    least_cameras: int = _knob(2, CAMERAS, 3)
    most_cameras: int = _knob(2, CAMERAS, CAMERAS)
    least_frames: int = _knob(2, 9, 2)
    most_frames: int = _knob(2, 9, 5)
    easy_share: float = _knob(0, 1, 0.5)
    outfits: int = _knob(1, 10, 6)
    outfit_noise: float = _knob(0, 50, 5.0)
    detail: float = _knob(0, 2, 1.0)
    camera_strength: float = _knob(0, 2, 0.6)
    background_contrast: float = _knob(0, 2, 1.0)
    softness: float = _knob(0, 2, 0.5)
    box_error: float = _knob(0, 2, 0.6)
    occluder_rate: float = _knob(0, 1, 0.06)
    bystander_rate: float = _knob(0, 1, 0.04)

    def __post_init__(self) -> None:
        for knob in dataclasses.fields(self):
            _check(knob.name, getattr(self, knob.name), **knob.metadata, whole=knob.type is int)
        for least, most in (("least_cameras", "most_cameras"), ("least_frames", "most_frames")):
            if getattr(self, least) > getattr(self, most):
                raise ValueError(
                    f"{least} must not exceed {most}, got {getattr(self, least)} and {getattr(self, most)}; "
                    "lower the one or raise the other"
                )
        if self.train_people + self.test_people > MOST_PEOPLE:
            raise ValueError(
                f"labels have four digits, so train_people + test_people can be {MOST_PEOPLE} at most, "
                f"got {self.train_people} + {self.test_people}; take fewer people"
            )


def _check(name: str, value: float, low: float, high: float, *, whole: bool) -> None:
    number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        raise ValueError(f"{name} must be {kind} from {low} to {high}, got {value!r}; change {name}")


SMALL = Knobs(
    train_people=250,
    test_people=150,
    distractor_people=15,
    background_boxes=60,
    outfits=8,
    camera_strength=0.55,
    background_contrast=0.7,
    softness=0.7,
    box_error=0.7,
    occluder_rate=0.08,
    bystander_rate=0.06,
)

# As many people as Market-1501 has, about as many queries and training pictures, and of the 19,732 gallery
# pictures, junk and distractors about as many.
STANDARD = dataclasses.replace(
    SMALL,
    train_people=751,
    test_people=750,
    distractor_people=120,
    background_boxes=640,
    junk_rate=1.1,
    most_frames=6,
)

SIZES = {"tiny": Knobs(train_people=100, test_people=50), "small": SMALL, "standard": STANDARD}
"""Name -> knobs. `tiny` is for demonstrations and tests, `standard` has the size of Market-1501."""
