"""A network run by torch as it is, and what the engines of torch share."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dare.images.preparation import Preparation
from dare.models.checkpoints import Architecture, Checkpoint, load_checkpoint
from dare.models.dare import DaRe, Step, choose_device, count_macs, describe_device
from dare.runners.runner import Runner, Steps, StepWalk, Stop, Vectors, to_front


def open_eager(
    model: Checkpoint | DaRe | Path, *, precision: str = "fp32", device: str = "cpu", threads: int | None = None
) -> Runner:
    """The reference engine: every other one gives the same vectors.

    Args:
        model: a checkpoint or where one is; a bare `DaRe` takes 256x128 with ImageNet's normalisation. The network is
            not copied: it is moved to the device and put into evaluation mode.
        precision: "fp32", or "bf16" for the trunk; heads stay in float32.
        device: of torch.
        threads: that it computes with; None takes torch's own number.
    """
    if precision not in ("fp32", "bf16"):
        raise ValueError(f"the eager runner computes in fp32 or bf16, not in {precision!r}")
    network, place = as_checkpoint(model), choose_device(device)
    whole: DaRe = network.model.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run(number: int, features: Tensor, stop: Stop | None) -> tuple[Tensor, Vectors | None] | None:
        with torch.inference_mode(), torch.autocast(place.type, torch.bfloat16, enabled=precision == "bf16"):
            step: Any = whole.steps[number]
            result = step(features) if stop is None else step.until(features, stop)
            if result is None:
                return None
            return result, None if step.head is None else step.embed(result).float().cpu().numpy()

    return torch_runner(network, torch_steps(whole, run, threads), precision, f"eager, {precision}", place)


def torch_runner(
    network: Checkpoint, steps: Steps, precision: str, words: str, device: torch.device, together: int | None = None
) -> Runner:
    """What a checkpoint says, around steps that take tensors.

    Args:
        words: engine and precision.
    """
    return Runner(
        network.model.exit_names,
        tuple(f"stage {tap}" for tap in network.model.taps),
        network.preparation,
        network.costs,
        network.digest,
        precision,
        network.space,
        f"{words}, {describe_device(device)}",
        lambda images: StepWalk(steps, as_tensor(images, device)),
        together,
        fusion=() if steps.fusion is None else tuple(steps.fusion.tolist()),
        seen=network.seen,
    )


def torch_steps(model: DaRe, run: Any, threads: int | None) -> Steps:
    """The form of a network, around what runs its steps, with n threads."""

    def run_with(number: int, features: Tensor, stop: Stop | None) -> tuple[Tensor, Vectors | None] | None:
        if threads is not None and threads != torch.get_num_threads():  # of this thread, which may be a new one
            torch.set_num_threads(threads)
        found: tuple[Tensor, Vectors | None] | None = run(number, features, stop)
        return found

    tapped = [isinstance(step, Step) and step.head is not None for step in model.steps]
    keep = torch.inference_mode()(to_front)  # outside of it tensors that were made inside may not be written to
    if model.fusion is None:
        return Steps(tapped, None, False, run_with, keep)
    return Steps(tapped, model.fusion.weights.detach().cpu().numpy().copy(), model.fusion.unit, run_with, keep)


def as_checkpoint(model: Checkpoint | DaRe | Path) -> Checkpoint:
    """A network with what is needed to use it, in evaluation mode, not copied; a bare one as if it were never saved."""
    if isinstance(model, Path):
        model = load_checkpoint(model)
    if isinstance(model, DaRe):
        model = Checkpoint(model, Architecture(), Preparation(frames=model.frames), count_macs(model))
    model.model.eval()
    return model


def as_tensor(images: NDArray[np.float32] | Tensor, device: torch.device) -> Tensor:
    """(B, 3, H, W), channels last, float32, on the device."""
    if isinstance(images, np.ndarray) and not (images.flags.c_contiguous and images.flags.writeable):
        images = np.array(images, np.float32)  # torch takes no mirrored views and warns of read-only ones
    tensor = torch.as_tensor(images)
    if tensor.ndim != 4 or tensor.shape[1] != 3:
        raise ValueError(f"expected images (B, 3, H, W), got shape {tuple(tensor.shape)}")
    return tensor.to(device, torch.float32, memory_format=torch.channels_last)
