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
    with torch.autocast(features.device.type, enabled=False):
        places = F.affine_grid(affine.float(), [*features.shape[:2], height, width], align_corners=False)
        return F.grid_sample(features.float(), places, align_corners=False)
