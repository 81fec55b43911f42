"""A network made ready for the CPU: batch norms folded, weights packed, convolutions fused with what follows them.

Each block is traced and given to torch's oneDNN graph compiler, which packs weights for the picture's real size and
fuses convolution + ReLU and convolution + addition + ReLU. torch offers this through TorchScript only, which it no
longer develops. So every block is compared with the block as it is when a network is opened; where compiling fails,
fuses nothing or gives other numbers, the block runs as it is, and `description` says so.
"""

import contextlib
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dare.models.checkpoints import Checkpoint
from dare.models.dare import DaRe, Step, blocks_of
from dare.models.devices import describe_device
from dare.runners.heads import pack_head
from dare.runners.network import Network, as_tensor
from dare.runners.steps import SLICES, StepWalk, Stop, Vectors, exits, slices, to_front

FUSED = "oneDNNFusionGroup"
"""What a compiled graph calls operations that became one."""

TOLERANCE = {"fp32": 1e-3, "bf16": 0.1}
"""How far a compiled block may be from the block as it is, relative to its largest output. bfloat16 keeps 8 bits, and
fused operations round in other places."""

jit: Any = torch.jit  # whose functions have no types

_compiling = threading.Lock()


class PrepackedRunner:
    """The engine for CPUs, see `Runner`.

    Args:
        model: as of `EagerRunner`.
        precision: "fp32", or "bf16" for the trunk; heads stay in float32.
        device: only "cpu".
    """

    def __init__(self, model: Checkpoint | Path | DaRe, *, precision: str = "fp32", device: str = "cpu") -> None:
        if precision not in TOLERANCE:
            raise ValueError(f"the prepacked runner computes in fp32 or bf16, not in {precision!r}")
        if device != "cpu":
            raise ValueError(f"the prepacked runner is for the CPU, not for {device!r}; choose the runner eager")
        network = Network.of(model)
        self.preparation, self.digest, self.costs = network.preparation, network.digest, network.costs
        self.exit_names, self.stage_names = network.model.exit_names, network.stage_names
        self.space = network.space
        self.precision = precision
        self._steps = PrepackedSteps(network.model, (self.preparation.height, self.preparation.width), precision)
        if problems := self.as_they_are:
            warnings.warn(f"{self.description}: {'; '.join(sorted(set(problems.values())))}", stacklevel=2)

    @property
    def as_they_are(self) -> dict[str, str]:
        """Blocks that could not be compiled, and why."""
        return self._steps.as_they_are()

    @property
    def description(self) -> str:
        """As in `Runner`."""
        problems = len(self.as_they_are)
        plain = f", {problems} of {self._steps.blocks} blocks as they are" if problems else ""
        return f"prepacked, {self.precision}, {describe_device(torch.device('cpu'))}{plain}"

    def exits(self, images: NDArray[np.float32] | Tensor, stop: Stop | None = None) -> Iterator[Vectors]:
        """As `Runner.exits`."""
        return exits(self.walk(images), stop)

    def walk(self, images: NDArray[np.float32] | Tensor) -> StepWalk:
        """As `Runner.walk`."""
        return StepWalk(self._steps, as_tensor(images, torch.device("cpu")))

    def embed(self, images: NDArray[np.float32] | Tensor) -> tuple[list[Vectors], Vectors | None]:
        """As `Runner.embed`."""
        # A slice goes through the whole network before the next one: its feature maps stay in the cache.
        size = SLICES[0] * self.preparation.frames
        walks = [self.walk(part) for part in torch.split(as_tensor(images, torch.device("cpu")), size)]
        stages, fused = zip(*(walk.embed() for walk in walks), strict=True)
        return (
            [np.concatenate(vectors) for vectors in zip(*stages, strict=True)],
            None if fused[0] is None else np.concatenate(fused),
        )


class PrepackedSteps:
    """`Steps` of a network's blocks and heads, compiled for one picture size."""

    def __init__(self, model: DaRe, size: tuple[int, int], precision: str) -> None:
        self.tapped = [step.head is not None for step in model.steps]
        self.fusion = None if model.fusion is None else model.fusion.weights.detach().numpy().copy()
        self.unit = model.fusion is not None and model.fusion.unit
        model.to(memory_format=torch.channels_last)
        self._frames = model.frames
        generator = torch.Generator().manual_seed(0)
        features = torch.randn(self._frames, 3, *size, generator=generator).to(memory_format=torch.channels_last)
        self._bodies: list[list[_Compiled]] = []
        self._heads: list[Callable[[Tensor], Tensor] | None] = []
        for number, step in enumerate(model.steps, start=1):
            assert isinstance(step, Step)
            body = []
            for place, block in enumerate(_joined(blocks_of(step.body)), start=1):
                body.append(_Compiled(f"step {number} block {place}", block, features, precision))
                features = body[-1](features)
            self._bodies.append(body)
            self._heads.append(None if step.head is None else pack_head(step))
        self.blocks = sum(map(len, self._bodies))

    def as_they_are(self) -> dict[str, str]:
        """As in `PrepackedRunner`."""
        return {block.name: block.problem for body in self._bodies for block in body if block.problem}

    def run(self, step: int, features: Tensor, stop: Stop | None) -> tuple[Tensor, Vectors | None] | None:
        """As `Steps.run`."""
        with torch.inference_mode():
            sizes = slices(len(features), self._frames)
            if len(sizes) == 1:
                return self._run(step, features, stop)
            parts = []
            for part in torch.split(features, sizes):
                if (result := self._run(step, part, stop)) is None:
                    return None
                parts.append(result)
            maps, vectors = zip(*parts, strict=True)
            return torch.cat(maps), np.concatenate(vectors) if self.tapped[step] else None

    def _run(self, step: int, features: Tensor, stop: Stop | None) -> tuple[Tensor, Vectors | None] | None:
        for block in self._bodies[step]:
            if stop is not None and stop():
                return None
            features = block(features)
        head = self._heads[step]
        return features, None if head is None else head(features).numpy()

    @torch.inference_mode()
    def keep(self, features: Tensor, rows: Sequence[int]) -> Tensor:
        """As `Steps.keep`."""
        kept: Tensor = to_front(features, rows)
        return kept


