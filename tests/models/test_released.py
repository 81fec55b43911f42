"""Checkpoints of the released code: loaded as they were meant, or refused in one line."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from released import (
    SHAPES,
    VECTORS,
    State,
    checkpoint,
    empty_state,
    random_state,
    save_as_0_2,
    save_as_before_1_6,
    save_as_today,
)
from torch import Tensor, nn
from torchvision.models import resnet18

from dare import load_released
from dare.images.preparation import Preparation
from dare.models.checkpoints import CheckpointError
from dare.models.dare import count_macs
from dare.models.released import released_checkpoint

HEADS = {"resnet50": (1204, 128), "densenet201": (1024, 96)}
"""Units and values of the heads of the networks below."""

Known = tuple[str, State, Tensor, list[Tensor]]


@pytest.fixture(scope="module", params=SHAPES)
def known(request: pytest.FixtureRequest) -> Known:
    """A backbone, its tensors, two pictures, and their five embeddings by the released formulas."""
    backbone = request.param
    state = random_state(SHAPES[backbone](*HEADS[backbone]))
    patches = torch.randn(2, 3, 8, 4, generator=torch.Generator().manual_seed(1))
    images = nn.functional.interpolate(patches, scale_factor=32.0)  # noise of single pixels would all look alike
    return backbone, state, images, VECTORS[backbone](state, images)


@pytest.mark.parametrize("save", [save_as_today, save_as_before_1_6, save_as_0_2])
@torch.no_grad()
def test_all_five_embeddings_are_those_of_the_released_network(
    known: Known, save: Callable[[Any, Path], None], tmp_path: Path
) -> None:
    backbone, state, images, expected = known
    save(checkpoint(state), tmp_path / "checkpoint.pth.tar")
    model = load_released(tmp_path / "checkpoint.pth.tar", backbone)
    assert not model.training
    found = model(images).all()
    assert found.shape == (5, 2, HEADS[backbone][1])
    for vectors, theirs in zip(found, expected, strict=True):
        assert (vectors - theirs).abs().max() <= 1e-4 * theirs.abs().max()
        assert (theirs[0] - theirs[1]).abs().max() > 1e-2 * theirs.abs().max()  # or anything would be equal


def save_empty(path: Path, backbone: str = "resnet50", **changes: Any) -> Path:
    """A checkpoint whose tensors have the right shapes and take no space; None leaves one out."""
    state = {**empty_state(SHAPES[backbone](8, 4)), **changes}
    torch.save(checkpoint({name: tensor for name, tensor in state.items() if tensor is not None}), path)
    return path


def test_the_model_says_where_it_came_from(tmp_path: Path) -> None:
    path = save_empty(tmp_path / "checkpoint.pth.tar")
    made = released_checkpoint(path, "resnet50")
    assert (made.architecture.hidden_dim, made.architecture.embedding_dim) == (8, 4)
    assert made.preparation == Preparation(256, 128)
    assert made.costs == count_macs(made.model)
    assert made.training["origin"].startswith("released weights of the paper's authors")
    assert made.training["file"] == "checkpoint.pth.tar"
    assert re.fullmatch("[0-9a-f]{64}", made.training["sha256"])
    assert (made.training["arch"], made.training["iterations"]) == ("dare_R", 60024)


def test_a_state_dict_alone_will_do_with_todays_names_and_counters(tmp_path: Path) -> None:
    state = empty_state(SHAPES["densenet201"](8, 4))
    state = {name.replace("norm.1", "norm1").replace("conv.2", "conv2"): tensor for name, tensor in state.items()}
    state["features.norm0.num_batches_tracked"] = torch.tensor(7)
    torch.save(state, tmp_path / "state.pth")
    assert load_released(tmp_path / "state.pth", "densenet201").exit_names[-1] == "fusion"


@pytest.mark.parametrize("backbone", ["resnet18", "dare_R", "timm/resnet26"])
def test_other_backbones_are_named(tmp_path: Path, backbone: str) -> None:
    with pytest.raises(ValueError, match=f"are of resnet50 and densenet201, got backbone '{backbone}'"):
        load_released(save_empty(tmp_path / "c"), backbone)


@pytest.mark.parametrize(("asked", "there"), [("resnet50", "densenet201"), ("densenet201", "resnet50")])
def test_the_wrong_backbone_names_the_right_one(tmp_path: Path, asked: str, there: str) -> None:
    path = save_empty(tmp_path / "c", there)
    with pytest.raises(CheckpointError, match=f"looks like {there}, expected {asked}; give {there} as its backbone"):
        load_released(path, asked)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer3_fc.0.weight": None}, r"lacks the head of stage 3 \(layer3_fc.0.weight\)"),
        ({"layer2_fc.4.bias": None}, "another network: it lacks layer2_fc.4.bias$"),
        ({"layer1_fc.4.weight": None}, "so its heads' sizes are unknown"),
        ({"layer1_fc.0.weight": torch.zeros(3)}, "so its heads' sizes are unknown"),
        ({"layer1_fc.0.weight": torch.zeros(0, 256)}, "c has heads of 0 units and vectors of 4, expected 1 to 65536"),
        ({"layer1_fc.4.weight": torch.zeros(1).expand(2**33, 8)}, "heads of 8 units and vectors of 8589934592, exp"),
        ({"fusion_conv.weight": None}, "another network: it lacks fusion_conv.weight$"),
        (
            {"fusion_conv.weight": torch.zeros(1, 3, 1)},
            r"weight of shape \(1, 3, 1\), expected \(1, 4, 1\)",
        ),
        (
            {"layer4_fc.0.weight": torch.zeros(9, 2048)},
            r"weight of shape \(9, 2048\), expected \(8, 2048\)",
        ),
        ({"layer3.6.conv1.weight": torch.zeros(1)}, "it has an unknown layer3.6.conv1.weight$"),
        ({"conv1.weight": torch.full((64, 3, 7, 7), torch.nan)}, "has NaN or infinity in conv1.weight"),
        ({"conv1.weight": torch.zeros(64, 3, 7, 7, device="meta")}, "on meta, expected a plain tensor"),
        ({"conv1.weight": torch.zeros(64, 3, 7, 7, dtype=torch.complex64)}, "expected a plain tensor of real numbers"),
        ({"bn1.running_var": torch.full((64,), -1.0)}, "has a negative variance in bn1.running_var"),
        (
            {"conv1.weight": 3},
            "no dictionary of tensors, alone or as state_dict, .*; found iterations, arch, state_dict",
        ),
    ],
)
def test_a_network_that_does_not_fit_is_refused_by_its_released_names(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = save_empty(tmp_path / "c", **changes)
    with pytest.raises(CheckpointError, match=message):
        load_released(path, "resnet50")


def test_a_trunk_alone_and_other_networks_are_refused(tmp_path: Path) -> None:
    state = empty_state(SHAPES["resnet50"](8, 4))
    torch.save({name: state[name] for name in state if "_fc" not in name}, tmp_path / "trunk.pth")
    with pytest.raises(CheckpointError, match=r"has no heads .*: a trunk alone; .* dare train --weights"):
        load_released(tmp_path / "trunk.pth", "resnet50")
    torch.save(resnet18().state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(CheckpointError, match=r"neither of the released code's networks, .*: conv1.weight, bn1.weight"):
        load_released(tmp_path / "resnet18.pth", "resnet50")


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no released checkpoint at"):
        load_released(tmp_path / "none.pth", "resnet50")
    path = tmp_path / "c"
    for content in (b"hello", b"\x80\x02", b"PK\x03\x04"):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"is not a file that torch.save has written, or it is damaged"):
            load_released(path, "resnet50")
    for newer in (True, False):
        torch.save(checkpoint({}), path, pickle_protocol=4, _use_new_zipfile_serialization=newer)
        with pytest.raises(CheckpointError, match=r"is a pickle of protocol 4 or newer, expected 2"):
            load_released(path, "resnet50")
    torch.save([torch.zeros(1)], path)
    with pytest.raises(CheckpointError, match="holds a list, expected a dictionary"):
        load_released(path, "resnet50")
    for empty in ({}, {"state_dict": {}}):
        torch.save(empty, path)
        with pytest.raises(CheckpointError, match=r"holds no dictionary of tensors, .* found "):
            load_released(path, "resnet50")


def test_a_tensor_under_two_names_is_refused(tmp_path: Path) -> None:
    state = empty_state(SHAPES["resnet50"](8, 4))
    torch.save({**state, "module.bn1.weight": torch.zeros(64)}, tmp_path / "c")
    with pytest.raises(CheckpointError, match=r"has bn1.weight twice"):
        load_released(tmp_path / "c", "resnet50")


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "c"
    save_as_today(checkpoint({"conv1.weight": torch.ones(64, 3, 7, 7)}), path)
    content = bytearray(path.read_bytes())
    content[content.index(torch.ones(8).numpy().tobytes()) + 100] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"is damaged in .*; take another copy"):
        load_released(path, "resnet50")


@pytest.mark.parametrize("save", [save_as_today, save_as_before_1_6, save_as_0_2])
def test_a_file_that_was_cut_is_refused(tmp_path: Path, save: Callable[[Any, Path], None]) -> None:
    path = tmp_path / "c"
    save(checkpoint({"conv1.weight": torch.zeros(64, 3, 7, 7)}), path)
    content = path.read_bytes()
    for share in (0.1, 0.5, 0.99):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(CheckpointError, match="or it is damaged; take another copy"):
            load_released(path, "resnet50")


@pytest.mark.parametrize("save", [save_as_today, save_as_before_1_6])
def test_code_in_a_file_is_named_and_never_run(tmp_path: Path, save: Callable[[Any, Path], None]) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tmp_path / "ran",)

    path = tmp_path / "c"
    save({"state_dict": Payload()}, path)
    with pytest.raises(CheckpointError, match=r"is a pickle that asks for \S+, expected .*nothing in it was run"):
        load_released(path, "resnet50")
    assert not (tmp_path / "ran").exists()
    save(nn.Linear(1, 1), path)
    with pytest.raises(CheckpointError, match=r"asks for torch.nn.modules.linear.Linear, .*save the network's state"):
        load_released(path, "resnet50")
