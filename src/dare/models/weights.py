"""Where a backbone's weights come from: nothing, ImageNet, or a file."""

import re
import urllib.error
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

Weights = str | Path | None
"""None: random. "imagenet": published ones, which torch has or downloads, or a package brings. Else: a file's path."""

IMAGENET = "imagenet"

CLASSIFIERS = ("fc.", "classifier.", "head.")

# Counters of batch norms came with torch 0.4; files from before lack them and nothing depends on them.
COUNTER = "num_batches_tracked"

# DenseNet files from before torch 0.4 (and the paper's code) write norm.1, conv.2 inside dense layers.
OLD_DENSE_NAME = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.")


def initialise(
    network: nn.Module,
    imagenet: Any,
    weights: Weights,
    *,
    classifier: tuple[str, ...] = CLASSIFIERS,
    by_order: bool = False,
) -> None:
    """Load weights into a classification network; its own classifier's may be missing.

    Args:
        imagenet: torchvision's handle of published weights.
        classifier: beginnings of the names of the classifier's weights.
        by_order: whether a file may have other names, as `under_own_names` tells them.

    Raises:
        ConnectionError: ImageNet weights were asked for, aren't on this machine, and cannot be downloaded.
        ValueError: the file holds no weights, or those of another network.
    """
    if weights is None:
        return
    if weights == IMAGENET:
        try:
            state = imagenet.get_state_dict(progress=False, check_hash=True)
        except (urllib.error.URLError, OSError) as error:
            raise ConnectionError(
                f"the ImageNet weights are not on this machine and cannot be downloaded ({error}); "
                "give weights= the path of a file you have, or train from random weights"
            ) from error
    else:
        state = read_state(Path(weights))
    state = {OLD_DENSE_NAME.sub(r"\1\2.", name): tensor for name, tensor in state.items()}
    if by_order:
        state = under_own_names(network, state, classifier)
    load_strictly(network, state, str(weights), optional=classifier)


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors file, or of a .pth file, none of whose code is run."""
    if not path.is_file():
        raise FileNotFoundError(f"no file of weights at {path}")
    if path.suffix == ".safetensors":
        try:
            return safetensors.torch.load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path} is not a readable file of weights: {error}") from error
    state = unpickled(path)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} must hold a flat dictionary of tensors (a state_dict)")
    return state


def unpickled(path: Path) -> Any:
    """What `torch.save` has written, read with `weights_only`: no code in it runs.

    Raises:
        ValueError: damaged, not of torch, or more than tensors, numbers and texts.
    """
    content, damaged = None, None
    try:
        if zipfile.is_zipfile(path):  # of which torch does not look at the checksums
            with zipfile.ZipFile(path) as file:
                damaged = file.testzip()
        if damaged is None:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Detected pickle protocol")  # `_refusal` says what is wrong
                content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds; all mean an unusable file
        raise ValueError(f"{path} is not a readable file of weights: it {_refusal(str(error))}") from error
    if damaged is not None:
        raise ValueError(f"{path} is damaged in {damaged}; take another copy")
    return content


def _refusal(words: str) -> str:
    """What is wrong with a file, by the words of torch's unpickler, which has no values for it; tests pin them."""
    if "Unsupported operand 149" in words:  # with which pickles of protocol 4 and newer begin
        return (
            "is a pickle of protocol 4 or newer, expected 2, which torch.save writes by itself; nothing in it was "
            "run; load it where it comes from if you trust that, and save it without pickle_protocol"
        )
    if asked := re.search(r"GLOBAL ([\w.]+)", words):
        return (
            f"is a pickle that asks for {asked[1]}, expected tensors, numbers and texts alone; nothing in it was "
            "run; save the network's state_dict() where the file comes from"
        )
    return "is not a file that torch.save has written, or it is damaged; take another copy"


def under_own_names(
    network: nn.Module, state: dict[str, Tensor], classifier: tuple[str, ...] = CLASSIFIERS
) -> dict[str, Tensor]:
    """Tensors that another code base has written in the network's order, under the network's names for them.

    Each must have the shape and the kind (weight, bias, running_mean, running_var) of its counterpart. Otherwise, or if
    the names are already the network's, the tensors come back unchanged.

    Args:
        classifier: beginnings of the network's names of its classifier, which stands last and may be missing.
    """
    own = {name: tensor for name, tensor in network.state_dict().items() if COUNTER not in name}
    trunk = {name: tensor for name, tensor in own.items() if not name.startswith(classifier)}
    given = {name: tensor for name, tensor in state.items() if COUNTER not in name}
    if trunk.keys() <= given.keys() or not len(trunk) <= len(given) <= len(own):
        return state
    pairs = list(zip(trunk.items(), given.items(), strict=False))
    same = all(
        wanted.shape == tensor.shape and name.rpartition(".")[2] == other.rpartition(".")[2]
        for (name, wanted), (other, tensor) in pairs
    )
    return {name: tensor for (name, _), (_, tensor) in pairs} if same else state


def load_strictly(network: nn.Module, state: dict[str, Tensor], origin: str, optional: tuple[str, ...] = ()) -> None:
    """Load every tensor, or say in one line why these weights belong to another network.

    Args:
        optional: beginnings of names that may be missing, superfluous or of another shape.
    """
    own, given = (
        {name: tensor for name, tensor in tensors.items() if not name.startswith(optional)}
        for tensors in (network.state_dict(), state)
    )
    refuse_differences(own, given, origin)
    network.load_state_dict(given, strict=False)


def refuse_differences(own: Mapping[str, Tensor], given: Mapping[str, Tensor], origin: str) -> None:
    """Say in one line why tensors don't fit a network's own: missing or unknown names, other shapes."""
    needed = {name for name in own if COUNTER not in name}
    problems = [
        *(f"lacks {name}" for name in sorted(needed - given.keys())),
        *(f"has an unknown {name}" for name in sorted(given.keys() - own.keys())),
        *(
            f"has {name} of shape {tuple(given[name].shape)}, expected {tuple(own[name].shape)}"
            for name in sorted(given.keys() & own.keys())
            if given[name].shape != own[name].shape
        ),
    ]
    if problems:
        more = f" (and {len(problems) - 1} more differences)" if len(problems) > 1 else ""
        raise ValueError(f"{origin} holds the weights of another network: it {problems[0]}{more}")
