"""Which pictures go into a batch: P people, K images or tracklets of each."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Batches(Protocol):
    """Batches by the number of the iteration."""

    def __getitem__(self, iteration: int) -> NDArray[np.int64]:
        """Positions of a batch's pictures."""
        ...


class IdentityBatches:
    """Batches of P people x K images; any batch can be had on its own, so a run resumes anywhere.

    An epoch deals the people out in a random order, P at a time; those left over, fewer than P, sit this epoch
    out (with exactly P people left they are a batch). With fewer than P people in all, every batch has all of
    them. Images of a person are drawn without repeats; who has fewer than K is padded by random repeats
    once, at the start.

    Args:
        people: (N,), the person of every picture.
        people_per_batch: P.
        images_per_person: K.
        seed: same seed, same batches.
    """

    def __init__(
        self, people: Sequence[int] | NDArray[np.int64], people_per_batch: int, images_per_person: int, seed: int
    ) -> None:
        labels = np.asarray(people)
        everyone = np.unique(labels)
        if len(everyone) < 2:
            raise ValueError(
                f"training needs pictures of at least 2 people to tell apart, got {len(everyone)}; add people"
            )
        if people_per_batch < 2 or images_per_person < 1:
            raise ValueError(
                f"a batch needs at least 2 people and 1 image of each, got {people_per_batch} and {images_per_person}"
            )
        self.people_per_batch = min(people_per_batch, len(everyone))
        self.images_per_person = images_per_person
        self.seed = seed
        random = np.random.default_rng([seed, 0])
        self._pictures = []
        for person in everyone:
            own = np.flatnonzero(labels == person)
            missing = images_per_person - len(own)
            self._pictures.append(np.append(own, random.choice(own, missing)) if missing > 0 else own)

    @property
    def per_epoch(self) -> int:
        """Batches in an epoch: 41 for the 751 people of Market-1501, 18 at a time."""
        return len(self._pictures) // self.people_per_batch

    def __getitem__(self, iteration: int) -> NDArray[np.int64]:
        """Positions of the pictures of a batch, (P * K,), K in a row for each person."""
        epoch, place = divmod(iteration, self.per_epoch)
        order = np.random.default_rng([self.seed, 1, epoch]).permutation(len(self._pictures))
        chosen = order[place * self.people_per_batch : (place + 1) * self.people_per_batch]
        random = np.random.default_rng([self.seed, 2, iteration])
        return np.concatenate(
            [random.choice(self._pictures[person], self.images_per_person, replace=False) for person in chosen]
        )

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        """The batches of the first epoch."""
        return (self[place] for place in range(self.per_epoch))


class TrackletBatches:
    """Batches of P people x K tracklets, T frames of each in order of time; had by number as `IdentityBatches`.

    Args:
        people: (N,), the person of every picture.
        tracklets: (N,), the number of its tracklet, rising.
        people_per_batch, tracklets_per_person: P and K.
        frames: T; of a tracklet that has fewer, some come twice.
        seed: same seed, same batches.
    """

    def __init__(
        self,
        people: NDArray[np.int64],
        tracklets: NDArray[np.int64],
        people_per_batch: int,
        tracklets_per_person: int,
        frames: int,
        seed: int,
    ) -> None:
        _, starts = np.unique(tracklets, return_index=True)
        self._tracklets = np.split(np.arange(len(tracklets)), starts[1:])
        self._batches = IdentityBatches(people[starts], people_per_batch, tracklets_per_person, seed)
        self._frames, self._seed = frames, seed

    def __getitem__(self, iteration: int) -> NDArray[np.int64]:
        """Positions of the pictures of a batch, (P * K * T,), a tracklet's in a row."""
        random = np.random.default_rng([self._seed, 4, iteration])
        drawn = [self._tracklets[number] for number in self._batches[iteration]]
        return np.concatenate(
            [np.sort(random.choice(own, self._frames, replace=self._frames > len(own))) for own in drawn]
        )


class MixedBatches:
    """Batches of people, each followed by pictures that show none of them; had by number as `IdentityBatches`.

    Args:
        batches: of people.
        others: positions of the other pictures.
        count: how many of them are drawn for a batch, without repeats where there are enough.
        seed: same seed, same batches.
    """

    def __init__(self, batches: IdentityBatches, others: NDArray[np.int64], count: int, seed: int) -> None:
        if not len(others):
            raise ValueError("none of the generated pictures can be read; expected at least one")
        self._batches, self._others, self._count, self._seed = batches, others, count, seed

    def __getitem__(self, iteration: int) -> NDArray[np.int64]:
        """Positions of the pictures of a batch, (P * K + count,)."""
        random = np.random.default_rng([self._seed, 3, iteration])
        drawn = random.choice(self._others, self._count, replace=self._count > len(self._others))
        return np.concatenate([self._batches[iteration], drawn])
