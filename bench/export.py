"""Exported steps: how long each exit takes in every engine, and the overhead of several steps.

    python bench/export.py [MODEL] [--calibrate DATA] [--peer NETWORK.xml ...] [--rounds 30] [--batch 1]

Without MODEL a ResNet-50 with random weights at 256x128 is timed. One thread; engines alternate in rounds, each after
an untimed call, so other load affects all of them; medians of CPU time. The steps are compared with "one graph": the
whole network in one graph of the engine, which gives all vectors and cannot stop.
"""

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from dare import BACKBONES, DaRe, Runner, export, load_checkpoint, open_runner
from dare.exporting.graphs import INPUT, quiet
from dare.models.checkpoints import Checkpoint

EXPORTS = [("onnx", "fp32"), ("onnx", "int8"), ("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "int8")]
WARM_UP = 3


class Whole(torch.nn.Module):
    """All vectors of a network at once."""

    def __init__(self, model: DaRe) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.model(images).stages.unbind())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--calibrate", type=Path, help="pictures for int8; noise without it")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument(
        "--peer", type=Path, nargs="*", default=[], help="OpenVINO's networks, timed in the same rounds"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = load_checkpoint(options.model) if options.model else DaRe(BACKBONES["resnet50"]()).eval()
    with tempfile.TemporaryDirectory() as folder:
        pictures = options.calibrate or noise(Path(folder) / "noise")
        runners: dict[str, Runner] = {"eager fp32": open_runner(model, "eager")}
        runners |= {f"prepacked {name}": open_runner(model, "prepacked", precision=name) for name in ("fp32", "bf16")}
        for format, precision in EXPORTS:
            out = Path(folder) / f"{format}-{precision}"
            calibrate = pictures if precision == "int8" else None
            export(model, out, format, precision=precision, calibrate=calibrate, force=True)
            runners[f"{format} {precision}"] = open_runner(out)
        wholes = whole_graphs(model, runners["eager fp32"], Path(folder))
        size = runners["eager fp32"].preparation
        images = np.random.default_rng(0).normal(size=(options.batch, 3, size.height, size.width)).astype(np.float32)
        print(f"{size.size}, batch {options.batch}, medians of {options.rounds} rounds in turn, CPU ms to each exit")
        for name, runner in runners.items():
            print(f"  {name}: {runner.description}")
        peers = {f"{path.stem} {hint}": peer(path, hint) for path in options.peer for hint in ("f32", "bf16")}
        show(*timed(runners, wholes | peers, images, options.rounds))


def noise(folder: Path) -> Path:
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(16):
        Image.fromarray(random.integers(0, 255, (128, 64, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


def whole_graphs(
    model: Checkpoint | DaRe, reference: Runner, folder: Path
) -> dict[str, Callable[[np.ndarray], object]]:
    """Engine and precision -> a function that runs the whole network, configured like the runner's steps."""
    import onnxruntime
    import openvino

    from dare.runners.onnx import session_options

    network = model.model if isinstance(model, Checkpoint) else model
    size = reference.preparation
    example = torch.zeros(2, 3, size.height, size.width)
    with quiet(), torch.no_grad():
        program = torch.onnx.export(
            Whole(network).eval(),
            (example,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
            input_names=[INPUT],
            verbose=False,
        )
    content = program.model_proto.SerializeToString()  # type: ignore[union-attr]
    session = onnxruntime.InferenceSession(content, session_options(1), providers=["CPUExecutionProvider"])
    found: dict[str, Callable[[np.ndarray], object]] = {"onnx fp32": lambda images: session.run(None, {INPUT: images})}
    core = openvino.Core()
    for precision, hint in (("fp32", "f32"), ("bf16", "bf16")):
        settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hint}
        found[f"openvino {precision}"] = openvino_whole(core, content, settings)
    return found


def openvino_whole(core: Any, content: bytes, settings: dict[str, Any]) -> Callable[[np.ndarray], object]:
    requests: dict[int, Any] = {}

    def run(images: np.ndarray) -> object:
        if len(images) not in requests:
            model = core.read_model(content)
            model.reshape(list(images.shape))
            requests[len(images)] = core.compile_model(model, "CPU", settings).create_infer_request()
        return requests[len(images)].infer({0: images}, share_inputs=True)

    return run


def peer(path: Path, hint: str) -> Callable[[np.ndarray], object]:
    """A network of others, on an image of its own size."""
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hint}
    compiled = core.compile_model(core.read_model(path), "CPU", settings)
    request, picture = compiled.create_infer_request(), np.zeros(tuple(compiled.input(0).shape), np.float32)
    return lambda images: request.infer({0: picture}, share_inputs=True)


def timed(
    runners: dict[str, Runner], wholes: dict[str, Callable[[np.ndarray], object]], images: np.ndarray, rounds: int
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Median CPU seconds to each exit, and of the whole graphs."""
    exits: dict[str, list[list[float]]] = {name: [] for name in runners}
    graphs: dict[str, list[float]] = {name: [] for name in wholes}
    for number in range(-WARM_UP, rounds):
        for name, runner in runners.items():
            list(runner.exits(images))  # whoever had the turn before has filled the caches
            start, seconds = time.process_time(), []
            for _ in runner.exits(images):
                seconds.append(time.process_time() - start)
            if number >= 0:
                exits[name].append(seconds)
        for name, whole in wholes.items():
            whole(images)
            start = time.process_time()
            whole(images)
            if number >= 0:
                graphs[name].append(time.process_time() - start)
    return (
        {name: [statistics.median(exit) for exit in zip(*found, strict=True)] for name, found in exits.items()},
        {name: statistics.median(found) for name, found in graphs.items()},
    )


def show(exits: dict[str, list[float]], graphs: dict[str, float]) -> None:
    eager = exits["eager fp32"]
    titles = "".join(f"{f'exit {number}':>16}" for number in range(1, len(eager) + 1))
    print(f"\n{'':16}{titles}{'one graph':>12}{'chaining':>10}")
    for name, seconds in exits.items():
        cells = "".join(f"{1000 * s:9.2f} {e / s:5.2f}x" for s, e in zip(seconds, eager, strict=True))
        line = f"{name:16}{cells}"
        if name in graphs:
            line += f"{1000 * graphs[name]:12.2f}{100 * (seconds[-1] / graphs[name] - 1):+9.1f}%"
        print(line)
    for name in (name for name in graphs if name not in exits):
        print(f"{name:45}{1000 * graphs[name]:8.2f} ms, batch 1")


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what runs as it is, its description says
        main()
