"""Checkpoints: whole or not there, checked to the last bit, never a pickle."""

import errno
import json
import os
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import torch

from dare.images.preparation import Preparation
from dare.models import count_macs
from dare.models.checkpoints import (
    Architecture,
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    read_tensors,
    save_checkpoint,
    write_tensors,
)

ARCHITECTURE = Architecture("slim", taps=(1, 2), embedding_dim=8, hidden_dim=8)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = ARCHITECTURE.build()
    checkpoint = Checkpoint(model, ARCHITECTURE, Preparation(64, 32), count_macs(model, 64, 32), {"data": "drawn"})
    save_checkpoint(tmp_path / "model.safetensors", checkpoint)
    return tmp_path / "model.safetensors"


def test_a_checkpoint_carries_what_is_needed_to_use_it(saved: Path) -> None:
    for place in (saved, saved.parent, str(saved)):
        loaded = load_checkpoint(place)
        assert loaded.architecture == ARCHITECTURE
        assert loaded.preparation == Preparation(64, 32)
        assert loaded.model.exit_names == ("stage 1", "fusion")
        assert loaded.costs == count_macs(loaded.model, 64, 32)
        assert not loaded.model.training
        assert len(loaded.digest) == 64


def test_in_half_the_size_matrices_are_rounded_to_float16_and_nothing_else(saved: Path, tmp_path: Path) -> None:
    whole = load_checkpoint(saved)
    next(t for n, t in whole.model.state_dict().items() if "running_var" in n).fill_(1e-9)  # nothing in float16
    save_checkpoint(tmp_path / "half.safetensors", whole, half=True)
    halved = load_checkpoint(tmp_path / "half.safetensors")
    assert halved.digest != whole.digest
    assert (tmp_path / "half.safetensors").stat().st_size < 0.75 * saved.stat().st_size
    for name, tensor in whole.model.state_dict().items():
        found, expected = halved.model.state_dict()[name], tensor.numpy()
        assert found.dtype == tensor.dtype
        if tensor.ndim > 1:
            expected = expected.astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(found.numpy(), expected)


def test_a_weight_that_float16_cannot_hold_is_named(saved: Path, tmp_path: Path) -> None:
    whole = load_checkpoint(saved)
    name = next(name for name, tensor in whole.model.state_dict().items() if tensor.ndim == 4)
    whole.model.state_dict()[name].view(-1)[0] = 70000
    with pytest.raises(ValueError, match=f"{name} has values beyond 65504"):
        save_checkpoint(tmp_path / "half.safetensors", whole, half=True)
    assert not (tmp_path / "half.safetensors").exists()


def test_the_digest_is_sha256_with_its_own_characters_zero(saved: Path) -> None:
    import hashlib

    digest = load_checkpoint(saved).digest
    blank = saved.read_bytes().replace(digest.encode(), b"0" * 64)
    assert hashlib.sha256(blank).hexdigest() == digest


def test_a_checkpoint_from_before_there_were_baselines_is_dare(saved: Path) -> None:
    tensors, info, _ = read_tensors(saved, "model")
    del info["architecture"]["network"]
    write_tensors(saved, tensors, info)
    assert load_checkpoint(saved).architecture == ARCHITECTURE


def test_a_checkpoint_says_whether_its_exits_share_a_space_and_an_old_one_has_spaces_of_their_own(saved: Path) -> None:
    assert load_checkpoint(saved).space == "own"
    save_checkpoint(saved, replace(load_checkpoint(saved), space="shared"))
    assert load_checkpoint(saved).space == "shared"
    tensors, info, _ = read_tensors(saved, "model")
    write_tensors(saved, tensors, info | {"space": "both"})
    with pytest.raises(CheckpointError, match="space: expected 'own' or 'shared', got 'both'"):
        load_checkpoint(saved)
    del info["space"]
    write_tensors(saved, tensors, info)
    assert load_checkpoint(saved).space == "own"
    with pytest.raises(ValueError, match="own or shared"):
        replace(load_checkpoint(saved), space="one")  # type: ignore[arg-type]


def test_any_safetensors_reader_can_open_it(saved: Path) -> None:
    import safetensors

    with safetensors.safe_open(saved, "pt") as file:
        assert json.loads(file.metadata()["dare"])["format"] == 1


def test_every_flipped_bit_and_every_cut_is_noticed(saved: Path) -> None:
    content = saved.read_bytes()
    random = np.random.default_rng(0)
    header = 8 + struct.unpack_from("<Q", content)[0]
    places = [*range(0, header, 7), *random.integers(header, len(content), 300).tolist()]
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << random.integers(8)
        saved.write_bytes(bytes(damaged))
        with pytest.raises(CheckpointError):
            load_checkpoint(saved)
    for length in [0, 1, 7, 8, 100, header, header + 1, len(content) - 1]:
        saved.write_bytes(content[:length])
        with pytest.raises(CheckpointError):
            load_checkpoint(saved)
    saved.write_bytes(content + b"\0")
    with pytest.raises(CheckpointError):
        load_checkpoint(saved)


