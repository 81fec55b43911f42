"""Where torch computes."""

import torch


def choose_device(name: str) -> torch.device:
    """A device by its name: cpu, cuda, cuda:1, mps.

    Raises:
        ValueError: torch does not know the name, or this machine has no such device.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except Exception as error:  # torch raises a kind of its own for every back end
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"device {name!r} cannot be used ({reason}); choose cpu, or one that this machine has"
        ) from error
    return device


def describe_device(device: torch.device) -> str:
    """What computes: the GPU's name, or the processor's and the number of torch's threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{device.type}, {threads} thread{'s' if threads > 1 else ''}"
