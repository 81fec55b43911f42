"""Checkpoints of the code that was released with the paper: read as data, checked tensor by tensor, renamed.

Its training script saves a dictionary: the network's tensors under `state_dict`, each name begun by `module.`, beside
`arch`, `iterations`, `best_loss` and the optimiser's state. It has two networks, DaRe(R) and DaRe(De).

Source: github.com/mileyan/DARENet at ce037bc: main.py, models/dare_resnet.py, models/dare_densenet.py.
"""

import hashlib
from pathlib import Path
from typing import Any

from torch import Tensor

from dare.datasets.kinds import misplaced
from dare.images.preparation import Preparation
from dare.models.checkpoints import MOST_UNITS, Architecture, Checkpoint, CheckpointError
from dare.models.dare import DaRe, count_macs
from dare.models.weights import (
    OLD_DENSE_NAME,
    refuse_differences,
    refuse_unusable,
    unpacked,
    unpickled,
    without_wrappers,
)

STAGES = 4

FUSION = {"fusion_conv.weight": "fusion.weights"}
"""A convolution of kernel 1 over the four vectors, (1, 4, 1): four numbers, as ours are."""


def _head(theirs: str, stage: int) -> dict[str, str]:
    """Linear layer, batch norm, linear layer; between the last two they have a dropout of rate 0, we have none."""
    return {f"{theirs}.{part}.": f"steps.{stage}.head.{own}." for part, own in ((0, 0), (1, 1), (4, 3))}


NAMES: dict[str, dict[str, str]] = {
    "resnet50": {
        "conv1.": "steps.0.body.0.",
        "bn1.": "steps.0.body.1.",
        "layer1.": "steps.0.body.4.",
        **{f"layer{stage + 1}.": f"steps.{stage}.body." for stage in range(1, STAGES)},
        **{theirs: own for stage in range(STAGES) for theirs, own in _head(f"layer{stage + 1}_fc", stage).items()},
        **FUSION,
    },
    "densenet201": {
        "features.conv0.": "steps.0.body.0.",
        "features.norm0.": "steps.0.body.1.",
        "features.denseblock1.": "steps.0.body.4.",
        **{f"features.transition{stage}.": f"steps.{stage}.body.0." for stage in range(1, STAGES)},
        **{f"features.denseblock{stage + 1}.": f"steps.{stage}.body.1." for stage in range(1, STAGES)},
        **{f"avgpool{stage}.0.": f"steps.{stage}.tap.0." for stage in range(STAGES - 1)},
        "features.norm5.": "steps.3.tap.0.",
        **{theirs: own for stage in range(STAGES) for theirs, own in _head(f"layer_fc{stage}", stage).items()},
        **FUSION,
    },
}
"""Backbone -> how names begin in the released code, and in ours."""

MARKS = {
    "resnet50": "layer3.5.conv3.weight",
    "densenet201": "features.denseblock3.denselayer48.conv2.weight",
}
"""A tensor by which a file's network is recognised."""


def load_released(path: str | Path, backbone: str) -> DaRe:
    """The network of a checkpoint that the paper's released code has saved, in evaluation mode.

    The sizes of its heads are read from the file. Nothing in the file is run.

    Args:
        path: of `checkpoint.pth.tar`, or of the `state_dict` in it alone.
        backbone: "resnet50" for DaRe(R), "densenet201" for DaRe(De).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another backbone; as `CheckpointError`, a file that is damaged, holds code or another network.
    """
    return released_checkpoint(path, backbone).model