def test_a_pickle_is_named_and_never_loaded(tmp_path: Path) -> None:
    model = ARCHITECTURE.build()
    torch.save(model.state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"is a file of weights that PyTorch saved, .*--weights"):
        load_checkpoint(tmp_path)


def test_a_missing_foreign_or_other_file_is_named(tmp_path: Path) -> None:
    import safetensors.torch

    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_checkpoint(tmp_path)
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"is a safetensors file of weights, .* takes it as --weights"):
        load_checkpoint(tmp_path)
    write_tensors(tmp_path / "model.safetensors", {"a": torch.zeros(1)}, {"kind": "training state"})
    with pytest.raises(CheckpointError, match="holds a training state, expected a model"):
        load_checkpoint(tmp_path)


def test_a_file_that_lacks_a_part_is_refused(saved: Path) -> None:
    tensors, info, _ = read_tensors(saved, "model")
    for part in ("architecture", "preparation", "costs", "training"):
        write_tensors(saved, tensors, {name: value for name, value in info.items() if name != part})
        with pytest.raises(CheckpointError, match=f"expected {part}, which is missing"):
            load_checkpoint(saved)
    header = b"[" * 200_000
    saved.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(CheckpointError, match="is not a checkpoint of dare"):
        load_checkpoint(saved)


def test_costs_of_another_number_of_exits_are_refused(saved: Path) -> None:
    tensors, info, _ = read_tensors(saved, "model")
    write_tensors(saved, tensors, {**info, "costs": {"macs": [1, 2, 3, 4, 5], "source": "elsewhere"}})
    with pytest.raises(CheckpointError, match="costs of 5 exits"):
        load_checkpoint(saved)


def test_a_newer_format_asks_for_an_upgrade(saved: Path) -> None:
    tensors, info, _ = read_tensors(saved, "model")
    write_tensors(saved, tensors, {**info, "format": 2})
    with pytest.raises(CheckpointError, match="has format 2, this version reads up to 1; upgrade dare-reid"):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    ("part", "change", "reason"),
    [
        ("architecture", {"backbone": "resnet18"}, "holds the weights of another network"),
        ("architecture", {"backbone": "from the future"}, "unknown backbone"),
        ("architecture", {"embedding_dim": 9}, "of shape"),
        ("architecture", {"embedding_dim": "8"}, "architecture.embedding_dim: expected a valid integer, got '8'"),
        ("architecture", {"hidden_dim": 10**400}, "architecture.hidden_dim: expected at most 65536"),
        ("architecture", {"attention": True}, "architecture.attention is unknown"),
        ("architecture", {"network": "from the future"}, "unknown network"),
        ("architecture", {"network": "ide"}, "ide has one exit"),
        ("preparation", {"height": 0}, "at least 16 pixels"),
        ("preparation", {"height": 32.5}, "preparation.height: expected a valid integer"),
        ("preparation", {"mean": [0.5]}, "preparation.mean"),
        ("preparation", {"std": [float("nan"), 1, 1]}, "preparation.std.0: expected a finite number"),
        ("costs", {"macs": [2, 1]}, "exit costs must increase"),
    ],
)
def test_a_header_of_another_network_is_refused(saved: Path, part: str, change: dict[str, object], reason: str) -> None:
    tensors, info, _ = read_tensors(saved, "model")
    write_tensors(saved, tensors, {**info, part: {**info[part], **change}})
    with pytest.raises(CheckpointError, match=reason):
        load_checkpoint(saved)


def test_a_full_disk_leaves_the_old_checkpoint(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()
    checkpoint = load_checkpoint(saved)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        save_checkpoint(saved, checkpoint)
    assert caught.value.filename == str(saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


@pytest.mark.heavy
def test_the_same_content_is_the_same_file_in_every_process(tmp_path: Path) -> None:
    """And in every thread: what safetensors hashes with is drawn once for each of them."""
    arrays, info = {"a": torch.ones(3), "b": torch.zeros(2)}, {"kind": "model", "é": 1}
    with ThreadPoolExecutor(8) as pool:
        together = Barrier(8)

        def write(number: int) -> str:
            together.wait()  # so that each thread writes one
            return write_tensors(tmp_path / f"{number}.safetensors", arrays, info)

        digests = [*pool.map(write, range(8))]
    code = (
        "import sys, torch; from pathlib import Path; from dare.models.checkpoints import write_tensors; "
        "print(write_tensors(Path(sys.argv[1]), {'a': torch.ones(3), 'b': torch.zeros(2)}, {'kind': 'model', 'é': 1}))"
    )
    command = [sys.executable, "-c", code, tmp_path / "8.safetensors"]
    digests.append(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    assert len({*digests}) == 1
    assert len({(tmp_path / f"{number}.safetensors").read_bytes() for number in range(9)}) == 1
