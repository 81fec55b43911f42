"""Convolutions in bfloat16 that are done as matrix products: values and gradients are those of torch."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dare.training.computing import computing

CPU = torch.device("cpu")
LAYERS = [  # channels in and out, kernel, stride, padding, dilation, bias
    (6, 10, 1, 1, 0, 1, False),
    (6, 10, 1, 2, 0, 1, True),
    (6, 10, 1, (2, 1), 0, 1, False),
    (64, 10, 3, 1, 1, 1, False),
    (64, 10, 3, 2, 1, 1, False),
    (64, 10, (3, 5), (2, 1), (0, 2), (1, 2), False),
]


@pytest.mark.parametrize(("channels", "filters", "kernel", "stride", "padding", "dilation", "bias"), LAYERS)
def test_products_are_the_convolution_and_its_gradients(
    channels: int, filters: int, kernel: int, stride: int, padding: int, dilation: int, bias: bool
) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(channels, filters, kernel, stride, padding, dilation, bias=bias)
    layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.no_grad():
        for weight in layer.parameters():
            weight.copy_(weight.bfloat16())  # so that nothing is lost by rounding what goes in
    images = torch.randn(3, channels, 8, 9).bfloat16().float().to(memory_format=torch.channels_last).requires_grad_()
    with computing("bf16", CPU):
        made = layer(images)
    assert made.dtype == torch.bfloat16
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert made.grad_fn is not None
    assert "Convolution" not in made.grad_fn.name()
    gradient = torch.randn(made.shape).bfloat16().to(memory_format=torch.channels_last)
    mine = torch.autograd.grad(made, [images, *layer.parameters()], gradient)
    same = F.conv2d(images, layer.weight, layer.bias, stride, padding, dilation)
    expected = torch.autograd.grad(same, [images, *layer.parameters()], gradient.float())
    torch.testing.assert_close(made.float(), same, atol=0.02, rtol=0.02)
    for ours, theirs in zip(mine, expected, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, atol=0.05, rtol=0.02)


def test_many_pixels_and_float32_are_left_to_torch() -> None:
    layer = nn.Conv2d(6, 10, 3)
    single = nn.Conv2d(6, 10, 1)
    images = torch.randn(3, 6, 8, 9).to(memory_format=torch.channels_last).requires_grad_()
    with computing("bf16", CPU):
        many = layer(images)
    with computing("fp32", CPU):
        exact = single(images)
    for made in (many, exact):
        assert "Convolution" in made.grad_fn.name()
