"""Options that several commands share, and quantities as people write them: 40ms, 1.2G."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter, validators

from dare.runners.runner import Runner

FLAG = Parameter(negative="")
"""An option that is there or not, or one that may be given several times."""

Root = Annotated[Path, Parameter(help="Data set: a folder as published, a folder of your own pictures, or a CSV file.")]
Layout = Annotated[
    str | None,
    Parameter(
        help="Layout of the data set: market1501, cuhk03-detected, cuhk03-labeled, dukemtmc, msmt17, mars, synthetic, "
        "or folder. Recognised if not given. With -outside behind it (folder-outside), links and paths in a CSV file "
        "may lead out of the folder."
    ),
]
Split = Literal["train", "query", "gallery"]
Splits = Annotated[
    list[Split] | None,
    Parameter(negative="", help="Which pictures; may be given several times. Query and gallery if not given."),
]
SkipUnreadable = Annotated[
    bool, Parameter(negative="", help="Leave unreadable pictures out and count them, instead of refusing.")
]
Device = Annotated[str, Parameter(help="cpu, cuda, cuda:1 or mps.")]
ModelPaths = Annotated[
    list[Path],
    Parameter(
        name="--model",
        negative="",
        help="A checkpoint (model.safetensors), the folder of a training or an export, the name of a shipped network "
        "(see `dare models`), or another toolbox's network (.onnx, or OpenVINO's .xml). Several make a cascade: they "
        "run in this order, and each is one exit.",
    ),
]
Preparation = Annotated[
    str | None,
    Parameter(
        help="How pictures are prepared for another toolbox's network that doesn't say so: openvino-retail, torchreid, "
        "fast-reid, or a JSON file."
    ),
]
Positive = Annotated[int, Parameter(validator=validators.Number(gte=1))]
BatchSize = Annotated[Positive, Parameter(help="Pictures that run together.")]
Queried = Annotated[Path, Parameter(help="A data set, a folder of pictures, or a CSV file; people may be unknown.")]
JsonOut = Annotated[
    Path | None,
    Parameter(allow_leading_hyphen=True, help="Print JSON, or write it to a file: --json NAME.json."),
]


@dataclass(frozen=True, slots=True)
class Engine:
    """What runs a network."""

    runner: Annotated[
        Literal["eager", "prepacked", "onnx", "openvino"] | None,
        Parameter(
            help="prepacked (folded and fused, the default on a CPU) and eager run checkpoints by torch; onnx and "
            "openvino run exports and other toolboxes' networks. A shipped network takes the fastest installed."
        ),
    ] = None
    precision: Annotated[
        Literal["fp32", "bf16", "int8"] | None,
        Parameter(
            help="Of the trunk; fp32 if not given. An export has its own, a shipped network several. OpenVINO runs "
            "other toolboxes' networks in bf16 too."
        ),
    ] = None
    device: Device = "cpu"
    threads: Annotated[Positive, Parameter(help="CPU threads.")] = 1
    workers: Annotated[Positive, Parameter(help="Processes that run the network, with one thread each.")] = 1
    preparation: Preparation = None

    def open(self, model: Path | Sequence[Path]) -> Runner:
        """Make a network, or a cascade of several, ready to run."""
        from dare.runners.exported import EXPORTED
        from dare.runners.opening import engines_of, open_runner

        if self.threads > 1 and self.workers > 1:
            raise ValueError("each worker has one thread; give --threads or --workers, not both")
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


ENGINE = Engine()
EngineOptions = Annotated[Engine, Parameter(name="*", group=Group("Engine", sort_key=1))]


def limit_threads(threads: int | None) -> None:
    """Let torch use this many threads; None leaves it all cores."""
    if threads is not None:
        import torch

        if threads < 1:
            raise ValueError(f"--threads must be at least 1, got {threads}")
        torch.set_num_threads(threads)


NUMBER = r"\s*([0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*"
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
AGES = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
MACS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}


def parse_seconds(text: str) -> float:
    """A positive time with its unit: 40ms or 0.04s.

    Raises:
        ValueError: anything else.
    """
    return _quantity(text, SECONDS, "a positive time with its unit, such as 40ms or 0.04s")


def parse_age(text: str) -> float:
    """Seconds of a positive age with its unit: 30d, 12h, 90min, 2w.

    Raises:
        ValueError: anything else.
    """
    return _quantity(text, AGES, "an age with its unit, such as 30d, 12h, 90min or 2w")


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