def released_checkpoint(path: str | Path, backbone: str) -> Checkpoint:
    """The same with all that is needed to use it: 256x128 input as in the released scripts, counted costs.

    Its `training` says which file it was made from, and how long that network had been trained.
    """
    path = Path(path)
    if backbone not in NAMES:
        raise ValueError(f"released checkpoints are of {' and '.join(NAMES)}, got backbone {backbone!r}")
    if not path.exists():
        missing = f"no released checkpoint at {path}; give its checkpoint.pth.tar"
        raise FileNotFoundError(misplaced(path, "a released checkpoint") or missing)
    try:
        model, architecture, about = _load(path, backbone)
    except ValueError as error:
        raise CheckpointError(str(error)) from error
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    training = {
        "origin": "released weights of the paper's authors (Wang et al., CVPR 2018), or of a training with their code",
        "file": path.name,
        "sha256": digest,
        **{name: about[name] for name in ("arch", "iterations") if isinstance(about.get(name), str | int)},
    }
    preparation = Preparation()
    costs = count_macs(model, preparation.height, preparation.width)
    return Checkpoint(model, architecture, preparation, costs, training)


def _load(path: Path, backbone: str) -> tuple[DaRe, Architecture, dict[str, Any]]:
    """The network, how it is built, and all that is in the file."""
    content = unpickled(path)
    state = _state(path, content)
    _recognise(path, state, backbone)
    names = NAMES[backbone]
    hidden_dim, embedding_dim = _sizes(path, state, names)
    architecture = Architecture(backbone, hidden_dim=hidden_dim, embedding_dim=embedding_dim)
    model = architecture.build().eval()
    own = {_released_name(name, names): (name, tensor) for name, tensor in model.state_dict().items()}
    refuse_differences({name: _released_shape(name, tensor) for name, (_, tensor) in own.items()}, state, str(path))
    refuse_unusable(state, str(path))
    fitting = {own[name][0]: tensor.reshape(own[name][1].shape) for name, tensor in state.items()}
    model.load_state_dict(fitting, strict=False)
    return model, architecture, content


def _state(path: Path, content: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors, in today's spelling of DenseNet's names."""
    state = without_wrappers(path, unpacked(path, content))
    return {OLD_DENSE_NAME.sub(r"\1\2.", name): tensor for name, tensor in state.items()}


def _recognise(path: Path, state: dict[str, Tensor], backbone: str) -> None:
    looks = next((name for name, mark in MARKS.items() if mark in state), None)
    if looks is None:
        some = ", ".join(list(state)[:3]) or "nothing"
        raise ValueError(f"{path} holds neither of the released code's networks, {' and '.join(NAMES)}: {some}...")
    if looks != backbone:
        raise ValueError(f"{path} looks like {looks}, expected {backbone}; give {looks} as its backbone")


def _sizes(path: Path, state: dict[str, Tensor], names: dict[str, str]) -> tuple[int, int]:
    """Units of the heads' first layers, and values of an embedding."""
    first = [_released_name(f"steps.{stage}.head.0.weight", names) for stage in range(STAGES)]
    last = _released_name("steps.0.head.3.weight", names)
    missing = [name for name in first if name not in state]
    if len(missing) == STAGES:
        raise ValueError(
            f"{path} has no heads ({', '.join(missing)}): a trunk alone; train heads on it with dare train --weights"
        )
    if missing:
        stage = first.index(missing[0]) + 1
        raise ValueError(f"{path} lacks the head of stage {stage} ({missing[0]}); take another copy")
    if last not in state or state[first[0]].ndim != 2 or state[last].ndim != 2:
        raise ValueError(f"{path} has no linear layers {first[0]} and {last}, so its heads' sizes are unknown")
    units, values = len(state[first[0]]), len(state[last])
    if not 1 <= min(units, values) <= max(units, values) <= MOST_UNITS:
        raise ValueError(
            f"{path} has heads of {units} units and vectors of {values}, expected 1 to {MOST_UNITS} of each; "
            "take another copy"
        )
    return units, values


def _released_name(own: str, names: dict[str, str]) -> str:
    """What a tensor of ours is called in the released code."""
    theirs, ours = next((theirs, ours) for theirs, ours in names.items() if own.startswith(ours))
    return theirs + own.removeprefix(ours)


def _released_shape(name: str, tensor: Tensor) -> Tensor:
    return tensor.reshape(1, -1, 1) if name in FUSION else tensor
