"""Where backbones' weights come from."""

import urllib.error
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torchvision.models import DenseNet201_Weights, ResNet18_Weights, densenet201, resnet18

from dare.models.backbones import build_backbone


def body_state(name: str, weights: str | Path) -> dict[str, torch.Tensor]:
    stages = build_backbone(name, weights)
    return torch.nn.ModuleList([stage.body for stage in stages]).state_dict()


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_file_of_weights_fills_the_trunk(tmp_path: Path, suffix: str) -> None:
    network = resnet18()
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save(network.state_dict(), path)
    else:
        safetensors.torch.save_file(network.state_dict(), path)
    torch.testing.assert_close(body_state("resnet18", path)["0.0.weight"], network.conv1.weight.detach())


def test_old_names_of_dense_layers_are_understood(tmp_path: Path) -> None:
    network = densenet201()
    old = {
        name.replace("norm1.", "norm.1.")
        .replace("norm2.", "norm.2.")
        .replace("conv1.", "conv.1.")
        .replace("conv2.", "conv.2."): tensor
        for name, tensor in network.state_dict().items()
        if "num_batches_tracked" not in name
    }
    assert any("norm.1." in name for name in old)
    torch.save(old, tmp_path / "old.pth")
    state = body_state("densenet201", tmp_path / "old.pth")
    expected = network.features.denseblock1.denselayer1.conv1.weight.detach()
    torch.testing.assert_close(state["0.4.denselayer1.conv1.weight"], expected)


@pytest.mark.parametrize(("name", "enum"), [("resnet18", ResNet18_Weights), ("densenet201", DenseNet201_Weights)])
def test_imagenet_weights_that_cannot_be_had_are_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, name: str, enum: type
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(ConnectionError, match=r"cannot be downloaded .*give weights= the path of a file you have"):
        build_backbone(name, "imagenet")


def test_weights_of_another_network_name_the_first_difference(tmp_path: Path) -> None:
    torch.save(resnet18().state_dict(), tmp_path / "r18.pth")
    with pytest.raises(
        ValueError, match=r"r18.pth holds the weights of another network: it lacks .* more differences\)"
    ):
        build_backbone("resnet50", tmp_path / "r18.pth")


def test_files_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no file of weights"):
        build_backbone("resnet18", tmp_path / "none.pth")
    for name in ("text.pth", "text.safetensors"):
        (tmp_path / name).write_text("hello")
        with pytest.raises(ValueError, match="is not a readable file of weights"):
            build_backbone("resnet18", tmp_path / name)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="must hold a flat dictionary"):
        build_backbone("resnet18", tmp_path / "list.pth")


def test_a_pickle_that_would_run_code_does_not(tmp_path: Path) -> None:
    import pickle

    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "ran",)  # type: ignore[return-value]

    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(ValueError, match="is not a readable file of weights"):
        build_backbone("resnet18", tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()
