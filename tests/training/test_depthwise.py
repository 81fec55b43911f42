"""Depthwise convolutions: the gradients that are computed here are those of torch in float32."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dare.training.convolutions import FastConvolutions
from dare.training.depthwise import weight_gradients
from dare.training.precision import computing

CPU = torch.device("cpu")
SHAPES = [  # kernel, stride, padding, dilation, bias
    (3, 1, 1, 1, False),
    (3, 2, 1, 1, True),
    (5, 2, 2, 1, False),
    (5, 1, 0, 1, True),
    ((3, 5), (2, 1), (0, 2), (1, 2), False),
]


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation", "bias"), SHAPES)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_gradients_are_those_of_torch_in_float32(
    precision: str, kernel: int, stride: int, padding: int, dilation: int, bias: bool
) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 6, kernel, stride, padding, dilation, groups=6, bias=bias)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.copy_(weight.bfloat16())  # so that nothing is lost by rounding what goes in
    images = torch.randn(3, 6, 12, 9).bfloat16().float().to(memory_format=torch.channels_last).requires_grad_()
    with computing(precision, CPU):
        made = layer(images)
    assert made.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)
    gradient = torch.randn(made.shape).bfloat16()
    made.backward(gradient.to(made.dtype))
    mine = [images.grad, *(weight.grad for weight in layer.parameters())]
    same = F.conv2d(images, layer.weight, layer.bias, stride, padding, dilation, 6)
    expected = torch.autograd.grad(same, [images, *layer.parameters()], gradient.float())
    torch.testing.assert_close(made.float(), same, atol=0.02, rtol=0.02)
    for ours, theirs in zip(mine, expected, strict=True):
        assert ours is not None
        assert ours.dtype == torch.float32
        rounded = precision == "bf16" and ours is mine[0]  # of the images, as of any layer's in bfloat16
        torch.testing.assert_close(ours, theirs, atol=0.05 if rounded else 1e-4, rtol=0.02 if rounded else 1e-5)


def test_threads_divide_the_pictures_and_always_alike() -> None:
    torch.manual_seed(0)
    images = torch.randn(5, 4, 9, 7).to(memory_format=torch.channels_last)
    gradient = torch.randn(5, 4, 9, 7).to(memory_format=torch.channels_last)
    settings = ((5, 5), (1, 1), (2, 2), (1, 1))
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 3, 3, 8):
            torch.set_num_threads(threads)
            found.append(weight_gradients(images, gradient, *settings))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[1], found[2])
    for other in found[1:]:
        torch.testing.assert_close(found[0], other)


def test_other_convolutions_are_left_alone() -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 6, 12, 8).to(memory_format=torch.channels_last).requires_grad_()
    plain, in_threes = nn.Conv2d(6, 4, 3), nn.Conv2d(6, 6, 3, groups=3)
    wider, same = nn.Conv2d(6, 12, 3, groups=6), nn.Conv2d(6, 6, 3, padding="same", groups=6)
    for layer in (plain, in_threes, wider, same):
        expected = layer(images)
        with FastConvolutions(bf16=False):
            made = layer(images)
        assert torch.equal(made, expected)
        assert "Depthwise" not in type(made.grad_fn).__name__
    first = nn.Conv2d(6, 6, 3, groups=6)
    with FastConvolutions(bf16=False):
        assert "Depthwise" in type(first(images).grad_fn).__name__
        assert "Depthwise" not in type(first(images.contiguous()).grad_fn).__name__
        with torch.no_grad():
            assert torch.equal(first(images), F.conv2d(images, first.weight, first.bias, groups=6))


def test_what_switches_bfloat16_off_stays_in_float32() -> None:
    layer = nn.Conv2d(6, 6, 3, groups=6)
    images = torch.randn(2, 6, 8, 8).to(memory_format=torch.channels_last)
    with computing("bf16", CPU), torch.autocast("cpu", enabled=False):
        assert layer(images).dtype == torch.float32
