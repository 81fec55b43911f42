"""What every engine offers: the vectors of a batch, one exit after the other."""

import importlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dare.anytime.costs import ExitCosts
from dare.images import Preparation


class Walk(Protocol):
    """A batch on its way through a network, exit by exit, which leaves behind those who need not go on."""

    def exit(self, stop: Callable[[], bool] | None = None) -> NDArray[np.float32] | None:
        """(B, D) at the next exit; None behind the last one, or if `stop` said True on the way."""
        ...

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows of the batch only, in the order given."""
        ...


@runtime_checkable
class Runner(Protocol):
    """A network ready to run.

    Attributes:
        exit_names: what to call each exit, "stage 1" to "fusion".
        stage_names: the tapped stages, of which the fused vector is the weighted sum.
        preparation: how pictures become its input.
        costs: multiply-adds per exit.
        digest: of the checkpoint; "" for a network that was never saved.
        precision: what it computes in, "fp32" or "bf16".
        description: engine, precision, threads and device, to print beside measured times.
    """

    exit_names: tuple[str, ...]
    stage_names: tuple[str, ...]
    preparation: Preparation
    costs: ExitCosts
    digest: str
    precision: str

    @property
    def description(self) -> str: ...

    def exits(
        self, images: NDArray[np.float32], stop: Callable[[], bool] | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """(B, 3, H, W) -> (B, D) per exit, each computed when it is asked for.

        Args:
            stop: asked before each block of a stage; when it says True no further exit comes.
        """
        ...

    def walk(self, images: NDArray[np.float32]) -> Walk:
        """As `exits`, for batches that shrink on the way."""
        ...

    def embed(self, images: NDArray[np.float32]) -> tuple[list[NDArray[np.float32]], NDArray[np.float32] | None]:
        """(B, 3, H, W) -> (B, D) per tapped stage, and the fused (B, D) if there is fusion."""
        ...


RUNNERS = {"eager": "dare.runners.eager:EagerRunner"}
"""Name -> where the engine is; imported when it is asked for."""


def open_runner(model: Any, name: str = "eager", *, precision: str = "fp32", device: str = "cpu") -> Runner:
    """Make a network ready to run.

    Args:
        model: a checkpoint, its path, the folder of a training, or a `DaRe`; several make a cascade: they are evaluated
            in order, and each is one exit.
        name: one of `RUNNERS`.
        precision: "fp32", or "bf16" for the trunk.
        device: of torch.
    """
    if isinstance(model, list | tuple):
        from dare.runners.cascade import Cascade

        runners = [open_runner(part, name, precision=precision, device=device) for part in model]
        return runners[0] if len(runners) == 1 else Cascade(runners)
    if name not in RUNNERS:
        raise ValueError(f"unknown runner {name!r}; choose {', '.join(RUNNERS)}")
    module, _, attribute = RUNNERS[name].partition(":")
    build = getattr(importlib.import_module(module), attribute)
    runner: Runner = build(Path(model) if isinstance(model, str) else model, precision=precision, device=device)
    return runner
