"""Omni-scale trunks: in each block four streams see 3, 5, 7 and 9 pixels, and a gate weighs them for each picture.

Zhou et al., "Omni-Scale Feature Learning for Person Re-Identification", ICCV 2019, with the gates and the normalised
pictures of OpenVINO's `person-reidentification-retail` networks. The trunks start from the weights of such a network,
whose batch norms are folded into its convolutions; so they have none, and are not made for random weights.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dare.models.stage import Stage, StripePool
from dare.models.weights import Weights

CHANNELS = (64, 256, 384, 512)
STREAMS = 4
REDUCTION = 16
GROUPS = 16
STRIPES = 4
NARROWED = 96
"""Channels that a head reads of each stripe, at most."""

OPERATIONS = ("Convolution", "GroupConvolution", "Add", "Multiply")
TYPES = {"f16": "<f2", "f32": "<f4"}


class LightConvolution(nn.Sequential):
    """A 3x3 convolution in two parts: across channels, then within each."""

    def __init__(self, channels: int, *, norm: bool = False) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=not norm),
            *([nn.BatchNorm2d(channels)] if norm else []),
            nn.ReLU(),
        )


class ChannelGate(nn.Module):
    """How much of each channel passes, given the averages of all channels (Hu et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // REDUCTION, 1)
        self.excite = nn.Conv2d(channels // REDUCTION, channels, 1)

    def forward(self, means: Tensor) -> Tensor:
        """(B, C, S, 1), the means of S streams -> gates from 0 to 1 of the same shape."""
        gates: Tensor = self.excite(F.relu(self.squeeze(means))).sigmoid()
        return gates


class ContextGate(nn.Module):
    """How much of each channel passes, given its average beside those of the other channels in its group.

    Source: Ruan et al., "Linear Context Transform Block", AAAI 2020.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.groups = math.gcd(channels, GROUPS)
        self.weight = nn.Parameter(torch.zeros(channels))
        self.bias = nn.Parameter(torch.ones(channels))

    def forward(self, means: Tensor) -> Tensor:
        """As in `ChannelGate`."""
        grouped = means.float().reshape(-1, self.groups, len(self.weight) // self.groups, means.shape[2])
        centred = grouped - grouped.mean(2, keepdim=True)
        context = centred * (centred.square().mean(2, keepdim=True) + 1e-5).rsqrt()
        scaled = context.reshape(-1, len(self.weight), means.shape[2], 1) * self.weight[:, None, None]
        return (scaled + self.bias[:, None, None]).sigmoid().to(means.dtype)


class OmniBlock(nn.Module):
    """Streams of one to four light convolutions, weighed by one gate, beside a shortcut."""

    def __init__(self, channels_in: int, channels_out: int, gate: type[ChannelGate] | type[ContextGate]) -> None:
        super().__init__()
        inner = channels_out // 4
        self.reduce = nn.Sequential(nn.Conv2d(channels_in, inner, 1), nn.ReLU())
        self.streams = nn.ModuleList(
            nn.Sequential(*(LightConvolution(inner) for _ in range(depth))) for depth in range(1, STREAMS + 1)
        )
        self.gate = gate(inner)
        self.expand = nn.Conv2d(inner, channels_out, 1)
        self.shortcut = nn.Identity() if channels_in == channels_out else nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, features: Tensor) -> Tensor:
        inner = self.reduce(features)
        streams = [stream(inner) for stream in self.streams]
        # All gates at once: each is so little work that calling it costs more.
        gates = self.gate(torch.cat([stream.mean((2, 3), keepdim=True) for stream in streams], 2)).split(1, 2)
        joined = streams[0] * gates[0]
        for stream, gate in zip(streams[1:], gates[1:], strict=True):
            joined = joined + stream * gate
        return F.relu(self.expand(joined) + self.shortcut(features))


class ImageNorm(nn.InstanceNorm2d):
    """As `InstanceNorm2d`, of images as rows: for three channels OpenVINO computes that three times as fast."""

    def forward(self, images: Tensor) -> Tensor:
        rows = F.instance_norm(images.flatten(2), weight=self.weight, bias=self.bias, eps=self.eps)
        return rows.reshape(images.shape)


class Parts(nn.Module):
    """Averages of horizontal stripes and each channel's maximum, every one narrowed alike: (B, C, H, W) -> (B, D).

    A head has most of its weights where it reads this, and at a batch of one reading weights is what takes time.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool = StripePool(STRIPES)
        self.narrow = nn.Conv2d(channels, min(channels, NARROWED), 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        stripes = self.pool(features).reshape(*features.shape[:2], STRIPES)
        parts = torch.cat([stripes, features.amax((2, 3))[:, :, None]], 2)
        narrowed: Tensor = self.narrow(parts[..., None])
        return narrowed.flatten(1)


class Refinement(nn.Module):
    """A light convolution, added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = LightConvolution(channels, norm=True)

    def forward(self, features: Tensor) -> Tensor:
        added: Tensor = features + self.convolution(features)
        return added


def omni(weights: Weights = None, *, width: float = 1.0) -> list[Stage]:
    """Four stages, behind strides 4, 8, 16 and 16: the first block, the second, and two pairs of blocks.

    The first two are seen by convolutions of their own, as their maps alone hold little of who somebody is.

    Args:
        weights: None (random), or the path of OpenVINO's `person-reidentification-retail` network (.xml) of this width:
            0277 for 1, 0286 for 3/4, 0287 for 1/2, 0288 for 1/4.
        width: of all layers, as a share of 64, 256, 384 and 512 channels.

    Raises:
        ValueError: the weights are those of another network.
    """
    stem, *widths = (round(channels * width) for channels in CHANNELS)
    parts: list[nn.Module] = [
        ImageNorm(3, affine=True),  # takes out each picture's own brightness and contrast
        nn.Conv2d(3, stem, 7, 2, 3, bias=False),
        nn.InstanceNorm2d(stem, affine=True),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]
    bodies = []
    for number, (before, channels) in enumerate(zip([stem, *widths], widths, strict=False)):
        parts.append(OmniBlock(before, channels, ChannelGate))
        if number == 0:
            bodies.append(nn.Sequential(*parts))
            parts = []
        parts += [OmniBlock(channels, channels, ContextGate), nn.Conv2d(channels, channels, 1), nn.ReLU()]
        if number < len(widths) - 1:
            parts.append(nn.AvgPool2d(2))
        bodies.append(nn.Sequential(*parts))
        parts = []
    if weights is not None:
        _load(bodies, Path(weights))
    taps = [_look(widths[0], 2), _look(widths[0], 1), Parts(widths[1]), Parts(widths[2])]
    sizes = [(STRIPES + 1) * min(channels, NARROWED) for channels in (widths[0], *widths)]
    return [Stage(*parts) for parts in zip(bodies, taps, sizes, strict=True)]


def _look(channels: int, halvings: int) -> nn.Module:
    """How an early stage is seen: by light convolutions of its own on a smaller map, beside the trunk's way."""
    deeper = [Refinement(channels), Refinement(channels)]
    return nn.Sequential(
        *([nn.AvgPool2d(2)] if halvings > 1 else []),
        LightConvolution(channels, norm=True),
        *(deeper if halvings > 1 else []),
        nn.AvgPool2d(2),
        Refinement(channels),
        Refinement(channels),
        Parts(channels),
    )


def _load(bodies: list[nn.Sequential], path: Path) -> None:
    """Take over the weights of an OpenVINO network, which stand in the order in which it computes."""
    own = [tensor for body in bodies for part in body for tensor in _in_order(part)]
    given = _constants(path)
    fits = len(given) >= len(own) and all(
        array.size == tensor.numel() for array, tensor in zip(given, own, strict=False)
    )
    if not fits:
        raise ValueError(
            f"{path} holds the weights of another network; expected OpenVINO's person-reidentification-retail-0277 "
            "(omni), 0286 (omni75), 0287 (omni50) or 0288 (omni25); choose that --backbone, or other --weights"
        )
    with torch.no_grad():
        for array, tensor in zip(given, own, strict=False):
            tensor.copy_(torch.from_numpy(array).reshape(tensor.shape))


def _in_order(part: nn.Module) -> Iterator[Tensor]:
    """Weights of a part in the order in which it uses them; the gate's stand behind the first stream's."""
    if isinstance(part, OmniBlock):
        first, *others = part.streams
        for inner in (part.reduce, first, part.gate, *others, part.expand, part.shortcut):
            yield from inner.parameters()
    else:
        yield from part.parameters()


def _constants(path: Path) -> list[NDArray[np.float32]]:
    """Weights of an OpenVINO network in the order in which it computes, each once, without those of its preparation."""
    try:
        root = ElementTree.parse(path).getroot()
        content = path.with_suffix(".bin").read_bytes()
        layers = {layer.attrib["id"]: layer for layer in root.iterfind("layers/layer")}
        edges = [
            (edge.attrib["to-layer"], int(edge.attrib["to-port"]), edge.attrib["from-layer"])
            for edge in root.iterfind("edges/edge")
        ]
        inputs: dict[str, list[str]] = {}
        for layer, _, before in sorted(edges, key=lambda edge: edge[:2]):
            inputs.setdefault(layer, []).append(before)
        found: dict[bytes, NDArray[np.float32]] = {}
        for number in (number for number, layer in layers.items() if layer.attrib["type"] in OPERATIONS):
            for before in inputs.get(number, []):
                source = inputs[before][0] if layers[before].attrib["type"] == "Convert" else before
                if layers[source].attrib["type"] == "Const":
                    values = _values(layers[source], content)
                    found.setdefault(values.tobytes(), values)  # gates' biases come once for each stream
    except (OSError, ElementTree.ParseError, LookupError, ValueError) as error:
        raise ValueError(f"{path} isn't an OpenVINO network with its .bin file beside it ({error})") from error
    return list(found.values())[1:]  # the first is the pictures' scale


def _values(constant: ElementTree.Element, content: bytes) -> NDArray[np.float32]:
    data = constant.find("data")
    if data is None or data.attrib["element_type"] not in TYPES:
        raise ValueError("a weight of a kind other than f16 and f32")
    start, size = int(data.attrib["offset"]), int(data.attrib["size"])
    return np.frombuffer(content[start : start + size], TYPES[data.attrib["element_type"]]).astype(np.float32)
