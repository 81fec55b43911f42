"""Multiply-adds per exit, counted on the network itself."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from dare.anytime.costs import ExitCosts
from dare.models.dare import DaRe


def count_macs(model: DaRe, height: int = 256, width: int = 128) -> ExitCosts:
    """Multiply-adds of convolutions and matrix products up to each exit, heads included, for one picture.

    One black picture, or tracklet where the network takes these, is passed through the network; what it computes is not
    changed by that.
    """
    parameter = next(model.parameters())
    image = torch.zeros(model.frames, 3, height, width, device=parameter.device, dtype=parameter.dtype)
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    totals = []
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        for _ in model.exits(image):
            totals.append(counter.get_total_flops() // 2)
    for module, training in modes:
        module.training = training
    frames = f" for {model.frames} frames" if model.frames > 1 else ""
    return ExitCosts(tuple(totals), f"counted at {height}x{width}{frames}, convolutions and matrix products")
