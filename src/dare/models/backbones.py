"""Every backbone by name."""

from collections.abc import Callable
from functools import partial

from dare.images.preparation import IMAGENET_MEAN, IMAGENET_STD
from dare.models.omni import omni
from dare.models.plain import mscan, slim, tiny
from dare.models.stage import Stage
from dare.models.timm import lite, timm_stages
from dare.models.torchvision import alexnet, densenet, mobilenetv2, resnet
from dare.models.weights import Weights

BACKBONES: dict[str, Callable[..., list[Stage]]] = {
    **{f"resnet{depth}": partial(resnet, f"resnet{depth}") for depth in (18, 34, 50)},
    **{f"densenet{depth}": partial(densenet, f"densenet{depth}") for depth in (121, 161, 169, 201)},
    **{f"lite{size}": partial(lite, size) for size in (0, 1, 2)},
    "mobilenetv2": mobilenetv2,
    "alexnet": alexnet,
    "mscan": mscan,
    "slim": slim,
    "tiny": tiny,
    "omni": omni,
    **{f"omni{percent}": partial(omni, width=percent / 100) for percent in (75, 50, 25)},
}
"""Name -> builder. Without arguments: random weights, no network access."""

TIMM = "timm/"

Channels = tuple[float, float, float]

HALVES: dict[str, Channels] = dict.fromkeys(("lite0", "lite1", "lite2"), (0.5, 0.5, 0.5))
"""Backbone -> the mean, and the standard deviation too, of a training other than torchvision's."""


def normalisation(name: str) -> tuple[Channels, Channels]:
    """Mean and standard deviation, as in `Preparation`, that a backbone's weights were trained with."""
    return HALVES.get(name, IMAGENET_MEAN), HALVES.get(name, IMAGENET_STD)


def build_backbone(name: str, weights: Weights = None) -> list[Stage]:
    """The stages of a backbone by its name in `BACKBONES`, or of a timm network by `timm/NAME`."""
    if name.startswith(TIMM):
        return timm_stages(name.removeprefix(TIMM), weights)
    if name not in BACKBONES:
        raise ValueError(f"unknown backbone {name!r}; choose {', '.join(BACKBONES)}, or {TIMM}NAME")
    return BACKBONES[name](weights)
