"""torchvision's residual networks, cut after each of their four layers."""

from torch import nn

from dare.models.stage import GlobalAveragePool, Stage
from dare.models.weights import Weights, initialise


def resnet18(weights: Weights = None) -> list[Stage]:
    """Four stages of 64, 128, 256 and 512 channels."""
    return _cut("resnet18", "ResNet18_Weights", weights)


def resnet34(weights: Weights = None) -> list[Stage]:
    """Four stages of 64, 128, 256 and 512 channels."""
    return _cut("resnet34", "ResNet34_Weights", weights)


def resnet50(weights: Weights = None) -> list[Stage]:
    """DaRe(R)'s trunk: stages of 256, 512, 1024 and 2048 channels, the stride on the 3x3 convolutions."""
    return _cut("resnet50", "ResNet50_Weights", weights)


def _cut(name: str, published: str, weights: Weights) -> list[Stage]:
    from torchvision.models import resnet  # slow to import, and other networks do without

    network, imagenet = getattr(resnet, name)(), getattr(resnet, published).IMAGENET1K_V1
    initialise(network, imagenet, weights)
    stem = (network.conv1, network.bn1, network.relu, network.maxpool)
    bodies = [nn.Sequential(*stem, network.layer1), network.layer2, network.layer3, network.layer4]
    expansion = network.layer1[0].expansion
    widths = [64 * expansion, 128 * expansion, 256 * expansion, 512 * expansion]
    return [Stage(body, GlobalAveragePool(), width) for body, width in zip(bodies, widths, strict=True)]
