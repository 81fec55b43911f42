"""What goes into a batch: P people, K images or tracklets of each, and how they are shown."""

import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dare.datasets.sample import UNKNOWN, Sample
from dare.images.preparation import Preparation
from dare.images.reading import UnreadableImageError
from dare.runners.runner import Runner
from dare.training.config import TrainConfig
from dare.training.monitor import Progress
from dare.training.pictures import augment, load_pictures, picture_size
from dare.training.teacher import teach


@dataclass(frozen=True, slots=True)
class Batch:
    """What a network is shown at once; pictures without labels come last.

    Attributes:
        images: (B, 3, H, W); of tracklets, all frames one behind the other.
        people: (B,), of tracklets one each; `UNKNOWN` in pictures without labels.
        targets: (B, D), a teacher's vectors of length 1, or None without one.
    """

    images: Tensor
    people: Tensor
    targets: Tensor | None = None


class IdentityBatches:
    """Batches of P people x K images or tracklets; any batch can be had on its own, so a run resumes anywhere.

    An epoch deals the people out in a random order, P at a time; those left over, fewer than P, sit this epoch
    out (with exactly P people left they are a batch). With fewer than P people in all, every batch has all of
    them. Images of a person are drawn without repeats; people with fewer than K are padded with random
    repeats once, at the start.

    Args:
        people: (N,), the person of every picture; `UNKNOWN` are those that show nobody.
        people_per_batch: P.
        images_per_person: K; counts tracklets where frames are drawn from these.
        seed: same seed, same batches.
        tracklets: (N,), the number of every picture's tracklet, rising.
        frames: T, drawn from each tracklet and put in order of time; a shorter one has some twice. 1: no tracklets.
        others: how many pictures that show nobody follow in a batch, without repeats where there are enough.
    """

    def __init__(
        self,
        people: Sequence[int] | NDArray[np.int64],
        people_per_batch: int,
        images_per_person: int,
        seed: int,
        *,
        tracklets: NDArray[np.int64] | None = None,
        frames: int = 1,
        others: int = 0,
    ) -> None:
        labels = np.asarray(people)
        self._nobody, self._others = np.flatnonzero(labels == UNKNOWN), others
        if others and not len(self._nobody):
            raise ValueError("none of the generated pictures can be read; expected at least one")
        self._frames, self._tracklets = frames, list[NDArray[np.int64]]()
        if tracklets is not None and frames > 1:
            _, starts = np.unique(tracklets, return_index=True)
            self._tracklets, labels = np.split(np.arange(len(tracklets)), starts[1:]), labels[starts]
        everyone = np.unique(labels[labels != UNKNOWN])
        if len(everyone) < 2:
            raise ValueError(
                f"training needs pictures of at least 2 people to tell apart, got {len(everyone)}; add people"
            )
        self.people_per_batch = min(people_per_batch, len(everyone))
        self.images_per_person, self._seed = images_per_person, seed
        random = np.random.default_rng([seed, 0])
        self._own = []
        for person in everyone:
            own = np.flatnonzero(labels == person)
            missing = images_per_person - len(own)
            self._own.append(np.append(own, random.choice(own, missing)) if missing > 0 else own)

    @property
    def per_epoch(self) -> int:
        """Batches in an epoch: 41 for the 751 people of Market-1501, 18 at a time."""
        return len(self._own) // self.people_per_batch

    def __getitem__(self, iteration: int) -> NDArray[np.int64]:
        """Positions of a batch's pictures, (P * K * T + others,): a person's in a row, and in it a tracklet's."""
        epoch, place = divmod(iteration, self.per_epoch)
        order = np.random.default_rng([self._seed, 1, epoch]).permutation(len(self._own))
        chosen = order[place * self.people_per_batch : (place + 1) * self.people_per_batch]
        random = np.random.default_rng([self._seed, 2, iteration])
        drawn = [random.choice(self._own[person], self.images_per_person, replace=False) for person in chosen]
        if self._frames > 1:
            random = np.random.default_rng([self._seed, 4, iteration])
            shown = [self._tracklets[number] for number in np.concatenate(drawn)]
            drawn = [np.sort(random.choice(own, self._frames, replace=self._frames > len(own))) for own in shown]
        if self._others:
            random = np.random.default_rng([self._seed, 3, iteration])
            drawn.append(random.choice(self._nobody, self._others, replace=self._others > len(self._nobody)))
        return np.concatenate(drawn)


