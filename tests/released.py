"""Checkpoints as the paper's released code saves them, with random weights, and what its networks make of pictures.

The networks are written once more, as plain functions of the tensors by their released names, from the released
code's models/dare_resnet.py and models/dare_densenet.py in evaluation mode.
"""

import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]
Shapes = dict[str, tuple[int, ...]]


def resnet50_shapes(hidden: int, size: int) -> Shapes:
    shapes = {"conv1.weight": (64, 3, 7, 7), **norm("bn1", 64)}
    channels = 64
    for layer, (blocks, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), start=1):
        for block in range(blocks):
            name = f"layer{layer}.{block}"
            shapes |= {f"{name}.conv1.weight": (width, channels, 1, 1), **norm(f"{name}.bn1", width)}
            shapes |= {f"{name}.conv2.weight": (width, width, 3, 3), **norm(f"{name}.bn2", width)}
            shapes |= {f"{name}.conv3.weight": (4 * width, width, 1, 1), **norm(f"{name}.bn3", 4 * width)}
            if block == 0:
                shapes[f"{name}.downsample.0.weight"] = (4 * width, channels, 1, 1)
                shapes |= norm(f"{name}.downsample.1", 4 * width)
            channels = 4 * width
        shapes |= head(f"layer{layer}_fc", channels, hidden, size)
    return {**shapes, "fusion_conv.weight": (1, 4, 1)}


def densenet201_shapes(hidden: int, size: int) -> Shapes:
    shapes = {"features.conv0.weight": (64, 3, 7, 7), **norm("features.norm0", 64)}
    channels = 64
    for block, layers in enumerate((6, 12, 48, 32), start=1):
        for layer in range(1, layers + 1):
            name = f"features.denseblock{block}.denselayer{layer}"
            shapes |= {**norm(f"{name}.norm.1", channels), f"{name}.conv.1.weight": (128, channels, 1, 1)}
            shapes |= {**norm(f"{name}.norm.2", 128), f"{name}.conv.2.weight": (32, 128, 3, 3)}
            channels += 32
        shapes |= head(f"layer_fc{block - 1}", channels, hidden, size)
        if block < 4:
            shapes |= norm(f"avgpool{block - 1}.0", channels)
            shapes |= norm(f"features.transition{block}.norm", channels)
            shapes[f"features.transition{block}.conv.weight"] = (channels // 2, channels, 1, 1)
            channels //= 2
    return {**shapes, **norm("features.norm5", channels), "fusion_conv.weight": (1, 4, 1)}


def norm(name: str, channels: int) -> Shapes:
    return {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}


def head(name: str, channels: int, hidden: int, size: int) -> Shapes:
    linear = {f"{name}.0.weight": (hidden, channels), f"{name}.0.bias": (hidden,)}
    return {**linear, **norm(f"{name}.1", hidden), f"{name}.4.weight": (size, hidden), f"{name}.4.bias": (size,)}


SHAPES: dict[str, Callable[[int, int], Shapes]] = {"resnet50": resnet50_shapes, "densenet201": densenet201_shapes}


def random_state(shapes: Shapes, seed: int = 0) -> State:
    """Weights that keep values in range, and statistics of batch norms that change what passes them."""
    generator = torch.Generator().manual_seed(seed)

    def draw(name: str, shape: tuple[int, ...]) -> Tensor:
        if name == "fusion_conv.weight":
            return torch.tensor([-0.54, -0.73, -0.77, -0.51]).reshape(1, 4, 1)  # those of the paper
        if len(shape) > 1:
            return torch.randn(shape, generator=generator) / (torch.Size(shape[1:]).numel() / 2) ** 0.5
        if name.endswith(("running_var", "weight")):
            return 0.5 + torch.rand(shape, generator=generator)
        return 0.3 * torch.randn(shape, generator=generator)

    return {name: draw(name, shape) for name, shape in shapes.items()}


def empty_state(shapes: Shapes) -> State:
    """Zeros that take no space in a file."""
    return {name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}


def resnet50_vectors(state: State, images: Tensor) -> list[Tensor]:
    """(B, D) of stages 1 to 4 and of the fusion, for (B, 3, 256, 128) images."""
    x = F.relu(normed(state, "bn1", F.conv2d(images, state["conv1.weight"], stride=2, padding=3)))
    x = F.max_pool2d(x, 3, 2, 1)
    vectors = []
    for layer, blocks in enumerate((3, 4, 6, 3), start=1):
        for block in range(blocks):
            name, stride = f"layer{layer}.{block}", 2 if block == 0 and layer > 1 else 1
            y = F.relu(normed(state, f"{name}.bn1", F.conv2d(x, state[f"{name}.conv1.weight"])))
            y = F.conv2d(y, state[f"{name}.conv2.weight"], stride=stride, padding=1)
            y = F.conv2d(F.relu(normed(state, f"{name}.bn2", y)), state[f"{name}.conv3.weight"])
            if block == 0:
                x = F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=stride)
                x = normed(state, f"{name}.downsample.1", x)
            x = F.relu(normed(state, f"{name}.bn3", y) + x)
        vectors.append(headed(state, f"layer{layer}_fc", pooled(x, layer)))
    return [*vectors, fused(state, vectors)]


