"""torchvision's networks, cut into stages: ResNets after each layer, DenseNets before each transition, and AlexNet."""

from torch import nn

from dare.models.stage import GlobalAveragePool, Stage, WindowMaxPool
from dare.models.weights import Weights, initialise

SPREAD = 6
"""Side of the map that AlexNet's first fully connected layer takes."""


def resnet18(weights: Weights = None) -> list[Stage]:
    """Four stages of 64, 128, 256 and 512 channels."""
    return _resnet("resnet18", "ResNet18_Weights", weights)


def resnet34(weights: Weights = None) -> list[Stage]:
    """Four stages of 64, 128, 256 and 512 channels."""
    return _resnet("resnet34", "ResNet34_Weights", weights)


def resnet50(weights: Weights = None) -> list[Stage]:
    """DaRe(R)'s trunk: stages of 256, 512, 1024 and 2048 channels, the stride on the 3x3 convolutions."""
    return _resnet("resnet50", "ResNet50_Weights", weights)


def densenet121(weights: Weights = None) -> list[Stage]:
    """Dense blocks of 256, 512, 1024 and 1024 channels, tapped as `densenet201`."""
    return _densenet("densenet121", "DenseNet121_Weights", weights)


def densenet161(weights: Weights = None) -> list[Stage]:
    """Dense blocks of 384, 768, 2112 and 2208 channels, tapped as `densenet201`."""
    return _densenet("densenet161", "DenseNet161_Weights", weights)


def densenet169(weights: Weights = None) -> list[Stage]:
    """Dense blocks of 256, 512, 1280 and 1664 channels, tapped as `densenet201`."""
    return _densenet("densenet169", "DenseNet169_Weights", weights)


def densenet201(weights: Weights = None) -> list[Stage]:
    """DaRe(De)'s trunk: dense blocks of 256, 512, 1792 and 1920 channels.

    The first three are tapped before the transition, each through a batch norm and ReLU of its own, as in the
    released code; the fourth is tapped after the network's last norm.
    """
    return _densenet("densenet201", "DenseNet201_Weights", weights)


def alexnet(weights: Weights = None) -> list[Stage]:
    """Stages of 64, 192 and 256 channels, and the 4096 units of the first fully connected layer; made for 224x224.

    It is torchvision's nearest to CaffeNet, but has no groups, no local response normalisation, and 64 instead of 96
    channels at first. The last pooling takes the same windows as the original at 224x224, and adapts to other sizes.
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


def _resnet(name: str, published: str, weights: Weights) -> list[Stage]:
    from torchvision.models import resnet

    network = getattr(resnet, name)()
    initialise(network, getattr(resnet, published).IMAGENET1K_V1, weights)
    stem = (network.conv1, network.bn1, network.relu, network.maxpool)
    bodies = [nn.Sequential(*stem, network.layer1), network.layer2, network.layer3, network.layer4]
    widths = [factor * 64 * network.layer1[0].expansion for factor in (1, 2, 4, 8)]
    return [Stage(body, GlobalAveragePool(), width) for body, width in zip(bodies, widths, strict=True)]


def _densenet(name: str, published: str, weights: Weights) -> list[Stage]:
    from torchvision.models import densenet

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
