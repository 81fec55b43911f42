"""What stays the same while a network trains: settings, pictures, batches, and where results go."""

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dare.models.checkpoints import MODEL_FILE, Checkpoint, save_checkpoint
from dare.models.devices import describe_device
from dare.models.macs import count_macs
from dare.training.alarm import TrainingStoppedError
from dare.training.augment import augment
from dare.training.batches import IdentityBatches
from dare.training.config import TrainConfig
from dare.training.state import STATE_FILE, TrainingState


@dataclass(slots=True)
class Run:
    """A training's settings, pictures and folder.

    Attributes:
        pictures, paths, people: one per picture.
        kept: rows of the pictures that could be read; the batches count along these.
        mapped: whether the pictures lie in a file; then a GPU gets those of a batch, else it gets all of them at once.
    """

    folder: Path
    config: TrainConfig
    device: torch.device
    pictures: Tensor
    paths: list[Path]
    people: NDArray[np.int64]
    kept: NDArray[np.int64]
    batches: IdentityBatches
    data_name: str
    mapped: bool = False

    def __post_init__(self) -> None:
        if self.device.type == "cuda" and not self.mapped:
            self.pictures = self.pictures.to(self.device)

    @property
    def fingerprint(self) -> str:
        """Of the labelled file names: a run resumes only on the pictures it was started with."""
        lines = [f"{self.people[row]} {self.paths[row].name}" for row in self.kept]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def rows(self, iteration: int) -> NDArray[np.int64]:
        """Which pictures are in the batch of an iteration."""
        return self.kept[self.batches[iteration]]

    def batch(self, iteration: int) -> tuple[Tensor, Tensor]:
        """Images (B, 3, H, W) and people (B,) of an iteration; a function of the seed and its number alone."""
        rows = self.rows(iteration)
        seed = np.random.SeedSequence([self.config.seed, iteration]).generate_state(1, np.uint64)
        # A GPU augments wherever the pictures are kept, so a run may be resumed with them kept elsewhere.
        place = self.device if self.device.type == "cuda" else self.pictures.device
        generator = torch.Generator(place).manual_seed(int(seed[0]))
        pictures = self.pictures[torch.from_numpy(rows).to(self.pictures.device)].to(place)
        images = augment(pictures, self.config.preparation, self.config.augmentation, generator)
        people = torch.from_numpy(self.people[rows]).to(self.device)
        return images.to(self.device, memory_format=torch.channels_last), people

    def save(self, state: TrainingState) -> Checkpoint:
        """Write the state to resume from, and the model to use; never one that is no longer made of numbers."""
        if not all(bool(tensor.isfinite().all()) for tensor in state.model.state_dict().values()):
            raise self.stopped(state, "the weights are no longer finite")
        state.save(self.folder / STATE_FILE, self.config, self.fingerprint)
        preparation = self.config.preparation
        training = {
            "config": asdict(self.config),
            "data": self.data_name,
            "people": len(np.unique(self.people[self.kept])),
            "pictures": len(self.kept),
            "unreadable": len(self.paths) - len(self.kept),
            "iterations": state.iteration,
            "seconds": round(state.seconds, 1),
            "device": describe_device(self.device),
            "torch": torch.__version__,
        }
        costs = count_macs(state.average, preparation.height, preparation.width)
        checkpoint = Checkpoint(state.average, self.config.architecture, preparation, costs, training)
        digest = save_checkpoint(self.folder / MODEL_FILE, checkpoint)
        return replace(checkpoint, digest=digest)

    def stopped(self, state: TrainingState, reason: str) -> TrainingStoppedError:
        """The error for a run that cannot go on; what was saved last stays, as it was still sound."""
        names = ", ".join(self.paths[row].name for row in self.rows(state.iteration))
        last = f"the last sound weights are in {self.folder / MODEL_FILE}, which --init can start from"
        kept = last if (self.folder / MODEL_FILE).exists() else "nothing had been saved yet"
        return TrainingStoppedError(
            f"{reason}, iteration {state.iteration}; start anew with a lower learning rate, or with mining eased in "
            f"(--ease-in 0.3); {kept}. The batch: {names}"
        )
