"""What there is in a data set: counts, oddities, and pictures that cannot be read."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dare.datasets import open_benchmark
from dare.datasets.sample import DISTRACTOR, JUNK, Benchmark, Sample, says_nothing
from dare.images.reading import UnreadableImageError, unreadable


@dataclass(frozen=True, slots=True)
class SplitCounts:
    """What a split holds; junk and distractors aren't people.

    Attributes:
        samples: pictures, or tracklets, which have several images.
        single_camera: people seen by one camera only, who have no match across cameras.
        single_image: people with one picture only.
        junk, distractors: samples.
    """

    people: int
    cameras: int
    samples: int
    images: int
    single_camera: int
    single_image: int
    junk: int
    distractors: int


@dataclass(frozen=True, slots=True)
class Check:
    """What `dare data check` prints.

    Attributes:
        splits: train, query and gallery.
        unmatched: queries without a valid match in the gallery.
        warnings: why training or scoring would make no sense.
        problems: pictures that training and embedding would refuse.
    """

    benchmark: Benchmark
    splits: dict[str, SplitCounts]
    unmatched: int
    problems: tuple[UnreadableImageError, ...]
    warnings: tuple[str, ...] = ()

    @property
    def has_tracklets(self) -> bool:
        """Whether there are samples of several images."""
        return any(split.images > split.samples for split in self.splits.values())


def check(
    root: str | Path,
    layout: str | None = None,
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Check:
    """Look at a whole data set and read every picture of it once."""
    benchmark = open_benchmark(root, layout)
    splits = {"train": benchmark.train, "query": benchmark.query, "gallery": benchmark.gallery}
    paths = list(dict.fromkeys(path for split in splits.values() for sample in split for path in sample.images))
    problems: list[UnreadableImageError] = []
    for done, path in enumerate(paths, start=1):
        problems += unreadable([path])
        on_progress(done, len(paths))
    # People may be numbered from 0: person 0 is a distractor only if no query asks for it.
    asked_for = {sample.person for sample in (*benchmark.train, *benchmark.query)}
    nobody = {DISTRACTOR} - asked_for | {JUNK}
    counts = {name: _count(samples, nobody) for name, samples in splits.items()}
    return Check(benchmark, counts, _unmatched(benchmark), tuple(problems), tuple(_warnings(benchmark)))


def _count(samples: Sequence[Sample], nobody: set[int]) -> SplitCounts:
    people = [sample for sample in samples if sample.person not in nobody]
    images = Counter[int]()
    cameras: dict[int, set[int]] = {}
    for sample in people:
        images[sample.person] += len(sample.images)
        cameras.setdefault(sample.person, set()).add(sample.camera)
    return SplitCounts(
        people=len(images),
        cameras=len({sample.camera for sample in samples}),
        samples=len(samples),
        images=sum(len(sample.images) for sample in samples),
        single_camera=sum(len(seen) == 1 for seen in cameras.values()),
        single_image=sum(count == 1 for count in images.values()),
        junk=sum(sample.person == JUNK for sample in samples),
        distractors=sum(sample.person in nobody - {JUNK} for sample in samples),
    )


def _warnings(benchmark: Benchmark) -> list[str]:
    tested = (*benchmark.query, *benchmark.gallery)
    warnings = [
        f"there are no {name} pictures" for name in ("train", "query", "gallery") if not getattr(benchmark, name)
    ]
    if len({sample.person for sample in benchmark.train}) == 1:
        warnings.append("all training pictures show one person; training needs at least two")
    cameras = [sample.camera for sample in tested] if benchmark.cameras_known else None
    if reason := says_nothing([sample.person for sample in tested], cameras):
        warnings.append(reason)
    return warnings


def _unmatched(benchmark: Benchmark) -> int:
    cameras: dict[int, set[int]] = {}
    for sample in benchmark.gallery:
        if sample.person != JUNK:
            cameras.setdefault(sample.person, set()).add(sample.camera)
    return sum(not cameras.get(sample.person, set()) - {sample.camera} for sample in benchmark.query)
