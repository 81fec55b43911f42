"""How a training step is computed: precision, and memory that is kept."""

import copy
import ctypes
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch

from dare.models.dare import DaRe
from dare.training.batches import Batch
from dare.training.convolutions import FastConvolutions
from dare.training.losses import Objective

ROUNDS = 2
GAIN = 1.1
"""How much faster than float32 bfloat16 must be: near a draw the exact one is taken."""


@contextmanager
def computing(precision: str, device: torch.device) -> Iterator[None]:
    """Inside, convolutions and products compute in a precision, "fp32" or "bf16"."""
    bf16 = precision == "bf16"
    fast = FastConvolutions(bf16) if device.type == "cpu" else nullcontext()
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16), fast:
        yield


def choose_precision(
    asked: str,
    device: torch.device,
    model: DaRe,
    objective: Objective,
    batch: Callable[[int], Batch],
    iteration: int,
) -> str:
    """ "fp32" or "bf16": what was asked for, or for "auto" what the device is made for; on a CPU, what is faster.

    It is timed on copies of the model and the objective, which leaves traces in torch's random numbers alone; in CPU
    time, which other programs disturb less than wall time.
    """
    if asked != "auto":
        return asked
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    if device.type != "cpu" or not _has_bf16():
        return "fp32"
    model, objective = copy.deepcopy((model, objective))
    shown = batch(iteration)
    seconds: dict[str, list[float]] = {"fp32": [], "bf16": []}
    for _ in range(1 + ROUNDS):
        for precision, times in seconds.items():
            before = time.process_time()
            model.zero_grad()
            objective.zero_grad()
            with computing(precision, device):
                losses = objective(model, shown, iteration)
            losses.total.backward()
            times.append(time.process_time() - before)
    fp32, bf16 = (min(times[1:]) for times in seconds.values())  # the first one prepares kernels
    return "bf16" if GAIN * bf16 < fp32 else "fp32"


def _has_bf16() -> bool:
    """Whether the CPU has instructions for bfloat16; a torch that cannot tell has it measured."""
    if not hasattr(torch.cpu, "get_capabilities"):
        return True
    return any(has for name, has in torch.cpu.get_capabilities().items() if "bf16" in name)


# Parameters of glibc's mallopt (malloc.h), and what they are set to.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -2, -3, -4
KEEPING = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1, M_TOP_PAD: 64 << 20}
# What glibc comes to by itself in a process that frees large blocks; its rules cannot be switched on again.
USUAL = {M_MMAP_MAX: 65536, M_MMAP_THRESHOLD: 32 << 20, M_TRIM_THRESHOLD: 64 << 20, M_TOP_PAD: 128 << 10}


@contextmanager
def memory_kept() -> Iterator[None]:
    """Inside, freed memory stays with the process; afterwards it goes back to the system.

    glibc returns large blocks at once and asks for them again at the next step, and the system clears every page of
    them: up to half the time of a training step on a CPU. Without glibc nothing happens.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    for parameter, value in KEEPING.items():
        libc.mallopt(parameter, value)
    try:
        yield
    finally:
        for parameter, value in USUAL.items():
            libc.mallopt(parameter, value)
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """The C library of this process, if it is glibc."""
    return ctypes.CDLL(None) if "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", {}) else None
