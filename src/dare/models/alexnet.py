"""torchvision's AlexNet, cut into four stages: the nearest to CaffeNet that torchvision has."""

from torch import nn

from dare.models.stage import GlobalAveragePool, Stage, WindowMaxPool
from dare.models.weights import Weights, initialise

SPREAD = 6
"""Side of the map that the first fully connected layer takes."""


def alexnet(weights: Weights = None) -> list[Stage]:
    """Stages of 64, 192 and 256 channels, and the 4096 units of the first fully connected layer; made for 224x224.

    Unlike CaffeNet it has no groups and no local response normalisation, and 64 instead of 96 channels at first. The
    last pooling takes the same windows as the original at 224x224, and adapts to other sizes.
    """
    from torchvision import models  # slow to import, and other networks do without

    network = models.alexnet()
    initialise(network, models.AlexNet_Weights.IMAGENET1K_V1, weights, classifier=("classifier.6.",))
    parts = list(network.features)
    dropout, connected, relu = list(network.classifier)[:3]
    flat = nn.Sequential(WindowMaxPool(SPREAD, SPREAD), nn.Flatten(), dropout, connected, relu)
    pool = GlobalAveragePool()
    return [
        Stage(nn.Sequential(*parts[:3]), pool, 64),
        Stage(nn.Sequential(*parts[3:6]), pool, 192),
        Stage(nn.Sequential(*parts[6:10]), pool, 256),
        Stage(nn.Sequential(*parts[10:12]), flat, 4096),
    ]
