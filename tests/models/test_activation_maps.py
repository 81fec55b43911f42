"""Activation maps are strong where a stage answers, and nowhere else."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import save_picture
from torch import Tensor, nn

from dare.images.preparation import Preparation, prepare
from dare.images.reading import UnreadableImageError, read_resized
from dare.models import DaRe, count_macs
from dare.models.activation_maps import activation_maps, maps_of_picture
from dare.models.checkpoints import Architecture, Checkpoint
from dare.models.stage import GlobalAveragePool, MapPool, Stage


class UpperHalf(nn.Module):
    """Looks away from the lower half of what it is shown."""

    def forward(self, features: Tensor) -> Tensor:
        seen = features.clone()
        seen[:, :, features.shape[2] // 2 :] = 0
        return seen


class ChannelsLast(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features.permute(0, 2, 3, 1)


def network(*bodies: nn.Module, tap: nn.Module | None = None, channels: int = 5, **settings: object) -> DaRe:
    torch.manual_seed(0)
    return DaRe([Stage(body, tap or GlobalAveragePool(), channels) for body in bodies], 8, 8, **settings)  # type: ignore[arg-type]


def test_a_network_that_looks_at_the_upper_half_only_gives_a_map_that_is_zero_below() -> None:
    model = network(nn.Sequential(nn.Conv2d(3, 5, 2, 2, bias=False), UpperHalf()), fusion=False)
    (map,) = activation_maps(model, torch.randn(2, 3, 16, 8))
    assert map.shape == (2, 8, 4)
    assert (map[:, 4:] == 0).all()
    assert (map[:, :4] > 0).all()


def test_a_bright_spot_is_found_where_it_is() -> None:
    image = torch.zeros(1, 3, 32, 16)
    image[:, :, 20:22, 6:8] = 1
    for map in activation_maps(network(nn.Conv2d(3, 5, 2, 2, bias=False), nn.Conv2d(5, 5, 1, bias=False)), image):
        assert map[0].nonzero().tolist() == [[10, 3]]


def test_the_values_are_those_of_torchreid_before_they_are_scaled() -> None:
    model = network(nn.Conv2d(3, 5, 3), nn.Conv2d(5, 5, 3)).eval()
    images = torch.randn(2, 3, 16, 8)
    features = images
    with torch.no_grad():
        for step, map in zip(model.steps, activation_maps(model, images), strict=True):
            features = step(features)
            outputs = (features**2).sum(1)
            torch.testing.assert_close(map, outputs)
            torch.testing.assert_close(map.sum((1, 2)), features.flatten(1).norm(dim=1) ** 2)


def test_what_counts_is_what_is_pooled_behind_a_norm_of_the_taps_own() -> None:
    norm = nn.BatchNorm2d(5)
    norm.running_mean.fill_(1.0)  # type: ignore[union-attr]
    model = network(nn.Conv2d(3, 5, 1), tap=nn.Sequential(norm, nn.ReLU(), GlobalAveragePool()), fusion=False).eval()
    images = torch.randn(1, 3, 8, 4)
    with torch.no_grad():
        pooled = norm(model.steps[0](images)).relu()
    torch.testing.assert_close(activation_maps(model, images)[0], pooled.square().sum(1))


def test_maps_with_channels_last_are_the_same_places() -> None:
    body = nn.Conv2d(3, 5, 3)
    images = torch.randn(1, 3, 16, 8)
    first, last = network(body), network(nn.Sequential(body, ChannelsLast()), tap=MapPool())
    torch.testing.assert_close(activation_maps(first, images)[0], activation_maps(last, images)[0])


def test_stages_without_a_tap_have_no_map_and_the_mode_stays() -> None:
    model = network(nn.Conv2d(3, 5, 3), nn.Conv2d(5, 5, 3), taps=[2], fusion=False).train()
    model.steps[0].eval()
    assert [tuple(map.shape) for map in activation_maps(model, torch.randn(1, 3, 16, 8))] == [(1, 12, 4)]
    assert model.training
    assert not model.steps[0].training
    assert model.steps[1].training


def test_a_network_without_places_is_refused() -> None:
    model = network(nn.Flatten(2), tap=nn.Flatten(), channels=96, fusion=False)
    with pytest.raises(ValueError, match=r"expected feature maps \(B, C, h, w\), got shape \(1, 3, 32\)"):
        activation_maps(model, torch.randn(1, 3, 8, 4))
    assert model.training


def checkpoint(**settings: object) -> Checkpoint:
    torch.manual_seed(0)
    architecture = Architecture("tiny", embedding_dim=8, hidden_dim=8, **settings)  # type: ignore[arg-type]
    model = architecture.build()
    return Checkpoint(model, architecture, Preparation(64, 32), count_macs(model, 64, 32))


def test_a_pictures_maps_are_named_as_its_vectors_are(tmp_path: Path) -> None:
    picture = save_picture(tmp_path / "a.jpg", size=(50, 120))
    for taps, names in ((None, ["stage 1", "stage 2", "stage 3", "stage 4"]), ((2, 4), ["stage 2", "stage 4"])):
        network = checkpoint(taps=taps)
        maps = maps_of_picture(network, picture)
        assert list(maps) == names
        image = torch.from_numpy(prepare(read_resized(picture, 64, 32)[None], network.preparation))
        for map, expected in zip(maps.values(), activation_maps(network.model, image), strict=True):
            np.testing.assert_allclose(map, expected[0], rtol=1e-5)
        assert list(maps_of_picture([network], picture)) == names


def test_each_network_of_a_cascade_gives_its_last_stage(tmp_path: Path) -> None:
    picture = save_picture(tmp_path / "a.jpg")
    whole, one = checkpoint(), checkpoint(taps=(1,), fusion=False)
    maps = maps_of_picture([one, whole], picture)
    assert list(maps) == ["network 1", "network 2"]
    np.testing.assert_array_equal(maps["network 1"], maps_of_picture(one, picture)["stage 1"])
    np.testing.assert_array_equal(maps["network 2"], maps_of_picture(whole, picture)["stage 4"])


def test_a_picture_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError):
        maps_of_picture(checkpoint(), tmp_path / "none.jpg")
