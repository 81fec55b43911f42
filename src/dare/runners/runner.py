"""What every engine offers: the vectors of a batch, one exit after the other."""

import importlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dare.anytime.costs import ExitCosts
from dare.images.reading import Preparation
from dare.retrieval.distances import Space
from dare.runners.shipped import shipped_engine
from dare.shipped.network import shipped_names


class Walk(Protocol):
    """A batch on its way through a network, exit by exit, which leaves behind those who need not go on."""

    def exit(self, stop: Callable[[], bool] | None = None) -> NDArray[np.float32] | None:
        """(B, D) at the next exit; None behind the last one, or if `stop` said True on the way."""
        ...

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows of the batch only, in the order given. Numbers, no mask."""
        ...


def row_numbers(rows: Sequence[int]) -> list[int]:
    """What `Walk.keep` was given; a mask is refused, whose False and True would be rows 0 and 1."""
    numbers = np.asarray(rows)
    if numbers.dtype == bool:
        raise TypeError("keep takes the numbers of the rows that stay, got a mask; give np.flatnonzero(mask)")
    return [int(row) for row in numbers]


@runtime_checkable
class Runner(Protocol):
    """A network ready to run.

    Attributes:
        exit_names: what to call each exit, "stage 1" to "fusion".
        stage_names: the tapped stages, of which the fused vector is the weighted sum.
        preparation: how pictures become its input.
        costs: multiply-adds per exit.
        digest: of the checkpoint; "" for a network that was never saved.
        precision: what it computes in: "fp32", "bf16" or "int8".
        space: "shared" if the vectors of all exits lie in one space, that of the last; "own" if they do not.
        description: engine, precision, threads and device, to print beside measured times.
    """

    exit_names: tuple[str, ...]
    stage_names: tuple[str, ...]
    preparation: Preparation
    costs: ExitCosts
    digest: str
    precision: str
    space: Space

    @property
    def description(self) -> str: ...

    def exits(
        self, images: NDArray[np.float32], stop: Callable[[], bool] | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """(B, 3, H, W) -> (B, D) per exit, each computed when it is asked for; not to be written to.

        Args:
            images: finite numbers; what becomes of others depends on the engine. A network that takes tracklets gets
                their frames one behind the other, `preparation.frames` of each, and gives a vector for each tracklet.
            stop: asked before each block of a stage; when it says True no further exit comes.
        """
        ...

    def walk(self, images: NDArray[np.float32]) -> Walk:
        """As `exits`, for batches that shrink on the way."""
        ...

    def embed(self, images: NDArray[np.float32]) -> tuple[list[NDArray[np.float32]], NDArray[np.float32] | None]:
        """(B, 3, H, W) -> (B, D) per tapped stage, and the fused (B, D) if there is fusion."""
        ...


RUNNERS = {
    "eager": "dare.runners.eager:EagerRunner",
    "prepacked": "dare.runners.prepacked:PrepackedRunner",
    "captured": "dare.runners.captured:CapturedRunner",
    "onnx": "dare.runners.onnx:open_onnx",
    "openvino": "dare.runners.openvino:open_openvino",
}
"""Name -> where the engine is; imported when it is asked for."""

EXPORTED = ("onnx", "openvino")
"""Those that run exported steps and networks of others; the other ones run networks of torch."""

FOREIGN = {".onnx": ("onnx", "openvino"), ".xml": ("openvino",)}
"""Suffix of a file that holds a network of others -> what runs it, the default first."""

MANIFEST = "manifest.json"
"""What a folder of exported steps holds, and says which engine they are for."""


def open_runner(
    model: Any,
    name: str | None = None,
    *,
    precision: str | None = None,
    device: str = "cpu",
    threads: int = 1,
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
        threads: of exported steps and networks of others. Networks of torch take torch's own number
            (`torch.set_num_threads`).
        workers: more than one are processes of one thread each.
        preparation: how images are prepared for networks of others that don't say it themselves: a name in
            `dare.runners.preparations.FAMILIES`, or a JSON file.
    """
    parts = model if isinstance(model, list | tuple) else [model]
    if preparation is not None and not any(map(is_foreign, parts)):
        raise ValueError(
            f"a preparation is for networks of others ({', '.join(FOREIGN)}), others know theirs; leave it out"
        )
    settings: dict[str, Any] = {"precision": precision, "device": device, "threads": threads}
    if workers != 1:
        if threads != 1:
            raise ValueError(f"each worker has one thread, got {threads} threads and {workers} workers; leave one out")
        from dare.runners.workers import Workers

        return Workers(model, workers, name=name, preparation=preparation, **settings)
    if isinstance(model, list | tuple):
        from dare.runners.cascade import Cascade

        runners = [
            open_runner(part, name, preparation=preparation if is_foreign(part) else None, **settings) for part in model
        ]
        return runners[0] if len(runners) == 1 else Cascade(runners)
    if isinstance(model, str | Path):
        model = Path(model)
        if found := shipped_engine(model, name, precision, device):
            network, engine = found
            model, name, precision = network.checked(engine.place), engine.runner, engine.precision
    name = engine_of(model, name, device)
    if is_foreign(model):
        from dare.runners.foreign import open_foreign

        return open_foreign(model, name, precision=precision, threads=threads, preparation=preparation)
    module, _, attribute = RUNNERS[name].partition(":")
    build = getattr(importlib.import_module(module), attribute)
    runner: Runner
    if name in EXPORTED:
        runner = build(model, precision=precision, threads=threads)
    else:
        runner = build(model, precision=precision or "fp32", device=device)
    return runner


def engine_of(model: Any, name: str | None = None, device: str = "cpu", precision: str | None = None) -> str:
    """Which of `RUNNERS` runs a network: the one that is named, if it can; arguments as of `open_runner`."""
    if isinstance(model, Path | str) and (found := shipped_engine(Path(model), name, precision, device)):
        return found[1].runner
    if isinstance(model, Path | str) and not (Path(model).exists() or is_foreign(model)):
        known = f", or the name of a shipped network: {', '.join(names)}" if (names := shipped_names()) else ""
        raise ValueError(f"no checkpoint at {model}; give one, the folder of a training or an export{known}")
    exported = isinstance(model, Path | str) and (Path(model) / MANIFEST).exists()
    if name is None and exported:
        from dare.runners.exported import read_manifest

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
        raise ValueError(f"{model} holds exported steps, which the runner {name} does not run; leave the runner out")
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
