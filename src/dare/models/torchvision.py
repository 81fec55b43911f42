"""torchvision's networks, cut into stages: ResNets, DenseNets, AlexNet and MobileNetV2."""

from typing import Any

from torch import nn

from dare.models.stage import GlobalAveragePool, Stage, WindowMaxPool, striped
from dare.models.weights import CLASSIFIERS, Weights, initialise

SPREAD = 6
"""Side of the map that AlexNet's first fully connected layer takes."""

MOBILE_ENDS = (7, 11, 14, 18)
"""Behind MobileNetV2's last block of strides 8 and 16, the last of 96 channels, and the last of all; the layer of 1280
channels is left out."""


def resnet(name: str, weights: Weights = None) -> list[Stage]:
    """Four stages, one per layer; ResNet-50, DaRe(R)'s trunk, has its stride on the 3x3 convolutions."""
    network = _network(name, weights)
    stem = (network.conv1, network.bn1, network.relu, network.maxpool)
    bodies = [nn.Sequential(*stem, network.layer1), network.layer2, network.layer3, network.layer4]
    widths = [factor * 64 * network.layer1[0].expansion for factor in (1, 2, 4, 8)]
    return [Stage(body, GlobalAveragePool(), width) for body, width in zip(bodies, widths, strict=True)]


def densenet(name: str, weights: Weights = None) -> list[Stage]:
    """Four dense blocks; DenseNet-201 is DaRe(De)'s trunk.

    The first three are tapped before the transition, each through a batch norm and ReLU of its own, as in the
    released code; the fourth is tapped after the network's last norm.
    """
    parts = _network(name, weights).features
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


def alexnet(weights: Weights = None) -> list[Stage]:
    """Stages of 64, 192 and 256 channels, and the 4096 units of the first fully connected layer; made for 224x224.

    It is torchvision's nearest to CaffeNet, but has no groups, no local response normalisation, and 64 instead of 96
    channels at first. The last pooling takes the same windows as the original at 224x224, and adapts to other sizes.
    """
    network = _network("alexnet", weights, classifier=("classifier.6.",))
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


def mobilenetv2(weights: Weights = None) -> list[Stage]:
    """Stages of 32, 64, 96 and 320 channels, tapped by four stripes and the maximum over the map.

    Args:
        weights: a file may have the names of torchvision or those of the first ports to PyTorch, which trackers ship.
    """
    blocks = list(_network("mobilenet_v2", weights, by_order=True).features)
    groups = [blocks[start:end] for start, end in zip((0, *MOBILE_ENDS), MOBILE_ENDS, strict=False)]
    return [striped(group, group[-1].out_channels) for group in groups]


def _network(name: str, weights: Weights, *, classifier: tuple[str, ...] = CLASSIFIERS, by_order: bool = False) -> Any:
    from torchvision import models  # slow to import, and other networks do without

    network = models.get_model(name)
    imagenet = models.get_model_weights(name)["IMAGENET1K_V1"]
    initialise(network, imagenet, weights, classifier=classifier, by_order=by_order)
    return network
