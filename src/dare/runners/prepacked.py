"""A network made ready for the CPU: batch norms folded, weights packed, convolutions fused with what follows them.

Each block is traced and given to torch's oneDNN graph compiler, which packs weights for the picture's real size and
fuses convolution + ReLU and convolution + addition + ReLU. torch offers this through TorchScript only, which it no
longer develops. So every block is compared with the block as it is when a network is opened; where compiling fails,
fuses nothing or gives other numbers, the block runs as it is, and `description` says so.
"""

import contextlib
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dare.models.checkpoints import Checkpoint
from dare.models.dare import DaRe, Step, Unit, blocks_of
from dare.models.stage import GlobalAveragePool, StripePool
from dare.runners.eager import as_checkpoint, torch_runner, torch_steps
from dare.runners.runner import SLICES, Runner, Stop, Vectors, slices

FUSED = "oneDNNFusionGroup"
"""What a compiled graph calls operations that became one."""

TOLERANCE = {"fp32": 1e-3, "bf16": 0.1}
"""How far a compiled block may be from the block as it is, relative to its largest output. bfloat16 keeps 8 bits, and
fused operations round in other places."""

PAPERS_HEAD = [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
HEADS = (PAPERS_HEAD, [*PAPERS_HEAD, Unit])
"""Heads that are folded: the batch norm into the first layer."""

jit: Any = torch.jit  # whose functions have no types

_compiling = threading.Lock()


def open_prepacked(
    model: Checkpoint | DaRe | Path, *, precision: str = "fp32", device: str = "cpu", threads: int | None = None
) -> Runner:
    """The engine for CPUs.

    Args:
        model: as of `open_eager`.
        precision: "fp32", or "bf16" for the trunk; heads stay in float32.
        device: only "cpu".
        threads: as of `open_eager`.
    """
    if precision not in TOLERANCE:
        raise ValueError(f"the prepacked runner computes in fp32 or bf16, not in {precision!r}")
    if device != "cpu":
        raise ValueError(f"the prepacked runner is for the CPU, not for {device!r}; choose the runner eager")
    network = as_checkpoint(model)
    packed = _Packed(network.model, (network.preparation.height, network.preparation.width), precision)
    words = f"prepacked, {precision}"
    if problems := packed.problems():
        words = f"{words}, {len(problems)} of {packed.blocks} blocks as they are"
        warnings.warn(f"{words}: {'; '.join(sorted(set(problems)))}", stacklevel=2)
    steps = torch_steps(network.model, packed.run, threads)
    # A slice goes through the whole network before the next one: its feature maps stay in the cache.
    together = SLICES[0] * network.preparation.frames
    return torch_runner(network, steps, precision, words, torch.device("cpu"), together)


class _Packed:
    """A network's blocks and heads, compiled for one image size."""

    def __init__(self, model: DaRe, size: tuple[int, int], precision: str) -> None:
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

    def problems(self) -> list[str]:
        """Why blocks could not be compiled, one for each."""
        return [block.problem for body in self._bodies for block in body if block.problem]

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
            return torch.cat(maps), None if vectors[0] is None else np.concatenate(vectors)

    def _run(self, step: int, features: Tensor, stop: Stop | None) -> tuple[Tensor, Vectors | None] | None:
        for block in self._bodies[step]:
            if stop is not None and stop():
                return None
            features = block(features)
        head = self._heads[step]
        return features, None if head is None else head(features).numpy()


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


def pack_head(step: Step) -> Callable[[Tensor], Tensor]:
    """Feature map -> (B, D) of a tapped step; heads of another form than the paper's run as they are."""
    is_papers = isinstance(step.head, nn.Sequential) and [type(part) for part in step.head] in HEADS
    return FoldedHead(step) if is_papers else step.embed


class FoldedHead:
    """Feature map -> (B, D), in float32: the same as `Step.embed` up to rounding.

    Args:
        step: a tapped one, with the paper's head.
    """

    def __init__(self, step: Step) -> None:
        assert step.tap is not None
        assert isinstance(step.head, nn.Sequential)
        first, norm, _, last, *unit = step.head
        assert isinstance(first, nn.Linear)
        assert isinstance(norm, nn.BatchNorm1d)
        assert isinstance(last, nn.Linear)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        bias = (first.bias - norm.running_mean) * scale + norm.bias
        # Transposed: a product of one row with it reads memory in order.
        self._hidden, self._hidden_bias = (first.weight * scale[:, None]).detach().t().contiguous(), bias.detach()
        self._last, self._last_bias = last.weight.detach().t().contiguous(), last.bias.detach()
        self._tap, self._unit = step.tap, bool(unit)

    def __call__(self, features: Tensor) -> Tensor:
        hidden = torch.addmm(self._hidden_bias, _pooled(self._tap, features.float()), self._hidden).relu_()
        vectors = torch.addmm(self._last_bias, hidden, self._last)
        return F.normalize(vectors, dim=1) if self._unit else vectors


def _pooled(tap: nn.Module, features: Tensor) -> Tensor:
    """As the tap does, by means and maxima over memory in order: maps are channels last."""
    if isinstance(tap, nn.Sequential) and isinstance(tap[-1], GlobalAveragePool):
        features, tap = tap[:-1](features), tap[-1]
    stripes = tap.stripes if isinstance(tap, StripePool) else 1
    if not isinstance(tap, GlobalAveragePool | StripePool) or features.shape[2] % stripes:
        pooled: Tensor = tap(features)
        return pooled
    batch, channels, height, width = features.shape
    rows = features.permute(0, 2, 3, 1).reshape(batch, stripes, height // stripes * width, channels)
    means = rows.mean(2).transpose(1, 2).flatten(1)
    return torch.cat([means, rows.amax((1, 2))], 1) if isinstance(tap, StripePool) and tap.peak else means
