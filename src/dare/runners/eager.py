"""A network run by torch as it is."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dare.models.checkpoints import Checkpoint
from dare.models.dare import DaRe, Walk
from dare.models.devices import choose_device, describe_device
from dare.runners.network import Network, as_tensor
from dare.runners.runner import row_numbers


class EagerRunner:
    """The reference engine: every other one gives the same vectors.

    Args:
        model: a checkpoint or where one is; a bare `DaRe` is run at 256x128 with ImageNet's normalisation. The network
            is not copied: it is moved to the device and put into evaluation mode.
        precision: "fp32", or "bf16" for the trunk; heads stay in float32.
        device: of torch.
    """

    def __init__(self, model: Checkpoint | Path | DaRe, *, precision: str = "fp32", device: str = "cpu") -> None:
        if precision not in ("fp32", "bf16"):
            raise ValueError(f"the eager runner computes in fp32 or bf16, not in {precision!r}")
        network = Network.of(model)
        self.preparation, self.digest, self.costs = network.preparation, network.digest, network.costs
        self.exit_names, self.stage_names = network.model.exit_names, network.stage_names
        self.space = network.space
        self.device = choose_device(device)
        self.precision = precision
        self._mixed = precision == "bf16"
        self._network = network.model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def description(self) -> str:
        """As in `Runner`."""
        return f"eager, {self.precision}, {describe_device(self.device)}"

    def exits(
        self, images: NDArray[np.float32] | Tensor, stop: Callable[[], bool] | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """As `Runner.exits`."""
        walk = self.walk(images)
        while (vectors := walk.exit(stop)) is not None:
            yield vectors

    def walk(self, images: NDArray[np.float32] | Tensor) -> "EagerWalk":
        """As `Runner.walk`."""
        return EagerWalk(self._network.walk(as_tensor(images, self.device)), self.device.type, self._mixed)

    def embed(
        self, images: NDArray[np.float32] | Tensor
    ) -> tuple[list[NDArray[np.float32]], NDArray[np.float32] | None]:
        """(B, 3, H, W) -> (B, D) per tapped stage, and the fused (B, D) if there is fusion."""
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self._mixed):
            found = self._network(as_tensor(images, self.device))
        fused = None if found.fused is None else found.fused.float().cpu().numpy()
        return [stage.float().cpu().numpy() for stage in found.stages], fused


class EagerWalk:
    """A `DaRe`'s walk, with arrays in place of tensors."""

    def __init__(self, walk: Walk, device: str, mixed: bool) -> None:
        self._walk, self._device, self._mixed = walk, device, mixed

    def exit(self, stop: Callable[[], bool] | None = None) -> NDArray[np.float32] | None:
        """As `Walk.exit`."""
        with torch.inference_mode(), torch.autocast(self._device, torch.bfloat16, enabled=self._mixed):
            vectors = self._walk.exit(stop)
        return None if vectors is None else vectors.float().cpu().numpy()

    def keep(self, rows: Sequence[int]) -> None:
        """As `Walk.keep`."""
        with torch.inference_mode():
            self._walk.keep(row_numbers(rows))
