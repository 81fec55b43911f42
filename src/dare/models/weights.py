"""Where a backbone's weights come from: nothing, ImageNet, or a file."""

import re
import urllib.error
import warnings
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from dare.datasets.kinds import PICKLED, WEIGHTS, kind_of, misplaced

Weights = str | Path | None
"""None: random. "imagenet": published ones, which torch has or downloads, or a package brings. Else: a file's path."""

IMAGENET = "imagenet"

CLASSIFIERS = ("fc.", "classifier.", "head.")

EXPECTED = "a file of weights"

PARCELS = ("state_dict", "model_state_dict", "model", "net", "network", "params", "weights")
"""Under one of these names training scripts save the tensors, beside the epoch, the optimiser's state and so on."""

DEEPEST = 3
"""Parcels, or wrappers, within each other."""

HELD = ("model.", "net.", "network.")
"""Begin all names where a training's own class holds the network."""

BESIDE = (
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "numpy.dtypes.Float64DType",
    "numpy.dtypes.Float32DType",
    "numpy.dtypes.Int64DType",
    "argparse.Namespace",
)
"""What stands beside the tensors, an accuracy or the command line's options: passed over."""

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
                "give a file you have (--weights FILE), or train from random weights"
            ) from error
    else:
        state = read_state(Path(weights))
    state = {OLD_DENSE_NAME.sub(r"\1\2.", name): tensor for name, tensor in state.items()}
    if by_order:
        state = under_own_names(network, state, classifier)
    load_strictly(network, state, str(weights), optional=classifier)


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors file, or of what `torch.save` has written, none of whose code is run.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it holds no weights; says what it is instead.
    """
    if not path.exists():
        raise FileNotFoundError(misplaced(path, EXPECTED) or f"no file of weights at {path}")
    if kind_of(path) is not WEIGHTS:
        return without_wrappers(path, unpacked(path, unpickled(path)))
    try:
        return without_wrappers(path, safetensors.torch.load_file(path))
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable file of weights: {error}") from error


def unpacked(path: Path, content: Any) -> dict[str, Tensor]:
    """The tensors in what a training script has saved: alone, or beside other things under one of `PARCELS`."""
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, expected a dictionary of tensors (a state_dict)")
    state = content
    for _ in range(DEEPEST):
        state = next((state[name] for name in PARCELS if isinstance(state.get(name), dict)), state)
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        found = ", ".join(map(str, list(content)[:8])) or "nothing"
        raise ValueError(
            f"{path} holds no dictionary of tensors, alone or as {', '.join(PARCELS)}; found {found}; "
            "save the network's state_dict()"
        )
    return state


def without_wrappers(path: Path, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by the names that they have in their network, not in what it was wrapped in."""
    names = {name: str(name).replace("_orig_mod.", "") for name in state}
    for _ in range(DEEPEST):
        names = {name: bare.removeprefix("module.") for name, bare in names.items()}
        for holder in HELD:
            if all(bare.startswith(holder) for bare in names.values()):
                names = {name: bare.removeprefix(holder) for name, bare in names.items()}
    if twins := [name for name, count in Counter(names.values()).items() if count > 1]:
        raise ValueError(f"{path} has {twins[0]} twice, in two spellings; take another copy")
    return {names[name]: tensor for name, tensor in state.items()}


def unpickled(path: Path) -> Any:
    """What `torch.save` has written, read with `weights_only`: no code in it runs.

    Raises:
        ValueError: damaged, not of torch, or more than tensors, numbers and texts.
    """
    if kind_of(path) not in (None, PICKLED):
        raise ValueError(misplaced(path, EXPECTED))
    content, damaged = None, None
    try:
        if zipfile.is_zipfile(path):  # of which torch does not look at the checksums
            with zipfile.ZipFile(path) as file:
                damaged = file.testzip()
        if damaged is None:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Detected pickle protocol")  # `_refusal` says what is wrong
                with torch.serialization.safe_globals([(_Beside, name) for name in BESIDE]):
                    content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds; all mean an unusable file
        raise ValueError(f"{path} is not a readable file of weights: it {_refusal(str(error))}") from error
    if damaged is not None:
        raise ValueError(f"{path} is damaged in {damaged}; take another copy")
    return content


class _Beside:
    """In place of a value that isn't needed; whatever it was to be made from is ignored."""

    def __new__(cls, *_: object) -> "_Beside":
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        pass


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
    """Load every tensor, or say in one line why these weights belong to another network, or are no numbers.

    Args:
        optional: beginnings of names that may be missing, superfluous or of another shape.
    """
    own, given = (
        {name: tensor for name, tensor in tensors.items() if not name.startswith(optional)}
        for tensors in (network.state_dict(), state)
    )
    refuse_differences(own, given, origin)
    refuse_unusable(given, origin)
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


def refuse_unusable(given: Mapping[str, Tensor], origin: str) -> None:
    """Say in one line which tensor no network can compute with."""
    for name, tensor in given.items():
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_complex() or tensor.is_quantized:
            kind = f"{tensor.dtype}, {tensor.layout}, on {tensor.device}"
            raise ValueError(f"{origin} has {name} as {kind}, expected a plain tensor of real numbers")
        if not tensor.isfinite().all():
            raise ValueError(f"{origin} has NaN or infinity in {name}; take another copy")
        if name.endswith("running_var") and not (tensor >= 0).all():
            raise ValueError(f"{origin} has a negative variance in {name}; take another copy")
