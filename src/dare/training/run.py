"""What stays the same while a network trains: settings, pictures, batches, and where results go."""

import hashlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dare.datasets.sample import UNKNOWN
from dare.images.reading import Preparation, UnreadableImageError
from dare.models.baselines import CLASSIFIED
from dare.models.checkpoints import MODEL_FILE, Checkpoint, save_checkpoint
from dare.models.dare import count_macs
from dare.models.devices import describe_device
from dare.training.batches import Batches
from dare.training.config import TrainConfig
from dare.training.monitor import Progress, TrainingStoppedError
from dare.training.objectives import Batch
from dare.training.pictures import Augmentation, augment, load_pictures, picture_size
from dare.training.state import STATE_FILE, TrainingState


@dataclass(slots=True)
class Run:
    """A training's settings, pictures and folder.

    Attributes:
        preparation: of the pictures that are trained on now.
        pictures, paths, people: one per picture; `UNKNOWN` are those that show nobody.
        kept: rows of the pictures that could be read; the batches count along these.
        targets: (N, D), a teacher's vectors of length 1, or None without one.
        teacher: what the checkpoint says of it.
        mapped: whether the pictures lie in a file; then a GPU gets those of a batch, else it gets all of them at once.
    """

    folder: Path
    config: TrainConfig
    device: torch.device
    preparation: Preparation
    pictures: Tensor
    paths: list[Path]
    people: NDArray[np.int64]
    kept: NDArray[np.int64]
    batches: Batches
    data_name: str
    mapped: bool = False
    targets: NDArray[np.float32] | None = None
    teacher: str = ""

    def __post_init__(self) -> None:
        self.show(self.preparation, self.pictures)

    def show(self, preparation: Preparation, pictures: Tensor) -> None:
        """Train on pictures of a size from now on."""
        self.preparation = preparation
        self.pictures = pictures.to(self.device) if self.device.type == "cuda" and not self.mapped else pictures

    @property
    def fingerprint(self) -> str:
        """Of the labelled file names: a run resumes only on the pictures it was started with."""
        lines = [f"{self.people[row]} {self.paths[row].name}" for row in self.kept]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def rows(self, iteration: int) -> NDArray[np.int64]:
        """Which pictures are in the batch of an iteration."""
        return self.kept[self.batches[iteration]]

    def batch(self, iteration: int) -> Batch:
        """What is shown in an iteration; a function of the seed and its number alone."""
        rows = self.rows(iteration)
        # A GPU augments wherever the pictures are kept, so a run may be resumed with them kept elsewhere.
        place = self.device if self.device.type == "cuda" else self.pictures.device
        generator = torch.Generator(place).manual_seed(self._seed(iteration))
        pictures = self.pictures[torch.from_numpy(rows).to(self.pictures.device)].to(place)
        images = augment(pictures, self.preparation, self.config.augmentation, generator)
        people = torch.from_numpy(self.people[rows[:: self.preparation.frames]]).to(self.device)
        targets = None if self.targets is None else torch.from_numpy(self.targets[rows]).to(self.device)
        return Batch(images.to(self.device, memory_format=torch.channels_last), people, targets)

    @contextmanager
    def draws(self, iteration: int) -> Iterator[None]:
        """What torch draws within, for dropout say, is a function of the seed and the iteration alone."""
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self._seed(iteration, 1))
            yield

    def save(self, state: TrainingState) -> Checkpoint:
        """Write the state to resume from, and the model to use; never one that is no longer made of numbers."""
        weights = [*state.model.state_dict().values(), *state.objective.state_dict().values()]
        if not all(bool(tensor.isfinite().all()) for tensor in weights):
            raise self.stopped(state, "the weights are no longer finite")
        state.save(self.folder / STATE_FILE, self.config, self.fingerprint)
        preparation = self.config.preparation
        people = self.people[self.kept]
        labelled = people[people != UNKNOWN]
        training = {
            "config": asdict(self.config),
            "data": self.data_name,
            "people": len(np.unique(labelled)),
            "pictures": len(labelled),
            "generated": len(people) - len(labelled),
            "teacher": self.teacher,
            "unreadable": len(self.paths) - len(self.kept),
            "iterations": state.iteration,
            "seconds": round(state.seconds, 1),
            "precision": state.precision,
            "device": describe_device(self.device),
            "torch": torch.__version__,
        }
        costs = count_macs(state.average, preparation.height, preparation.width)
        checkpoint = Checkpoint(
            state.average, self.config.architecture, preparation, costs, training, space=self.config.space
        )
        digest = save_checkpoint(self.folder / MODEL_FILE, checkpoint)
        return replace(checkpoint, digest=digest)

    def stopped(self, state: TrainingState, reason: str) -> TrainingStoppedError:
        """The error for a run that cannot go on; what was saved last stays, as it was still sound."""
        names = ", ".join(self.paths[row].name for row in self.rows(state.iteration))
        last = f"the last sound weights are in {self.folder / MODEL_FILE}, which --init can start from"
        kept = last if (self.folder / MODEL_FILE).exists() else "nothing had been saved yet"
        eased = "" if self.config.architecture.network in CLASSIFIED else ", or with mining eased in (ease_in=0.3)"
        return TrainingStoppedError(
            f"{reason}, iteration {state.iteration}; start anew with a lower learning rate{eased}; {kept}. "
            f"The batch: {names}"
        )

    def _seed(self, *numbers: int) -> int:
        return int(np.random.SeedSequence([self.config.seed, *numbers]).generate_state(1, np.uint64)[0])


def read_pictures(
    paths: list[Path],
    augmentation: Augmentation,
    folder: Path | None,
    on_progress: Callable[[Progress], None],
    preparation: Preparation,
    skipped: list[UnreadableImageError] | None,
) -> tuple[Tensor, NDArray[np.int64]]:
    """All pictures, and the positions of the readable ones."""
    height, width = picture_size(preparation, augmentation)
    pictures, problems = load_pictures(
        paths,
        height,
        width,
        folder=folder,
        on_progress=lambda done: on_progress(Progress("pictures", done, len(paths), {})),
    )
    if problems and skipped is None:
        raise UnreadableImageError.several(problems)
    if skipped is not None:
        skipped += problems
    bad = {problem.path for problem in problems}
    kept = np.asarray([row for row, path in enumerate(paths) if path not in bad], np.int64)
    with warnings.catch_warnings():
        # torch warns that a read-only map could be written to through a tensor; nothing here does.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(pictures), kept
