"""Where on a picture a network answers: how strong each place of its stages' feature maps is."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dare.images.preparation import prepare
from dare.images.reading import read_resized
from dare.models.checkpoints import Checkpoint
from dare.models.dare import DaRe, Step, blocks_of, evaluating
from dare.models.stage import MapPool


def activation_maps(model: DaRe, images: Tensor) -> list[Tensor]:
    """The squared length, over channels, of what each tapped stage pools at each place.

    A strong place weighs much in the pooled vector; this doesn't say what the head then makes of it. The fused vector
    is a weighted sum of the stages' vectors and has no map of its own. The network runs in evaluation mode and then
    returns to the mode it was in.

    Args:
        images: (B, 3, H, W), prepared as the network expects.

    Returns:
        (B, h, w) per tapped stage, never negative; a map sums to the squared length of the whole feature map.

    Raises:
        ValueError: a stage gives no map of two dimensions.

    Source: Zagoruyko & Komodakis, "Paying More Attention to Attention", 2017, section 3.1, the sum of squares; the
    same sums that torchreid draws.
    """
    maps, features = [], images
    with evaluating(model):
        for step in model.steps:
            assert isinstance(step, Step)
            features = step(features)
            if step.tap is not None:
                maps.append(_strength(step.tap, features))
    return maps


def maps_of_picture(networks: Checkpoint | Sequence[Checkpoint], path: Path) -> dict[str, NDArray[np.float32]]:
    """The activation maps of one picture, resized as a whole to the network's input: stage name -> (h, w).

    Args:
        networks: one, or those of a cascade: then each one's last stage counts, as "network 1", "network 2", ...

    Raises:
        UnreadableImageError: the picture cannot be used.
    """
    if isinstance(networks, Checkpoint):
        maps = _maps(networks, path)
        return {f"stage {tap}": map for tap, map in zip(networks.model.taps, maps, strict=True)}
    if len(networks) == 1:
        return maps_of_picture(networks[0], path)
    return {f"network {number}": _maps(network, path)[-1] for number, network in enumerate(networks, start=1)}


def _maps(network: Checkpoint, path: Path) -> list[NDArray[np.float32]]:
    size = network.preparation
    image = prepare(read_resized(path, size.height, size.width)[None], size)
    weights = next(network.model.parameters())
    return [map[0].cpu().numpy() for map in activation_maps(network.model, torch.from_numpy(image).to(weights))]


def _strength(tap: nn.Module, features: Tensor) -> Tensor:
    """(B, h, w) of the last map on the way through a tap: a norm of its own comes before the pooling, as DenseNet's."""
    channels = 1
    for part in blocks_of(tap):
        if isinstance(part, MapPool):
            channels = 3
        result = part(features)
        if result.ndim != 4:
            break
        features = result
    if features.ndim != 4:
        raise ValueError(
            f"expected feature maps (B, C, h, w), got shape {tuple(features.shape)}; this network has no places to show"
        )
    return features.float().square().sum(channels)
