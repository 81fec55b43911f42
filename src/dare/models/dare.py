"""DaRe: a backbone's stages, a head on each, and a learnt fusion (paper, section 3.1); what its exits cost, and where
torch computes them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dare.anytime.costs import ExitCosts
from dare.models.stage import Stage

Head = Callable[[int], nn.Module]
"""Channels of a tapped stage -> a module that makes its vectors (B, D) of what was tapped (B, channels)."""


@dataclass(frozen=True, slots=True)
class StageEmbeddings:
    """Vectors of a batch, the same in training and evaluation; compared by Euclidean distance.

    Attributes:
        stages: (S, B, D), one per tapped stage, in order of depth.
        fused: (B, D), or None for a network without fusion.
    """

    stages: Tensor
    fused: Tensor | None

    def all(self) -> Tensor:
        """(S + 1, B, D) with the fused vectors last, or (S, B, D) without fusion: what is trained."""
        return self.stages if self.fused is None else torch.cat([self.stages, self.fused[None]])


class Step(nn.Module):
    """One stage and its head. Calling it runs the stage; the head runs when a vector is asked for."""

    def __init__(self, stage: Stage, head: nn.Module | None) -> None:
        super().__init__()
        self.body = stage.body
        self.tap = stage.tap if head else None
        self.head = head

    def forward(self, features: Tensor) -> Tensor:
        """Images or the previous feature map -> this stage's feature map."""
        result: Tensor = self.body(features)
        return result

    def until(self, features: Tensor, stop: Callable[[], bool]) -> Tensor | None:
        """As `forward`, asking before each block; None once the answer was yes."""
        for block in blocks_of(self.body):
            if stop():
                return None
            features = block(features)
        return features

    def embed(self, features: Tensor) -> Tensor:
        """This stage's feature map -> (B, D)."""
        assert self.tap is not None
        assert self.head is not None
        # Heads stay in float32 under autocast: bfloat16 would blur the distances that the loss compares.
        with torch.autocast(features.device.type, enabled=False):
            vectors: Tensor = self.head(self.tap(_in_float32(features)))
        return vectors


def _in_float32(features: Tensor) -> Tensor:
    if features.requires_grad and features.is_contiguous(memory_format=torch.channels_last):
        converted: Tensor = _InFloat32.apply(features)
        return converted
    return features.float()


