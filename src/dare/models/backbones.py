"""Every backbone by name."""

from collections.abc import Callable

from dare.models.alexnet import alexnet
from dare.models.densenet import densenet201
from dare.models.mscan import mscan
from dare.models.omni import omni, omni25, omni50, omni75
from dare.models.resnet import resnet18, resnet34, resnet50
from dare.models.slim import slim, tiny
from dare.models.stage import Stage
from dare.models.timm import timm_stages
from dare.models.weights import Weights

BACKBONES: dict[str, Callable[..., list[Stage]]] = {
    "resnet18": resnet18,
    "resnet34": resnet34,
    "resnet50": resnet50,
    "densenet201": densenet201,
    "alexnet": alexnet,
    "mscan": mscan,
    "slim": slim,
    "tiny": tiny,
    "omni": omni,
    "omni75": omni75,
    "omni50": omni50,
    "omni25": omni25,
}
"""Name -> builder. Without arguments: random weights, no network access."""

TIMM = "timm/"


def build_backbone(name: str, weights: Weights = None) -> list[Stage]:
    """The stages of a backbone by its name in `BACKBONES`, or of a timm network by `timm/NAME`."""
    if name.startswith(TIMM):
        return timm_stages(name.removeprefix(TIMM), weights)
    if name not in BACKBONES:
        raise ValueError(f"unknown backbone {name!r}; choose {', '.join(BACKBONES)}, or {TIMM}NAME")
    return BACKBONES[name](weights)
