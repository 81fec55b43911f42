"""Networks that others trained, from an .onnx or OpenVINO .xml file, behind the interface of all runners: one exit."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dare.anytime.costs import ExitCosts
from dare.datasets.kinds import ONNX, OPENVINO, kind_of, misplaced
from dare.runners.exported import PRECISIONS
from dare.runners.graphs import GRAPHS, Graph, Port
from dare.runners.preparations import ForeignError, ForeignPreparation, preparation_of
from dare.runners.runner import Runner, Steps, StepWalk, Stop, Vectors, as_input, slices


def open_foreign(
    file: Path,
    engine: str,
    *,
    precision: str | None = None,
    threads: int = 1,
    preparation: str | Path | None = None,
) -> Runner:
    """Make a network of others ready to run on a CPU, with one exit, "network".

    Args:
        file: .onnx, or .xml with its .bin beside it. It takes images (B, 3, H, W) and gives one vector for each.
        engine: "onnx" or "openvino".
        precision: "fp32", or with OpenVINO "bf16"; a network in whole numbers is "int8".
        threads: that it computes with.
        preparation: a name in `FAMILIES` or a JSON file; not needed where the network or a file beside it says it.

    Raises:
        FileNotFoundError, ForeignError: what the file is, or is not.
    """
    files = network_files(file)
    graph = GRAPHS[engine](file, threads)
    how = preparation_of(file, preparation, graph.family)
    shape, one_by_one = _input(file, graph, how)
    how = replace(how, height=shape[2], width=shape[3])
    work = graph.work(shape)
    if not work.macs:
        raise ForeignError(f"{file} holds no convolution or matrix product; expected a network")
    offered = ("int8",) if work.quantised else PRECISIONS[engine][:-1]
    if precision not in (None, *offered):
        raise ForeignError(f"{file} runs in {' or '.join(offered)} by {engine}, got precision {precision!r}")
    precision = precision or offered[0]
    words = graph.start(shape, precision)
    left_out = f"; not counted: {', '.join(sorted(work.uncounted))}" if work.uncounted else ""
    counted = f"counted at {shape[2]}x{shape[3]} in {file.name}, convolutions and matrix products{left_out}"
    step = _ForeignStep(file, graph, how, _dimensions(file, graph, shape), one_by_one)
    steps, prepared = Steps((True,), None, False, step.run), how.at(shape[2], shape[3])
    return Runner(
        ("network",),
        ("network",),
        prepared,
        ExitCosts((work.macs,), counted),
        _digest(files, how),
        precision,
        "own",
        words,
        lambda images: StepWalk(steps, as_input(images, prepared)),
    )


class _ForeignStep:
    """The whole network, with its own order of channels and length of vectors.

    Args:
        one_by_one: whether the graph takes one image at a time.
    """

    def __init__(self, file: Path, graph: Graph, how: ForeignPreparation, dimensions: int, one_by_one: bool) -> None:
        self._file, self._graph, self._how = file, graph, how
        self._dimensions, self._one_by_one = dimensions, one_by_one

    def run(self, step: int, features: NDArray[np.float32], stop: Stop | None) -> tuple[None, Vectors] | None:
        """As `Steps.run`."""
        if stop is not None and stop():
            return None
        vectors = np.empty((len(features), self._dimensions), np.float32)
        sizes = [1] * len(features) if self._one_by_one or not len(features) else slices(len(features))
        start = 0
        for size in sizes:
            here = slice(start, start + size)
            images = features[here, ::-1] if self._how.colours == "BGR" else features[here]
            found = self._graph.run(np.ascontiguousarray(images))
            if found.size != size * self._dimensions or len(found) != size:
                raise ForeignError(
                    f"{self._file} gives {found.shape} for {size} images, expected ({size}, {self._dimensions}); "
                    "its batch is fixed inside; export it with a batch of 1 throughout"
                )
            vectors[here] = found.reshape(size, -1)
            start += size
        if self._how.unit_length:
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            np.divide(vectors, lengths, out=vectors, where=lengths > 0)
        return None, vectors


def network_files(file: Path) -> list[Path]:
    """The files that a network consists of, itself first.

    Raises:
        FileNotFoundError: one is missing.
    """
    if kind_of(file) not in (ONNX, OPENVINO, None):
        raise ForeignError(misplaced(file, "an .onnx file, or an OpenVINO .xml file"))
    if not file.is_file():
        raise FileNotFoundError(f"no network at {file}; expected an .onnx file, or an OpenVINO .xml file")
    if file.suffix.lower() == ".xml":
        others = {file.with_suffix(".bin")}
    else:
        # A tensor that is kept in another file names it in two protobuf strings, "location" and the file's name. To
        # look for them spares us the whole schema, for which the onnx package would be needed.
        content = file.read_bytes()
        marks = re.finditer(rb"\x0a\x08location\x12([\x01-\x7f])", content)
        names = {content[mark.end() : mark.end() + mark[1][0]] for mark in marks}
        others = {file.parent / name.decode(errors="replace") for name in names}
    if missing := sorted(other for other in others if not other.is_file()):
        raise FileNotFoundError(f"{missing[0]} is missing, which holds the weights of {file}; put it beside it")
    return [file, *sorted(others)]


def _digest(files: Sequence[Path], how: ForeignPreparation) -> str:
    """Of the files' content and of what goes in: other vectors have another digest."""
    parts = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    return hashlib.sha256(json.dumps([*parts, asdict(how)]).encode()).hexdigest()


def _input(file: Path, graph: Graph, how: ForeignPreparation) -> tuple[tuple[int, int, int, int], bool]:
    """(1, 3, H, W) of the images it takes, and whether it takes them one by one."""
    if len(graph.inputs) != 1:
        raise ForeignError(f"{file} takes {len(graph.inputs)} inputs ({_listed(graph.inputs)}), expected one of images")
    port = graph.inputs[0]
    if len(port.shape) != 4 or port.shape[1] not in (3, None):
        raise ForeignError(f"{file} takes {port}, expected images [batch, 3, height, width]; export it so")
    if port.kind != "float32":
        raise ForeignError(f"{file} takes {port}, expected float32; export it so")
    batch, _, *sides = port.shape
    if batch not in (1, None):
        raise ForeignError(f"{file} takes {batch} images at a time; export it with a batch of 1, or of any number")
    size = []
    for name, side, wanted in zip(("height", "width"), sides, (how.height, how.width), strict=True):
        if side is None and wanted is None:
            raise ForeignError(
                f"{file} takes images of any {name}; say which in a preparation file, with height and width"
            )
        if None not in (side, wanted) and side != wanted:
            raise ForeignError(f"{file} takes images of {name} {side}, its preparation says {wanted}; change that")
        size.append(side or wanted or 0)
    return (1, 3, size[0], size[1]), batch == 1


def _dimensions(file: Path, graph: Graph, shape: tuple[int, ...]) -> int:
    """D of the vectors, found with one black image."""
    if len(graph.outputs) != 1:
        listed = _listed(graph.outputs)
        raise ForeignError(
            f"{file} gives {len(graph.outputs)} outputs ({listed}), expected one vector; export it with that alone"
        )
    found = graph.run(np.zeros(shape, np.float32)).shape
    # Pooling may leave sides of 1 behind.
    if len(found) < 2 or found[0] != 1 or set(found[2:]) - {1}:
        raise ForeignError(f"{file} gives {list(found)} for one image, expected a vector [1, dimensions]")
    return int(found[1])


def _listed(ports: Sequence[Port]) -> str:
    return ", ".join(map(str, ports))