class _InFloat32(torch.autograd.Function):
    """A map that keeps channels last, in float32; its gradient comes back in the map's own type and order.

    A pooling's gradient comes channel by channel. Added to the next stage's gradient as it is, it would make every
    kernel that follows slow.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        ctx.dtype = features.dtype
        return features.float() if features.dtype != torch.float32 else features.view_as(features)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.to(ctx.dtype, memory_format=torch.channels_last)


class Unit(nn.Module):
    """Vectors (..., D) of length 1, whose Euclidean distances rank as their cosines do."""

    def forward(self, vectors: Tensor) -> Tensor:
        return F.normalize(vectors, dim=-1)


class Fusion(nn.Module):
    """Weighted sum of the stages' embeddings, equation 1; any weights, also negative ones.

    Args:
        stages: S.
        unit: whether the sum is scaled to length 1.
    """

    def __init__(self, stages: int, unit: bool = False) -> None:
        super().__init__()
        self.unit = unit
        bound = stages**-0.5  # what torch draws for the released code's Conv1d(stages -> 1, kernel 1)
        self.weights = nn.Parameter(torch.empty(stages).uniform_(-bound, bound))
        if unit:
            nn.init.constant_(self.weights, 1 / stages)  # vectors of one space start as their mean

    def forward(self, stages: Tensor) -> Tensor:
        """(S, B, D) -> (B, D)."""
        total = (self.weights[:, None, None] * stages).sum(0)
        return F.normalize(total, dim=-1) if self.unit else total


class DaRe(nn.Module):
    """One network with an embedding after each of its stages.

    Exits of a four-stage network are stages 1, 2, 3 and the fused vector, which needs the full pass; without
    fusion they are the tapped stages.

    Args:
        stages: the backbone; stages behind the last tap are dropped.
        embedding_dim: D, the size of every embedding.
        hidden_dim: units of a head's first layer; 1024 in the released code, 1204 in the paper's text.
        taps: stages that get a head, counted from 1; all by default. TriNet is `taps=[4]` without fusion.
        fusion: whether the last exit is the learnt weighted sum of all stages.
        unit: whether every vector is scaled to length 1, so that Euclidean distances rank as cosines do.
        head: makes other heads than the paper's, as the baselines have them; it then decides the size of the vectors.
        frames: pictures that the last tap joins into one vector; tracklets come one after another.

    Attributes:
        steps: one module per stage.
        fusion: the weighted sum, or None.
        taps: the tapped stages, counted from 1.
        frames: pictures to a vector.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        embedding_dim: int = 128,
        hidden_dim: int = 1024,
        taps: Sequence[int] | None = None,
        fusion: bool = True,
        *,
        unit: bool = False,
        head: Head | None = None,
        frames: int = 1,
    ) -> None:
        super().__init__()
        if min(embedding_dim, hidden_dim) < 1:
            raise ValueError(f"embedding_dim and hidden_dim must be at least 1, got {embedding_dim} and {hidden_dim}")
        self.taps = tuple(range(1, len(stages) + 1)) if taps is None else tuple(sorted(set(taps)))
        if not self.taps or self.taps[0] < 1 or self.taps[-1] > len(stages):
            raise ValueError(f"taps must name stages from 1 to {len(stages)}, got {taps}")
        head = head or partial(_head, hidden_dim=hidden_dim, embedding_dim=embedding_dim, unit=unit)
        self.steps = nn.ModuleList(
            Step(stage, head(stage.channels) if number in self.taps else None)
            for number, stage in enumerate(stages[: self.taps[-1]], start=1)
        )
        self.fusion = Fusion(len(self.taps), unit) if fusion else None
        self.frames = frames

    def forward(self, images: Tensor) -> StageEmbeddings:
        """All embeddings of (B, 3, H, W) images."""
        stages = torch.stack([vectors for _, vectors in self.tapped(images)])
        return StageEmbeddings(stages, None if self.fusion is None else self.fusion(stages))

    def exits(self, images: Tensor, stop: Callable[[], bool] | None = None) -> Iterator[Tensor]:
        """(B, D) per exit, each computed when it is asked for: not asking for the next one is stopping.

        Args:
            stop: asked before every block of every stage; when it says True no further exit comes.
        """
        passed = []
        for _, vectors in self.tapped(images, stop):
            passed.append(vectors)
            if self.fusion is None or len(passed) < len(self.taps):
                yield vectors
            else:
                yield self.fusion(torch.stack(passed))

    def tapped(self, images: Tensor, stop: Callable[[], bool] | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Feature map and (B, D) vectors of every tapped stage, each computed when it is asked for."""
        features = images
        for step in self.steps:
            assert isinstance(step, Step)
            result: Tensor | None = step(features) if stop is None else step.until(features, stop)
            if result is None:
                return
            features = result
            if step.head is not None:
                yield features, step.embed(features)

    @property
    def embedding_names(self) -> tuple[str, ...]:
        """Names of the trained embeddings: every tapped stage, and the fusion."""
        return (*(f"stage {tap}" for tap in self.taps), *(["fusion"] if self.fusion else []))

    @property
    def exit_names(self) -> tuple[str, ...]:
        """What to call each exit: "stage 1", ..., "fusion"."""
        names = self.embedding_names
        return (*names[:-2], names[-1]) if self.fusion else names


def count_macs(model: DaRe, height: int = 256, width: int = 128) -> ExitCosts:
    """Multiply-adds of convolutions and matrix products up to each exit, heads included, for one picture.

    They are counted on one black picture, or one black tracklet for a network of tracklets, in evaluation mode.
    """
    parameter = next(model.parameters())
    image = torch.zeros(model.frames, 3, height, width, device=parameter.device, dtype=parameter.dtype)
    totals = []
    with evaluating(model), FlopCounterMode(display=False) as counter:
        for _ in model.exits(image):
            totals.append(counter.get_total_flops() // 2)
    frames = f" for {model.frames} frames" if model.frames > 1 else ""
    return ExitCosts(tuple(totals), f"counted at {height}x{width}{frames}, convolutions and matrix products")


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Inside, a network is in evaluation mode, without gradients; every module then returns to its own mode."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def choose_device(name: str) -> torch.device:
    """A device by its name: cpu, cuda, cuda:1, mps.

    Raises:
        ValueError: torch does not know the name, or this machine has no such device.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except Exception as error:  # torch raises a kind of its own for every back end
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"device {name!r} cannot be used ({reason}); choose cpu, or one that this machine has"
        ) from error
    return device


def describe_device(device: torch.device) -> str:
    """What computes: the GPU's name, or the processor's and the number of torch's threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{device.type}, {threads} thread{'s' if threads > 1 else ''}"


def blocks_of(body: nn.Module) -> Iterator[nn.Module]:
    """The parts of a body that run one after the other; sequences within sequences are opened."""
    if type(body) is not nn.Sequential:
        yield body
        return
    for part in body:
        yield from blocks_of(part)


def _head(channels: int, hidden_dim: int, embedding_dim: int, unit: bool) -> nn.Module:
    return nn.Sequential(
        nn.Linear(channels, hidden_dim),
        nn.BatchNorm1d(hidden_dim),
        nn.ReLU(),
        nn.Linear(hidden_dim, embedding_dim),
        *([Unit()] if unit else []),
    )
