"""How many samples and people a data set has as it was published."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dare.datasets.sample import JUNK, Sample


@dataclass(frozen=True, slots=True)
class Published:
    """The counts of a data set, to be compared with what was found.

    Attributes:
        title: the data set's own name.
        samples: train, query and gallery, junk and distractors included.
        people: who are trained on, and who are asked for.
        unit: of the samples.
    """

    title: str
    samples: tuple[int, int, int]
    people: tuple[int, int]
    unit: str = "images"

    def differences(self, splits: Mapping[str, Sequence[Sample]]) -> list[str]:
        """A note on each split that differs: in its samples or, with as many of them, in its people.

        Args:
            splits: train, query and gallery, by what the data set calls them.
        """
        notes = []
        for (name, found), samples, people in zip(splits.items(), self.samples, (*self.people, None), strict=True):
            there = len({sample.person for sample in found} - {JUNK})
            if len(found) != samples:
                notes.append(f"{name} has {len(found)} {self.unit}, {self.title} as published {samples}")
            elif people is not None and there != people:
                notes.append(f"{name} has {there} people, {self.title} as published {people}")
        return notes
