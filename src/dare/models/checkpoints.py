"""A trained network on disk: one safetensors file that carries what is needed to use it.

The file's metadata hold a JSON description and the SHA-256 of the whole file (taken with the digest's own
64 characters set to zero), so that any changed or missing byte is noticed. Nothing is ever unpickled.
"""

import hashlib
import json
import struct
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from torch import Tensor

from dare.anytime.costs import ExitCosts
from dare.datasets.kinds import DEVICE, OWN, PIPE, SOCKET, kind_of, misplaced
from dare.datasets.seen import Seen
from dare.files import replacing, said
from dare.images.preparation import Preparation
from dare.models.backbones import build_backbone
from dare.models.baselines import BASELINES, HEADED, TRACKLETS
from dare.models.dare import DaRe
from dare.models.weights import load_strictly
from dare.retrieval.distances import Space, check_space
from dare.shipped.network import located, shipped_at

FORMAT = 1
MODEL_FILE = "model.safetensors"
BLANK = b"0" * 64

MOST_UNITS = 2**16
"""More than any head has: a file that says more would ask for a network that doesn't fit into memory."""

DARE = "dare"
"""The network that is not a baseline."""


class CheckpointError(ValueError):
    """A file that is not a usable checkpoint; says which one and why."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """What to build before weights can be loaded; fields as the arguments of `DaRe`.

    Attributes:
        backbone: a name in `BACKBONES`, or `timm/NAME`.
        taps, fusion, unit: of DaRe; the baselines have one exit and vectors of any length.
        hidden_dim: of DaRe and of the baselines in `HEADED`; the others have no such layer.
        embedding_dim: size of the vectors; 0 is what the trunk pools, for baselines that allow it.
        network: "dare", or a name in `BASELINES`.
    """

    backbone: str = "resnet50"
    taps: tuple[int, ...] | None = None
    fusion: bool = True
    embedding_dim: Annotated[int, Field(ge=0, le=MOST_UNITS)] = 128
    hidden_dim: Annotated[int, Field(ge=1, le=MOST_UNITS)] = 1024
    network: str = DARE
    unit: bool = False

    def __post_init__(self) -> None:
        if self.network != DARE and self.network not in BASELINES:
            raise ValueError(f"unknown network {self.network!r}; choose {', '.join([DARE, *BASELINES])}")
        if self.network != DARE and self.taps is not None:
            raise ValueError(f"{self.network} has one exit, behind its last stage; leave taps out")
        if self.network != DARE and self.unit:
            raise ValueError(f"vectors of {self.network} are not scaled to length 1; leave unit out")

    def build(self, weights: str | Path | None = None, frames: int = 1) -> DaRe:
        """The network.

        Args:
            weights: of the trunk; None: random.
            frames: as in `Preparation`.
        """
        if frames != 1 and self.network not in TRACKLETS:
            raise ValueError(f"{self.network} takes pictures one by one, got frames={frames}; set frames to 1")
        stages = build_backbone(self.backbone, weights)
        if self.network == DARE:
            return DaRe(stages, self.embedding_dim, self.hidden_dim, self.taps, self.fusion, unit=self.unit)
        own = {"hidden_dim": self.hidden_dim} if self.network in HEADED else {}
        own |= {"frames": frames} if self.network in TRACKLETS else {}
        return BASELINES[self.network](stages, self.embedding_dim, **own)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A network with all that is needed to use it.

    Attributes:
        model: in evaluation mode when loaded.
        architecture: how it is built.
        preparation: input size, mean and standard deviation.
        costs: multiply-adds per exit.
        training: how it was trained: settings, data, iterations; for people to read.
        digest: SHA-256 of the file; empty before it is saved.
        space: whether the vectors of all exits lie in one space. All exits of an architecture are of one size.
        seen: whom it was trained on, as `dare.datasets.seen` says; "" if nothing is known.
    """

    model: DaRe
    architecture: Architecture
    preparation: Preparation
    costs: ExitCosts
    training: dict[str, Any] = field(default_factory=dict)
    digest: str = ""
    space: Space = "own"
    seen: str = ""

    def __post_init__(self) -> None:
        check_space(self.space)


