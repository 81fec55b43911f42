"""torchvision's DenseNet-201, cut before each of its transitions."""

from torch import nn

from dare.models.stage import GlobalAveragePool, Stage
from dare.models.weights import Weights, initialise


def densenet201(weights: Weights = None) -> list[Stage]:
    """DaRe(De)'s trunk: dense blocks of 256, 512, 1792 and 1920 channels.

    The first three are tapped before the transition, each through a batch norm and ReLU of its own, as the
    released code does; the fourth through the network's last norm.
    """
    from torchvision.models import densenet  # slow to import, and other networks do without

    network = densenet.densenet201()
    initialise(network, densenet.DenseNet201_Weights.IMAGENET1K_V1, weights)
    parts = network.features
    bodies = [
        nn.Sequential(parts.conv0, parts.norm0, parts.relu0, parts.pool0, parts.denseblock1),
        nn.Sequential(parts.transition1, parts.denseblock2),
        nn.Sequential(parts.transition2, parts.denseblock3),
        nn.Sequential(parts.transition3, parts.denseblock4),
    ]
    widths = [256, 512, 1792, 1920]
    norms = [*(nn.BatchNorm2d(width) for width in widths[:3]), parts.norm5]
    taps = [nn.Sequential(norm, nn.ReLU(), GlobalAveragePool()) for norm in norms]
    return [Stage(body, tap, width) for body, tap, width in zip(bodies, taps, widths, strict=True)]
