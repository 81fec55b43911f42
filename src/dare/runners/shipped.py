"""Which engine runs a shipped network: the fastest that is installed and gives the network's own answers here."""

import platform
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path

from dare.shipped.card import MODEL, Engine, ShippedError
from dare.shipped.network import ShippedNetwork, shipped_at

PACKAGES = {"eager": "torch", "prepacked": "torch", "captured": "torch", "onnx": "onnxruntime", "openvino": "openvino"}
"""Runner -> what it needs to be installed."""

MOST_LOSS = 0.001
"""Of mAP, at any exit, for an engine that is taken without being asked for: a tenth of a point, either way."""

FAST_WITH = {
    "fp32": frozenset[str](),
    "bf16": frozenset({"avx512_bf16", "amx_bf16"}),
    "int8": frozenset({"avx512_vnni", "avx_vnni", "amx_int8"}),
}
"""Precision -> instructions of which a processor needs one to be fast in it, as Linux names them."""


def shipped_engine(
    model: Path, runner: str | None, precision: str | None, device: str
) -> tuple[ShippedNetwork, Engine] | None:
    """A shipped network with what is to run it; None for any other model.

    Engines stand in the card in the order of their measured times. The first one is taken that can be imported, whose
    precision this processor computes fast, and that was measured to lose no more than `MOST_LOSS`; a precision or a
    runner that is asked for overrides that.

    Args:
        runner, precision, device: as of `open_runner`.

    Raises:
        ShippedError: the card is damaged, or it has no such runner and precision.
        ModuleNotFoundError: no engine is installed.
    """
    network = shipped_at(model)
    if network is None:
        return None
    if PACKAGES.get(runner or "", "") == "torch" or (runner is None and device != "cpu"):
        return network, Engine(runner or "eager", precision or "fp32", MODEL, (), ())
    fitting = [
        engine
        for engine in network.card.engines
        if runner in (None, engine.runner) and precision in (None, engine.precision)
    ]
    if not fitting:
        raise ShippedError(
            f"{network.card.name} was not shipped for {' in '.join(filter(None, (runner, precision)))}; choose "
            + ", ".join(f"{engine.runner} in {engine.precision}" for engine in network.card.engines)
        )
    usable = [engine for engine in fitting if runner or is_installed(engine.runner)]
    if not usable:
        needed = dict.fromkeys(PACKAGES[engine.runner] for engine in fitting)
        raise ModuleNotFoundError(
            f"{network.card.name} is run by {' or '.join(needed)}, and none is installed; "
            "install one with: pip install 'dare-reid[onnx]'"
        )
    if precision is None:
        flags = processor_flags()
        usable = [engine for engine in usable if _is_fit(engine, flags)]
    return network, usable[0]


def is_installed(runner: str) -> bool:
    """Whether what it needs can be imported."""
    return find_spec(PACKAGES[runner]) is not None


def _is_fit(engine: Engine, flags: Collection[str]) -> bool:
    """Whether it may be taken without being asked for; fp32 always may."""
    is_fast = not FAST_WITH[engine.precision].isdisjoint(flags)
    return engine.precision == "fp32" or (is_fast and max(map(abs, engine.losses)) <= MOST_LOSS)


def processor_flags() -> frozenset[str]:
    """Instruction sets of this machine's processor, as Linux names them; none where it cannot be asked."""
    if platform.system() != "Linux":
        return frozenset()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, words = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(words.split())
    return frozenset()
