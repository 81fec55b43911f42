"""Regions of feature maps, cut out smoothly so that where they lie can be learnt.

Source: Jaderberg et al., "Spatial Transformer Networks", 2015.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def sample_region(features: Tensor, affine: Tensor, height: int, width: int) -> Tensor:
    """What lies in a region, by bilinear interpolation in float32; zero outside of the map.

    Args:
        features: (B, C, H, W).
        affine: (B, 2, 3), from places in the region to places in the map, both from -1 to 1, x before y.
        height, width: of the result, (B, C, height, width).
    """
    x, y = (_middles(count, features.device) for count in (width, height))
    affine = affine.float()[..., None, None]
    # Without a matrix product, which autocast would do in bfloat16: that is too coarse for places.
    places = affine[:, :, 0] * x + affine[:, :, 1] * y[:, None] + affine[:, :, 2]
    return F.grid_sample(features.float(), places.permute(0, 2, 3, 1), align_corners=False)


def _middles(count: int, device: torch.device) -> Tensor:
    """Where the middles of so many cells lie from -1 to 1."""
    return (2 * torch.arange(count, device=device) + 1) / count - 1
