"""A small network and its graphs, which tests of exports share: making graphs takes seconds."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from dare import count_macs
from dare.exporting import step_files, writing
from dare.exporting.graphs import step_graphs
from dare.images.preparation import Preparation
from dare.models.checkpoints import Architecture, Checkpoint, load_checkpoint, save_checkpoint
from dare.models.dare import DaRe
from dare.models.stage import Stage
from dare.runners.exported import Manifest

HEIGHT, WIDTH = 64, 32
ENGINES = ("onnx", "openvino")


def network(architecture: Architecture, stages: list[Stage] | None = None) -> Checkpoint:
    """A seeded one for small pictures."""
    torch.manual_seed(0)
    shape = architecture.embedding_dim, architecture.hidden_dim, architecture.taps, architecture.fusion
    model = (architecture.build() if stages is None else DaRe(stages, *shape)).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
            module.running_mean.uniform_(-0.1, 0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    return Checkpoint(model, architecture, Preparation(HEIGHT, WIDTH), count_macs(model, HEIGHT, WIDTH))


@cache
def slim() -> Checkpoint:
    """A slim network with small heads."""
    return network(Architecture("slim", embedding_dim=8, hidden_dim=16))


def saved_slim(folder: Path) -> Checkpoint:
    """`slim` with a digest."""
    save_checkpoint(folder / "model.safetensors", slim())
    return load_checkpoint(folder)


@cache
def slim_graphs() -> tuple[Any, ...]:
    return tuple(step_graphs(slim().model, HEIGHT, WIDTH))


def with_graphs(graphs: tuple[Any, ...]) -> Any:
    """Exports inside this context take these graphs, of a network that has its weights from the same seed."""

    def ready(*_: object) -> Iterator[Any]:
        return iter(graphs)

    return mock.patch.object(step_files, "step_graphs", ready)


def export_slim(out: Path, format: str, checkpoint: Checkpoint | None = None, **settings: Any) -> Manifest:
    """`export` of the slim network, or of one that was saved with its weights."""
    with with_graphs(slim_graphs()):
        return writing.export(checkpoint or slim(), out, format, **settings)


def images(count: int, seed: int = 0) -> np.ndarray:
    """(count, 3, H, W)."""
    return np.random.default_rng(seed).normal(size=(count, 3, HEIGHT, WIDTH)).astype(np.float32)


def same(found: np.ndarray, expected: np.ndarray) -> None:
    """Equal but for rounding: 1e-4 of the largest value."""
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max(initial=0))
