"""Steps of a network recorded as graphs on a GPU: a step is one launch, however many kernels it has."""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dare.models.checkpoints import Checkpoint
from dare.models.dare import DaRe, Step
from dare.models.devices import choose_device, describe_device
from dare.runners.network import Network, as_tensor
from dare.runners.steps import StepWalk, Stop, Vectors, exits, to_front

Outputs = tuple[Tensor, Tensor | None]
"""Feature maps and, of a tapped step, (B, D)."""

Replay = Callable[[Tensor], Outputs]
"""Inputs -> outputs that the next replay overwrites."""

MOST_SIZES = 16
"""Batch and picture sizes that are recorded, each with memory of its own; others run kernel by kernel."""

WARM_UP = 3


class CapturedRunner:
    """The engine for NVIDIA's GPUs, see `Runner`; arguments as of `EagerRunner`."""

    def __init__(self, model: Checkpoint | Path | DaRe, *, precision: str = "fp32", device: str = "cuda") -> None:
        if precision not in ("fp32", "bf16"):
            raise ValueError(f"the captured runner computes in fp32 or bf16, not in {precision!r}")
        if not device.startswith("cuda"):
            raise ValueError(
                f"the captured runner is for NVIDIA's GPUs, not for {device!r}; choose the runner prepacked"
            )
        self._device = choose_device(device)
        network = Network.of(model)
        self.preparation, self.digest, self.costs = network.preparation, network.digest, network.costs
        self.exit_names, self.stage_names = network.model.exit_names, network.stage_names
        self.space = network.space
        self.precision = precision
        on_device = network.model.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._steps = CapturedSteps(on_device, precision == "bf16")

    @property
    def description(self) -> str:
        """As in `Runner`."""
        return f"captured, {self.precision}, {describe_device(self._device)}"

    def exits(self, images: NDArray[np.float32] | Tensor, stop: Stop | None = None) -> Iterator[Vectors]:
        """As `Runner.exits`."""
        return exits(self.walk(images), stop)

    def walk(self, images: NDArray[np.float32] | Tensor) -> StepWalk:
        """As `Runner.walk`."""
        return StepWalk(self._steps, as_tensor(images, self._device))

    def embed(self, images: NDArray[np.float32] | Tensor) -> tuple[list[Vectors], Vectors | None]:
        """As `Runner.embed`."""
        return self.walk(images).embed()


def record(run: Callable[[Tensor], Outputs], features: Tensor) -> Replay:
    """Record what `run` launches for inputs of this shape.

    Source: PyTorch, "CUDA semantics", CUDA graphs: warm up on a stream of its own, then capture.
    """
    inputs = features.clone()
    stream = torch.cuda.Stream(features.device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(features.device))
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            run(inputs)
    torch.cuda.current_stream(features.device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = run(inputs)

    def replay(features: Tensor) -> Outputs:
        inputs.copy_(features)
        graph.replay()
        return outputs

    return replay


class CapturedSteps:
    """`Steps` of a network on a GPU. `stop` is asked before each step; within one there is nothing to stop.

    Args:
        model: on its device, in evaluation mode.
        mixed: whether the trunk computes in bfloat16.
        record: how a step is recorded.
    """

    def __init__(
        self, model: DaRe, mixed: bool, record: Callable[[Callable[[Tensor], Outputs], Tensor], Replay] = record
    ) -> None:
        self._steps = [step for step in model.steps if isinstance(step, Step)]
        self.tapped = [step.head is not None for step in self._steps]
        self.fusion = None if model.fusion is None else model.fusion.weights.detach().cpu().numpy().copy()
        self.unit = model.fusion is not None and model.fusion.unit
        self._mixed, self._record = mixed, record
        self._known: dict[tuple[int, torch.Size], Replay] = {}
        self._one_at_a_time = threading.Lock()

    @torch.inference_mode()
    def run(self, step: int, features: Tensor, stop: Stop | None) -> tuple[Tensor, Vectors | None] | None:
        """As `Steps.run`."""
        if stop is not None and stop():
            return None
        with self._one_at_a_time:  # inputs and outputs of a graph are at one place
            return self._replayed(step, features)

    def _replayed(self, step: int, features: Tensor) -> tuple[Tensor, Vectors | None]:
        key = step, features.shape
        if key not in self._known and len(self._known) < MOST_SIZES * len(self._steps):
            self._known[key] = self._record(lambda inputs: self._run(step, inputs), features)
        replay = self._known.get(key)
        maps, vectors = replay(features) if replay else self._run(step, features)
        # Another walk's replay would overwrite the maps.
        return maps.clone() if replay else maps, None if vectors is None else vectors.float().cpu().numpy().copy()

    @torch.inference_mode()
    def keep(self, features: Tensor, rows: Sequence[int]) -> Tensor:
        """As `Steps.keep`."""
        kept: Tensor = to_front(features, rows)
        return kept

    def _run(self, number: int, features: Tensor) -> Outputs:
        step = self._steps[number]
        with torch.autocast(features.device.type, torch.bfloat16, enabled=self._mixed, cache_enabled=False):
            maps = step(features)
        return maps, step.embed(maps) if self.tapped[number] else None
