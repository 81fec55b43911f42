"""A network of torch with what a runner needs to know of it, and a batch as a tensor."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dare.anytime.costs import ExitCosts
from dare.images.reading import Preparation
from dare.models.checkpoints import Checkpoint, load_checkpoint
from dare.models.dare import DaRe, count_macs
from dare.retrieval.space import Space


@dataclass(frozen=True, slots=True)
class Network:
    """A network and, from its checkpoint, how it is used; attributes as those of `Runner`."""

    model: DaRe
    preparation: Preparation
    costs: ExitCosts
    digest: str
    space: Space = "own"

    @classmethod
    def of(cls, model: Checkpoint | Path | DaRe) -> "Network":
        """A checkpoint or where one is; a bare `DaRe` takes 256x128 with ImageNet's normalisation.

        The network is put into evaluation mode, not copied.
        """
        if isinstance(model, Path):
            model = load_checkpoint(model)
        if isinstance(model, Checkpoint):
            return cls(model.model.eval(), model.preparation, model.costs, model.digest, model.space)
        return cls(model.eval(), Preparation(frames=model.frames), count_macs(model), "")

    @property
    def stage_names(self) -> tuple[str, ...]:
        """As in `Runner`."""
        return tuple(f"stage {tap}" for tap in self.model.taps)


def as_tensor(images: NDArray[np.float32] | Tensor, device: torch.device) -> Tensor:
    """(B, 3, H, W), channels last, float32, on the device."""
    if isinstance(images, np.ndarray) and not (images.flags.c_contiguous and images.flags.writeable):
        images = np.array(images, np.float32)  # torch takes no mirrored views and warns of read-only ones
    tensor = torch.as_tensor(images)
    if tensor.ndim != 4 or tensor.shape[1] != 3:
        raise ValueError(f"expected images (B, 3, H, W), got shape {tuple(tensor.shape)}")
    return tensor.to(device, torch.float32, memory_format=torch.channels_last)
