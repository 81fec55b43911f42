"""torchvision's MobileNetV2, cut where its map shrinks and where it widens."""

from torch import nn

from dare.models.stage import Stage, StripePool
from dare.models.weights import Weights, initialise

ENDS = (7, 11, 14, 18)
"""Behind the last block of strides 8 and 16, the last of 96 channels, and the last of all; its 1280 channels are left
out."""


def mobilenetv2(weights: Weights = None) -> list[Stage]:
    """Stages of 32, 64, 96 and 320 channels, tapped by four stripes and the maximum over the map.

    Args:
        weights: a file may have the names of torchvision or those of the first ports to PyTorch, which trackers ship.
    """
    from torchvision.models import mobilenetv2 as mobilenet  # slow to import, and other networks do without

    network = mobilenet.mobilenet_v2()
    initialise(network, mobilenet.MobileNet_V2_Weights.IMAGENET1K_V1, weights, by_order=True)
    stages = []
    for start, end in zip((0, *ENDS), ENDS, strict=False):
        blocks, tap = list(network.features[start:end]), StripePool(4, peak=True)
        stages.append(Stage(nn.Sequential(*blocks), tap, tap.parts * blocks[-1].out_channels))
    return stages
