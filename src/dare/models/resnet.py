"""torchvision's residual networks, cut after each of their four layers."""

from torch import nn
from torchvision.models import resnet

from dare.models.stage import GlobalAveragePool, Stage
from dare.models.weights import Weights, initialise


def resnet18(weights: Weights = None) -> list[Stage]:
    """Four stages of 64, 128, 256 and 512 channels."""
    return _cut(resnet.resnet18(), resnet.ResNet18_Weights.IMAGENET1K_V1, weights)


def resnet34(weights: Weights = None) -> list[Stage]:
    """Four stages of 64, 128, 256 and 512 channels."""
    return _cut(resnet.resnet34(), resnet.ResNet34_Weights.IMAGENET1K_V1, weights)


def resnet50(weights: Weights = None) -> list[Stage]:
    """DaRe(R)'s trunk: stages of 256, 512, 1024 and 2048 channels, the stride on the 3x3 convolutions."""
    return _cut(resnet.resnet50(), resnet.ResNet50_Weights.IMAGENET1K_V1, weights)


def _cut(network: resnet.ResNet, imagenet: resnet.WeightsEnum, weights: Weights) -> list[Stage]:
    initialise(network, imagenet, weights)
    stem = (network.conv1, network.bn1, network.relu, network.maxpool)
    bodies = [nn.Sequential(*stem, network.layer1), network.layer2, network.layer3, network.layer4]
    expansion = network.layer1[0].expansion
    widths = [64 * expansion, 128 * expansion, 256 * expansion, 512 * expansion]
    return [Stage(body, GlobalAveragePool(), width) for body, width in zip(bodies, widths, strict=True)]