class TrainingSet:
    """The pictures that a network is trained on, decoded at one size at a time, and the batches made of them.

    Args:
        samples: labelled pictures and tracklets.
        generated: pictures that show nobody.
        device: of the network; a GPU gets all pictures at once, or those of a batch if they lie in a file.
        folder: where decoded pictures are kept in a file, instead of in memory.
        skipped: unreadable pictures are left out and reported here; without it they are errors.

    Attributes:
        paths, people: one per picture; `UNKNOWN` are those that show nobody.
        kept: rows of the pictures that could be read; the batches count along these.
        preparation: of the pictures that are trained on now.
        teacher: what the checkpoint says of it.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        generated: Sequence[Path],
        config: TrainConfig,
        device: torch.device,
        folder: Path | None,
        skipped: list[UnreadableImageError] | None,
        on_progress: Callable[[Progress], None],
    ) -> None:
        people = [sample.person for sample in samples for _ in sample.images]
        if UNKNOWN in people:
            raise ValueError(
                "training pictures need a person; leave those without out, or give them as unlabelled pictures"
            )
        self.paths = [*(path for sample in samples for path in sample.images), *generated]
        self.people = np.asarray(people + [UNKNOWN] * len(generated), np.int64)
        self._config, self._device, self._folder, self._on_progress = config, device, folder, on_progress
        self.teacher, self._targets = "", np.zeros((0, 0), np.float32)
        self.preparation, _ = config.stretches[0]
        self._pictures, self.kept = self._read(skipped)
        counts = [*(len(sample.images) for sample in samples), *[1] * len(generated)]
        self._batches = IdentityBatches(
            self.people[self.kept],
            config.people,
            config.images,
            config.seed,
            tracklets=np.repeat(np.arange(len(counts)), counts)[self.kept],
            frames=config.preparation.frames,
            others=config.generated_images,
        )

    def show(self, preparation: Preparation) -> None:
        """Train on pictures of a size from now on; those of another make room first."""
        if preparation == self.preparation:
            return
        self.preparation, self._pictures = preparation, torch.empty(0)
        self._pictures, kept = self._read([])
        if not np.array_equal(kept, self.kept):
            raise ValueError(
                f"{len(self.kept)} training pictures could be read at the start, and {len(kept)} at "
                f"{preparation.size}; restore the missing ones, and resume"
            )

    def follow(self, teacher: Runner, folder: Path) -> None:
        """Put a teacher's vectors into the batches; they are kept in a folder."""
        self._targets = teach(
            teacher,
            [self.paths[row] for row in self.kept],
            self._config.architecture.embedding_dim,
            int((self.people[self.kept] != UNKNOWN).sum()),
            folder,
            lambda done: self._on_progress(Progress("teacher", done, len(self.kept), {})),
        )
        self.teacher = f"{teacher.description} {teacher.digest}"

    @property
    def fingerprint(self) -> str:
        """Of people and file names: a run resumes only on the pictures it was started with."""
        lines = [f"{self.people[row]} {self.paths[row].name}" for row in self.kept]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def names(self, iteration: int) -> str:
        """The files in the batch of an iteration."""
        return ", ".join(self.paths[row].name for row in self.kept[self._batches[iteration]])

    def batch(self, iteration: int) -> Batch:
        """What is shown in an iteration; a function of the seed and its number alone."""
        positions = self._batches[iteration]
        rows = self.kept[positions]
        # A GPU augments wherever the pictures are kept, so a run may be resumed with them kept elsewhere.
        place = self._device if self._device.type == "cuda" else self._pictures.device
        generator = torch.Generator(place).manual_seed(self._config.seed_of(iteration))
        pictures = self._pictures[torch.from_numpy(rows).to(self._pictures.device)].to(place)
        images = augment(pictures, self.preparation, self._config.augmentation, generator)
        people = torch.from_numpy(self.people[rows[:: self.preparation.frames]]).to(self._device)
        targets = torch.from_numpy(self._targets[positions]).to(self._device) if self.teacher else None
        return Batch(images.to(self._device, memory_format=torch.channels_last), people, targets)

    def _read(self, skipped: list[UnreadableImageError] | None) -> tuple[Tensor, NDArray[np.int64]]:
        """All pictures at the present size, and the rows of the readable ones."""
        decoded, problems = load_pictures(
            self.paths,
            *picture_size(self.preparation, self._config.augmentation),
            folder=self._folder,
            on_progress=lambda done: self._on_progress(Progress("pictures", done, len(self.paths), {})),
        )
        if problems and skipped is None:
            raise UnreadableImageError.several(problems)
        if skipped is not None:
            skipped += problems
        bad = {problem.path for problem in problems}
        kept = np.asarray([row for row, path in enumerate(self.paths) if path not in bad], np.int64)
        with warnings.catch_warnings():
            # torch warns that a read-only map could be written to through a tensor; nothing here does.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            pictures = torch.from_numpy(decoded)
        return pictures.to(self._device) if self._device.type == "cuda" and not self._folder else pictures, kept
