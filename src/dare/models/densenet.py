"""torchvision's DenseNets, cut before each of their transitions."""

from torch import nn

from dare.models.stage import GlobalAveragePool, Stage
from dare.models.weights import Weights, initialise


def densenet121(weights: Weights = None) -> list[Stage]:
    """Dense blocks of 256, 512, 1024 and 1024 channels, tapped as `densenet201`."""
    return _cut("densenet121", "DenseNet121_Weights", weights)


def densenet161(weights: Weights = None) -> list[Stage]:
    """Dense blocks of 384, 768, 2112 and 2208 channels, tapped as `densenet201`."""
    return _cut("densenet161", "DenseNet161_Weights", weights)


def densenet169(weights: Weights = None) -> list[Stage]:
    """Dense blocks of 256, 512, 1280 and 1664 channels, tapped as `densenet201`."""
    return _cut("densenet169", "DenseNet169_Weights", weights)


def densenet201(weights: Weights = None) -> list[Stage]:
    """DaRe(De)'s trunk: dense blocks of 256, 512, 1792 and 1920 channels.

    The first three are tapped before the transition, each through a batch norm and ReLU of its own, as the
    released code does; the fourth through the network's last norm.
    """
    return _cut("densenet201", "DenseNet201_Weights", weights)


def _cut(name: str, published: str, weights: Weights) -> list[Stage]:
    from torchvision.models import densenet  # slow to import, and other networks do without

    network = getattr(densenet, name)()
    initialise(network, getattr(densenet, published).IMAGENET1K_V1, weights)
    parts = network.features
    bodies = [
        nn.Sequential(parts.conv0, parts.norm0, parts.relu0, parts.pool0, parts.denseblock1),
        nn.Sequential(parts.transition1, parts.denseblock2),
        nn.Sequential(parts.transition2, parts.denseblock3),
        nn.Sequential(parts.transition3, parts.denseblock4),
    ]
    widths = [part.norm.num_features for part in (parts.transition1, parts.transition2, parts.transition3)]
    norms = [*(nn.BatchNorm2d(width) for width in widths), parts.norm5]
    taps = [nn.Sequential(norm, nn.ReLU(), GlobalAveragePool()) for norm in norms]
    return [Stage(body, tap, norm.num_features) for body, tap, norm in zip(bodies, taps, norms, strict=True)]