def densenet201_vectors(state: State, images: Tensor) -> list[Tensor]:
    """As `resnet50_vectors`; the first three taps lie before the transition, behind a norm of their own."""
    x = F.conv2d(images, state["features.conv0.weight"], stride=2, padding=3)
    x = F.max_pool2d(F.relu(normed(state, "features.norm0", x)), 3, 2, 1)
    vectors = []
    for block, layers in enumerate((6, 12, 48, 32), start=1):
        for layer in range(1, layers + 1):
            name = f"features.denseblock{block}.denselayer{layer}"
            y = F.conv2d(F.relu(normed(state, f"{name}.norm.1", x)), state[f"{name}.conv.1.weight"])
            y = F.conv2d(F.relu(normed(state, f"{name}.norm.2", y)), state[f"{name}.conv.2.weight"], padding=1)
            x = torch.cat([x, y], 1)
        tap = "features.norm5" if block == 4 else f"avgpool{block - 1}.0"
        vectors.append(headed(state, f"layer_fc{block - 1}", pooled(F.relu(normed(state, tap, x)), block)))
        if block < 4:
            name = f"features.transition{block}"
            x = F.conv2d(F.relu(normed(state, f"{name}.norm", x)), state[f"{name}.conv.weight"])
            x = F.avg_pool2d(x, 2, 2)
    return [*vectors, fused(state, vectors)]


VECTORS: dict[str, Callable[[State, Tensor], list[Tensor]]] = {
    "resnet50": resnet50_vectors,
    "densenet201": densenet201_vectors,
}


def normed(state: State, name: str, x: Tensor) -> Tensor:
    mean, var, weight, bias = (state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, mean, var, weight, bias)


def pooled(x: Tensor, stage: int) -> Tensor:
    """By the fixed kernel that fits pictures of 256x128."""
    scale = 2 ** (4 - stage)
    return F.avg_pool2d(x, (8 * scale, 4 * scale)).flatten(1)


def headed(state: State, name: str, x: Tensor) -> Tensor:
    x = F.linear(x, state[f"{name}.0.weight"], state[f"{name}.0.bias"])
    return F.linear(F.relu(normed(state, f"{name}.1", x)), state[f"{name}.4.weight"], state[f"{name}.4.bias"])


def fused(state: State, vectors: list[Tensor]) -> Tensor:
    return F.conv1d(torch.stack(vectors, 1), state["fusion_conv.weight"]).squeeze(1)


def checkpoint(state: State, arch: str = "dare_R") -> dict[str, Any]:
    """The dictionary that the released training script saves."""
    moments = {"step": 60024, "exp_avg": torch.zeros(3), "exp_avg_sq": torch.zeros(3)}
    group = {"lr": 3e-7, "betas": (0.5, 0.999), "eps": 1e-8, "weight_decay": 1e-4, "params": [140243]}
    return {
        "iterations": 60024,
        "arch": arch,
        "state_dict": OrderedDict((f"module.{name}", tensor) for name, tensor in state.items()),
        "best_loss": 0.69,
        "optimizer": {"state": {140243: moments}, "param_groups": [group]},
    }


def save_as_today(content: Any, path: Path) -> None:
    torch.save(content, path)


def save_as_before_1_6(content: Any, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def save_as_0_2(content: Any, path: Path) -> None:
    """Byte for byte as torch 0.2 did on a GPU: a pickle of the structure, then the storages one after the other."""
    storages: list[Tensor] = []

    class Storage:
        """Of float32 values on the first GPU."""

        def __init__(self, tensor: Tensor) -> None:
            self.count = tensor.numel()
            self.key = str(len(storages))
            storages.append(tensor.contiguous())

    class Pickler(pickle.Pickler):
        def reducer_override(self, value: Any) -> Any:
            if isinstance(value, Tensor):
                shape = tuple(value.shape)
                return torch._utils._rebuild_tensor, (Storage(value), 0, shape, value.contiguous().stride())
            return NotImplemented

        def persistent_id(self, value: Any) -> Any:
            if isinstance(value, Storage):
                return "storage", torch.cuda.FloatStorage, value.key, "cuda:0", value.count, None
            return None

    with path.open("wb") as file:
        sizes = {"short": 2, "int": 4, "long": 8}
        for part in (
            0x1950A86A20F9469CFC6C,
            1001,
            {"protocol_version": 1001, "little_endian": sys.byteorder == "little", "type_sizes": sizes},
        ):
            pickle.dump(part, file, protocol=2)
        Pickler(file, protocol=2).dump(content)
        pickle.dump([str(key) for key in range(len(storages))], file, protocol=2)
        for tensor in storages:
            file.write(tensor.numel().to_bytes(8, "little"))
            file.write(tensor.numpy().tobytes())
