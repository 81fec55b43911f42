"""Options that several commands share, and quantities as people write them: 40ms, 1.2G."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from dare.cli.terminal import console, one_line, output

if TYPE_CHECKING:
    from dare.images.reading import UnreadableImageError
    from dare.runners.runner import Runner

Root = Annotated[
    Path,
    Parameter(help="Data set: a folder as it was published, a folder of your own pictures, or a CSV file."),
]
Layout = Annotated[
    str | None,
    Parameter(
        help="Layout of the data set: market1501, cuhk03-detected, cuhk03-labeled, dukemtmc, msmt17, mars, synthetic "
        "or folder; recognised by itself if not given."
    ),
]
MultiQuery = Annotated[
    bool,
    Parameter(
        negative="",
        help="All pictures of a person at a camera ask together: of Market-1501 the hand-drawn boxes in gt_bbox/, of "
        "other data sets the queries.",
    ),
]
SkipUnreadable = Annotated[
    bool, Parameter(negative="", help="Leave unreadable pictures out and count them, instead of refusing.")
]
Device = Annotated[str, Parameter(help="cpu, cuda, cuda:1 or mps.")]
Threads = Annotated[int | None, Parameter(help="CPU threads of torch; all cores if not given.")]
Models = Annotated[
    list[Path],
    Parameter(
        name="--model",
        negative="",
        help="A checkpoint (model.safetensors), the folder of a training or of exported steps, the name of a shipped "
        "network (`dare models`), or a network of others (.onnx, or OpenVINO's .xml). Given several times, they make a "
        "cascade: they are evaluated in this order, and each is one exit.",
    ),
]
Preparation = Annotated[
    str | None,
    Parameter(
        help="How pictures are prepared for networks of others that do not say it: openvino-retail, torchreid, "
        "fast-reid, or a JSON file."
    ),
]
PicturesBelow = Annotated[
    Path, Parameter(help="A data set, a folder of pictures, or a CSV file; people may be unknown.")
]
NoPeople = Annotated[bool, Parameter(negative="", help="Treat the people in the pictures as unknown.")]


@dataclass(frozen=True, slots=True)
class Engine:
    """What a network is run by."""

    runner: Annotated[
        Literal["eager", "prepacked", "onnx", "openvino"] | None,
        Parameter(
            help="eager is torch as it is; prepacked, folded and fused for the CPU, is the default there; onnx and "
            "openvino run what `dare export` wrote and networks of others, and are the default for these. A shipped "
            "network takes the fastest that is installed."
        ),
    ] = None
    precision: Annotated[
        Literal["fp32", "bf16", "int8"] | None,
        Parameter(
            help="Of the trunk: fp32 if not given. Exported steps have theirs, a shipped network has several, and "
            "OpenVINO runs networks of others in bf16 too."
        ),
    ] = None
    device: Device = "cpu"
    threads: Annotated[int, Parameter(help="CPU threads.")] = 1
    workers: Annotated[int, Parameter(help="Processes that run the network, each with one thread.")] = 1
    preparation: Preparation = None

    def open(self, model: "Path | Sequence[Path]") -> "Runner":
        """Make a network, or a cascade of several, ready to run."""
        from dare.runners.exported import EXPORTED
        from dare.runners.opening import engines_of, open_runner

        for name, value in (("threads", self.threads), ("workers", self.workers)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.threads > 1 and self.workers > 1:
            raise ValueError("each worker has one thread; give --threads or --workers")
        if self.workers == 1 and engines_of(model, self.runner, self.device, self.precision) - set(EXPORTED):
            limit_threads(self.threads)
        return open_runner(
            model,
            self.runner,
            precision=self.precision,
            device=self.device,
            threads=self.threads,
            workers=self.workers,
            preparation=self.preparation,
        )


EngineOptions = Annotated[Engine | None, Parameter(name="*")]


@dataclass(frozen=True, slots=True)
class Running(Engine):
    """How a network is run over pictures."""

    crops: Annotated[
        Literal[1, 10],
        Parameter(help="10 takes the mean over five crops and their mirror images, at ten times the cost."),
    ] = 1
    pooling: Annotated[
        Literal["mean", "max"], Parameter(help="How the vectors of a tracklet's pictures become one.")
    ] = "mean"
    batch_size: Annotated[int, Parameter(help="Pictures that are run together.")] = 64
    skip_unreadable: SkipUnreadable = False


RunningOptions = Annotated[Running | None, Parameter(name="*")]


def limit_threads(threads: int | None) -> None:
    if threads is not None:
        import torch

        if threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}")
        torch.set_num_threads(threads)


def report_skipped(skipped: "list[UnreadableImageError] | None") -> None:
    for problem in skipped or []:
        console.print(f"left out: {one_line(problem)}")
    if skipped:
        output.print(f"note: {len(skipped)} unreadable pictures were left out")


NUMBER = r"\s*([0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*"
SECONDS = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}
MACS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}


def parse_seconds(text: str) -> float:
    """A positive time: 40ms, 0.04s, or 0.04.

    Raises:
        ValueError: anything else.
    """
    return _quantity(text, SECONDS, "a positive time such as 40ms or 0.04s")


def parse_macs(text: str) -> float:
    """A positive number of multiply-adds: 1.2G, 800M, 1200000.

    Raises:
        ValueError: anything else.
    """
    return _quantity(text, MACS, "a positive number of multiply-adds such as 1.2G or 800M")


def _quantity(text: str, units: dict[str, float], expected: str) -> float:
    match = re.fullmatch(NUMBER + "([a-z]*)", text.lower())
    value = float(match[1]) * units[match[2]] if match and match[2] in units else 0.0
    if not 0 < value < 1e300:
        raise ValueError(f"expected {expected}, got {text!r}")
    return value
