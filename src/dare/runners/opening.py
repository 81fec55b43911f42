"""Opening a network: which engine runs it, and for a shipped one which is the fastest here."""

import importlib
import platform
from collections.abc import Collection
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dare.datasets.kinds import misplaced
from dare.runners.cascade import cascade_of
from dare.runners.exported import EXPORTED, MANIFEST, read_manifest
from dare.runners.runner import Runner
from dare.shipped.card import MODEL, Engine, ShippedError
from dare.shipped.network import ShippedNetwork, shipped_at, shipped_names

RUNNERS = {
    "eager": "dare.runners.eager:open_eager",
    "prepacked": "dare.runners.prepacked:open_prepacked",
    "onnx": "dare.runners.onnx:open_onnx",
    "openvino": "dare.runners.openvino:open_openvino",
}
"""Name -> where the engine is; imported when it is asked for."""

FOREIGN = {".onnx": ("onnx", "openvino"), ".xml": ("openvino",)}
"""Suffix of a file that holds a network of others -> what runs it, the default first."""

PACKAGES = {"eager": "torch", "prepacked": "torch", "onnx": "onnxruntime", "openvino": "openvino"}
"""Runner -> what it needs to be installed."""

MOST_LOSS = 0.002
"""Of mAP, at any exit, either way, for an engine that is taken without being asked for. On a few hundred queries
bfloat16's rounding alone moves a tenth of a point."""

FAST_WITH = {
    "fp32": frozenset[str](),
    "bf16": frozenset({"avx512_bf16", "amx_bf16"}),
    "int8": frozenset({"avx512_vnni", "avx_vnni", "amx_int8"}),
}
"""Precision -> instructions of which a processor needs one to be fast in it, as Linux names them."""


def open_runner(
    model: Any,
    name: str | None = None,
    *,
    precision: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    workers: int = 1,
    preparation: str | Path | None = None,
) -> Runner:
    """Make a network ready to run.

    Args:
        model: a checkpoint, its path, the folder of a training, a `DaRe`, a folder of exported steps, the name of a
            shipped network, or an .onnx or OpenVINO .xml file of others; several make a cascade: they are evaluated in
            order, and each is one exit.
        name: one of `RUNNERS`; by default the one that steps were exported for or that the file's suffix implies, for
            networks of torch `prepacked` on the CPU and `eager` elsewhere, and for a shipped network the fastest that
            is installed.
        precision: "fp32", or "bf16" for the trunk; exported steps have theirs, and a shipped network has several.
        device: of torch.
        threads: that it computes with; by default 1, and for networks of torch torch's own number.
        workers: more than one are processes of one thread each.
        preparation: how images are prepared for networks of others that don't say it themselves: a name in
            `dare.runners.preparations.FAMILIES`, or a JSON file.
    """
    parts = model if isinstance(model, list | tuple) else [model]
    if preparation is not None and not any(map(is_foreign, parts)):
        raise ValueError(
            f"a preparation is for networks of others ({', '.join(FOREIGN)}), others know theirs; leave it out"
        )
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    settings: dict[str, Any] = {"precision": precision, "device": device, "threads": threads}
    if workers != 1:
        if threads not in (None, 1):
            raise ValueError(f"each worker has one thread, got {threads} threads and {workers} workers; leave one out")
        from dare.runners.workers import Workers

        return Workers(model, workers, name=name, preparation=preparation, **settings).runner()
    if isinstance(model, list | tuple):
        runners = [
            open_runner(part, name, preparation=preparation if is_foreign(part) else None, **settings) for part in model
        ]
        return runners[0] if len(runners) == 1 else cascade_of(runners)
    seen = ""
    if isinstance(model, str | Path):
        model = Path(model)
        if found := shipped_engine(model, name, precision, device):
            network, engine = found
            seen = network.card.seen
            model, name, precision = network.checked(engine.place), engine.runner, engine.precision
    name = engine_of(model, name, device)
    if is_foreign(model):
        from dare.runners.foreign import open_foreign

        return open_foreign(model, name, precision=precision, threads=threads or 1, preparation=preparation)
    module, _, attribute = RUNNERS[name].partition(":")
    build = getattr(importlib.import_module(module), attribute)
    runner: Runner
    if name in EXPORTED:
        runner = build(model, precision=precision, threads=threads or 1)
    else:
        runner = build(model, precision=precision or "fp32", device=device, threads=threads)
    return replace(runner, seen=seen) if seen and not runner.seen else runner


def engine_of(model: Any, name: str | None = None, device: str = "cpu", precision: str | None = None) -> str:
    """Which of `RUNNERS` runs a network: the one that is named, if it can; arguments as of `open_runner`."""
    if isinstance(model, Path | str) and (found := shipped_engine(Path(model), name, precision, device)):
        return found[1].runner
    if isinstance(model, Path | str) and not (Path(model).exists() or is_foreign(model)):
        if misfit := misplaced(model, "a network"):
            raise ValueError(misfit)
        known = f", or the name of a shipped network: {', '.join(names)}" if (names := shipped_names()) else ""
        raise ValueError(f"no checkpoint at {model}; give one, the folder of a training or an export{known}")
    exported = isinstance(model, Path | str) and (Path(model) / MANIFEST).exists()
    if name is None and exported:
        return read_manifest(Path(model)).engine
    if name is None and is_foreign(model):
        return FOREIGN[Path(model).suffix.lower()][0]
    name = name or ("prepacked" if device == "cpu" else "eager")
    if name not in RUNNERS:
        raise ValueError(f"unknown runner {name!r}; choose {', '.join(RUNNERS)}")
    if is_foreign(model):
        engines = FOREIGN[Path(model).suffix.lower()]
        if name not in engines:
            raise ValueError(
                f"{model} is run by {' or '.join(engines)}, not by the runner {name}; leave the runner out"
            )
        return name
    if exported and name not in EXPORTED:
        raise ValueError(f"{model} holds exported steps, which the runner {name} doesn't run; leave the runner out")
    if name in EXPORTED and not exported:
        given = model if isinstance(model, Path | str) else f"a {type(model).__name__}"
        raise ValueError(f"the runner {name} runs what `dare export --format {name}` wrote, got {given}")
    return name


def engines_of(model: Any, name: str | None = None, device: str = "cpu", precision: str | None = None) -> set[str]:
    """As `engine_of`, also for the networks of a cascade."""
    parts = model if isinstance(model, list | tuple) else [model]
    return {engine_of(part, name, device, precision) for part in parts}


def is_foreign(model: Any) -> bool:
    """Whether a network is one that others trained, by its file's suffix."""
    return isinstance(model, Path | str) and Path(model).suffix.lower() in FOREIGN and not Path(model).is_dir()


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
            f"install one with: pip install 'dare-reid[{'onnx' if 'onnxruntime' in needed else next(iter(needed))}]'"
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
    is_fast = not FAST_WITH.get(engine.precision, frozenset()).isdisjoint(flags)
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
