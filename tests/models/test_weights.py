"""Where backbones' weights come from."""

import urllib.error
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torchvision.models import DenseNet201_Weights, ResNet18_Weights, densenet201, get_model, resnet18

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


@pytest.mark.parametrize("name", ["densenet121", "densenet161", "densenet169"])
def test_densenets_take_torchvisions_weights(name: str, tmp_path: Path) -> None:
    network = get_model(name)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    stages = build_backbone(name, tmp_path / "w.pth")
    own = torch.cat([tensor.flatten() for stage in stages for tensor in stage.body.state_dict().values()])
    theirs = network.features.state_dict()
    norms = ("norm5.",)  # of the last tap
    torch.testing.assert_close(own, torch.cat([t.flatten() for n, t in theirs.items() if not n.startswith(norms)]))
    torch.testing.assert_close(stages[3].tap.state_dict()["0.weight"], theirs["norm5.weight"])


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
    with pytest.raises(ConnectionError, match=r"cannot be downloaded .*give a file you have \(--weights FILE\)"):
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
    with pytest.raises(ValueError, match="holds a list, expected a dictionary of tensors"):
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


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {f"_orig_mod.{name}": tensor for name, tensor in state.items()},
        lambda state: {f"module._orig_mod.{name}": tensor for name, tensor in state.items()},
        lambda state: {f"net.module.{name}": tensor for name, tensor in state.items()},
        lambda state: {f"model.{name}": tensor for name, tensor in state.items()},
        lambda state: {name.replace("layer1.0.", "layer1.0._orig_mod."): tensor for name, tensor in state.items()},
        lambda state: {"model": state, "epoch": 3},
        lambda state: {"net": state, "accuracy": np.float64(0.5), "when": np.int64(3)},
        lambda state: {"args": Namespace(rate=0.1), "state_dict": {f"module.{n}": t for n, t in state.items()}},
        lambda state: {"model": {"state_dict": state}, "optimizer": {"lr": 0.1}},
    ],
)
def test_what_is_only_packaging_is_taken_off(wrap: Any, tmp_path: Path) -> None:
    network = resnet18()
    torch.save(wrap(network.state_dict()), tmp_path / "w.pth")
    state = body_state("resnet18", tmp_path / "w.pth")
    for theirs, own in (("conv1.weight", "0.0.weight"), ("layer1.0.conv1.weight", "0.4.0.conv1.weight")):
        torch.testing.assert_close(state[own], network.state_dict()[theirs])


def test_one_tensor_in_two_spellings_is_refused(tmp_path: Path) -> None:
    state = resnet18().state_dict()
    torch.save({**state, "module.conv1.weight": state["conv1.weight"]}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"w\.pth has conv1\.weight twice"):
        build_backbone("resnet18", tmp_path / "w.pth")


def test_a_parcel_that_holds_itself_ends(tmp_path: Path) -> None:
    parcel: dict[str, Any] = {}
    parcel["model"] = parcel
    torch.save(parcel, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="holds no dictionary of tensors"):
        build_backbone("resnet18", tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        (
            "conv1.weight",
            torch.full((64, 3, 7, 7), torch.nan),
            "has NaN or infinity in conv1.weight; take another copy",
        ),
        ("layer1.0.bn1.bias", torch.full((64,), torch.inf), "has NaN or infinity in layer1.0.bn1.bias"),
        ("bn1.running_var", torch.full((64,), -1.0), "has a negative variance in bn1.running_var"),
        ("bn1.weight", torch.ones(64, dtype=torch.complex64), "expected a plain tensor of real numbers"),
    ],
)
def test_weights_that_no_network_can_compute_with_are_refused(
    name: str, tensor: torch.Tensor, message: str, tmp_path: Path
) -> None:
    torch.save({**resnet18().state_dict(), name: tensor}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=message):
        build_backbone("resnet18", tmp_path / "w.pth")


def test_a_whole_pickled_network_says_what_to_save_instead(tmp_path: Path) -> None:
    torch.save(resnet18(), tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"asks for torchvision.*ResNet, expected .*; save the network's state_dict"):
        build_backbone("resnet18", tmp_path / "w.pth")