class _Compiled:
    """A block, compiled anew for each batch size and picture size when it first comes."""

    def __init__(self, name: str, block: nn.Module, features: Tensor, precision: str) -> None:
        self.name, self._block, self._precision = name, block.eval(), precision
        self.problem = ""
        self._run: Callable[[Tensor], Tensor] = self._as_it_is
        self._known: set[torch.Size] = set()
        try:
            self._run = self._traced(features)
            self._meet(features)
            self._compare(features)
        except _NotCompiledError as problem:
            self._run, self.problem = self._as_it_is, str(problem)

    def __call__(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        if not len(features):
            return self._as_it_is(features)
        if not self.problem and features.shape not in self._known:
            try:
                self._meet(features)
            except _NotCompiledError as problem:
                self._run, self.problem = self._as_it_is, str(problem)
                warnings.warn(f"{self.name} runs as it is from now on: it {problem}", stacklevel=2)
        return self._run(features)

    def _as_it_is(self, features: Tensor) -> Tensor:
        with self._autocast(), torch.inference_mode():
            result: Tensor = self._block(features)
        return result

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        return torch.autocast("cpu", torch.bfloat16, enabled=self._precision == "bf16", cache_enabled=False)

    def _traced(self, features: Tensor) -> Callable[[Tensor], Tensor]:
        try:
            with warnings.catch_warnings(), torch.no_grad(), self._autocast():
                warnings.simplefilter("ignore")  # that TorchScript will go, and that shapes are taken as they are
                compiled: Callable[[Tensor], Tensor] = jit.freeze(
                    jit.trace(self._block, (features,), check_trace=False)
                )
                return compiled
        except Exception as error:  # torch raises many kinds; all mean that the block cannot be compiled
            raise _NotCompiledError(f"cannot be traced ({_first_line(error)})") from error

    def _meet(self, features: Tensor) -> None:
        """Compile for a batch size: the first call looks at the shapes, the second one compiles."""
        try:
            with _compiling, _fusing(), torch.inference_mode():
                self._run(features)
                self._run(features)
        except (RuntimeError, AttributeError) as error:  # the latter where torch lacks what this needs
            raise _NotCompiledError(f"cannot be compiled ({_first_line(error)})") from error
        self._known.add(features.shape)

    def _compare(self, features: Tensor) -> None:
        for picture in (features, -features.flip(1)):  # a trace holds what the first one led to
            with torch.inference_mode():
                found, expected = self._run(picture).float(), self._as_it_is(picture).float()
            away = float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-12))
            if not away <= TOLERANCE[self._precision]:
                raise _NotCompiledError(f"gives other numbers when compiled, off by {100 * away:.2g} %")
        try:
            graph = str(jit.last_executed_optimized_graph())
        except AttributeError as error:
            raise _NotCompiledError(f"cannot be looked at ({error})") from error
        if FUSED not in graph:
            raise _NotCompiledError("has nothing that can be fused")


class _NotCompiledError(Exception):
    """Why a block runs as it is."""


@contextlib.contextmanager
def _fusing() -> Iterator[None]:
    """torch's switches are the process's: they are on only while a block is compiled."""
    before, autocast = jit.onednn_fusion_enabled(), torch._C._jit_set_autocast_mode(False)
    jit.enable_onednn_fusion(True)
    try:
        yield
    finally:
        jit.enable_onednn_fusion(before)
        torch._C._jit_set_autocast_mode(autocast)


def _joined(parts: Iterator[nn.Module]) -> Iterator[nn.Module]:
    """Blocks with the norms, activations and poolings behind them, so that these can be folded into them.

    What stands before the first one belongs to it.
    """
    block: list[nn.Module] = []
    weighty = False
    for part in parts:
        if any(isinstance(inner, nn.Conv2d | nn.Linear) for inner in part.modules()):
            if weighty:
                yield nn.Sequential(*block)
                block = []
            weighty = True
        block.append(part)
    if block:
        yield nn.Sequential(*block)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