class Header(BaseModel):
    """The description in a checkpoint's file; fields as those of `Checkpoint`."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    format: Annotated[int, Field(ge=1, le=FORMAT)]
    kind: Literal["model"]
    architecture: Architecture
    preparation: Preparation
    costs: ExitCosts
    training: dict[str, Any]
    space: Space = "own"
    seen: Seen = ""


def save_checkpoint(path: Path, checkpoint: Checkpoint, *, half: bool = False) -> str:
    """Write a checkpoint in one piece; returns its digest.

    Args:
        half: keep matrices and kernels in float16, in half the size. The network that is read from the file has these
            rounded weights. Biases, norms and their statistics, which are few and may be tiny, stay as they are.
    """
    info = {
        "kind": "model",
        "architecture": asdict(checkpoint.architecture),
        "preparation": asdict(checkpoint.preparation),
        "costs": asdict(checkpoint.costs),
        "space": checkpoint.space,
        **({"seen": checkpoint.seen} if checkpoint.seen else {}),
        "training": checkpoint.training,
    }
    tensors = checkpoint.model.state_dict()
    if half:
        tensors = {name: _halved(name, tensor) if tensor.ndim > 1 else tensor for name, tensor in tensors.items()}
    return write_tensors(path, tensors, info)


def _halved(name: str, tensor: Tensor) -> Tensor:
    """The tensor in float16; what does not fit is refused."""
    if not tensor.is_floating_point():
        return tensor
    halved = tensor.to(torch.float16)
    if not torch.isfinite(halved).all():
        raise ValueError(f"{name} has values beyond 65504, which float16 cannot hold; keep the checkpoint whole")
    return halved


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint file, the one in a training run's folder, or that of a shipped network, by its name.

    Raises:
        CheckpointError: missing, damaged, not a checkpoint of ours, of a newer format or another network.
    """
    shipped, path = shipped_at(path), located(path)
    if path.is_dir():
        if misfit := None if (path / MODEL_FILE).exists() else misplaced(path, "the folder of a training"):
            raise CheckpointError(misfit)
        path = path / MODEL_FILE
    tensors, info, digest = read_tensors(path, "model")
    try:
        header = Header.model_validate_json(json.dumps(info))
        model = header.architecture.build(frames=header.preparation.frames)
        load_strictly(model, tensors, str(path))
        if len(header.costs.macs) != len(model.exit_names):
            raise ValueError(f"{path}: costs of {len(header.costs.macs)} exits for {len(model.exit_names)}")
    except ValidationError as error:
        raise CheckpointError(f"{said(error, path)}; this version can't build the network") from error
    except (ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path} does not describe a network this version can build: {error}") from error
    return Checkpoint(
        model.eval(),
        header.architecture,
        header.preparation,
        header.costs,
        header.training,
        digest,
        header.space,
        header.seen or (shipped.card.seen if shipped else ""),
    )


def write_tensors(path: Path, tensors: dict[str, Tensor], info: dict[str, Any]) -> str:
    """Write tensors and a description in one piece; returns the digest. The same content is the same file."""
    metadata = {"dare": json.dumps({"format": FORMAT, **info}), "sha256": BLANK.decode()}
    content = safetensors.torch.save({n: t.contiguous() for n, t in tensors.items()}, metadata=metadata)
    (length,) = struct.unpack_from("<Q", content)
    # safetensors writes the metadata's two keys now in one order, now in the other.
    header = json.loads(content[8 : 8 + length]) | {"__metadata__": metadata}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    start, rest = struct.pack("<Q", len(text)) + text, memoryview(content)[8 + length :]
    check = hashlib.sha256(start)
    check.update(rest)
    position = _digest_position(start, BLANK)
    with replacing(path) as file:
        file.write(start[:position] + check.hexdigest().encode() + start[position + len(BLANK) :])
        file.write(rest)
    return check.hexdigest()


def read_tensors(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any], str]:
    """Tensors, description and digest of a file that `write_tensors` has written.

    Raises:
        CheckpointError: as in `load_checkpoint`.
    """
    expected = "a checkpoint of dare"
    if kind_of(path) in (PIPE, SOCKET, DEVICE):
        raise CheckpointError(misplaced(path, expected))
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        missing = f"no checkpoint at {path}; give a {MODEL_FILE} or the folder that holds it"
        raise CheckpointError(misplaced(path, expected) or missing) from None
    try:
        (length,) = struct.unpack_from("<Q", content)
        metadata = json.loads(content[8 : 8 + length])["__metadata__"]
        info = json.loads(metadata["dare"])
        digest = metadata["sha256"]
        position = _digest_position(content, digest.encode())
        format_number = int(info.get("format", 0))
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, UnicodeError, RecursionError):
        damaged = f"{path} is not {expected}, or its header is damaged; take another copy"
        raise CheckpointError(damaged if kind_of(path) is OWN else misplaced(path, expected) or damaged) from None
    if format_number > FORMAT:
        raise CheckpointError(
            f"{path} has format {format_number}, this version reads up to {FORMAT}; upgrade dare-reid"
        )
    check = hashlib.sha256(content[:position])
    check.update(BLANK)
    check.update(memoryview(content)[position + len(BLANK) :])
    if check.hexdigest() != digest:
        raise CheckpointError(f"{path} is truncated or damaged: its SHA-256 does not match; take another copy")
    if info.get("kind") != kind:
        raise CheckpointError(f"{path} holds a {info.get('kind')}, expected a {kind}; give the {MODEL_FILE}")
    try:
        return safetensors.torch.load(content), info, digest
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged ({error}); take another copy") from error


def _digest_position(content: bytes, digest: bytes) -> int:
    """Where the digest stands in the header."""
    if len(digest) != len(BLANK):
        raise ValueError("not a SHA-256 digest")
    return content.index(b'"sha256":"' + digest) + len(b'"sha256":"')
