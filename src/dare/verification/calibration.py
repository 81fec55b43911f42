"""What is measured of a network's exits: times, plans to leave by, thresholds. JSON that says of which network."""

import json
import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from dare.anytime.budgets import conditional
from dare.anytime.confidence import Allowed
from dare.anytime.costs import ExitTimes
from dare.files import replacing
from dare.gallery.entry import Where
from dare.gallery.store import Gallery
from dare.identification.answer import Confidence, check, look_up
from dare.images.reading import prepare
from dare.runners.runner import Runner
from dare.runners.timing import measure
from dare.shipped.card import PLAN, THRESHOLDS
from dare.shipped.network import shipped_at
from dare.verification.decisions import Calibration, Curve, Errors, Rate, Threshold
from dare.verification.verify import ExitVerifier, Verifier

FORMAT = 1


class MeasurementError(ValueError):
    """A file that is not usable as what was measured; says what is wrong with it."""


def measure_answers(
    runner: Runner,
    gallery: Gallery,
    *,
    batch: int = 1,
    repeats: int = 50,
    count: int = 10,
    where: Where | None = None,
    confidence: Confidence = "margin",
) -> ExitTimes:
    """Time every exit of a runner with the search in a gallery; arguments as in `dare.measure` and `dare.answers`.

    Raises:
        MismatchError: the gallery is of another model.
    """
    check(runner, gallery)

    def search(exit: int, vectors: NDArray[np.float32]) -> None:
        look_up(gallery, exit, vectors, count, [where] * len(vectors), confidence)

    searched = f"with search in {gallery.count()} entries"
    return measure(runner, batch=batch, repeats=repeats, search=search, searched=searched)


def warm_up(runner: Runner, gallery: Gallery, first: int = 0) -> None:
    """Answer once for nobody, so that the first query need not wait for a gallery to be read or code to be loaded.

    Args:
        first: the first exit that will answer.
    """
    size = runner.preparation
    blank = prepare(np.zeros((1, size.height, size.width, 3), np.uint8), size)
    for exit, vectors in enumerate(runner.exits(blank)):
        if exit >= first:
            look_up(gallery, exit, vectors, 1, [None], "nearness")


def save_times(path: Path, times: ExitTimes, runner: Runner) -> None:
    """Write times, in one piece."""
    _write(path, {"format": FORMAT, "model": runner.digest, "exits": runner.exit_names, **asdict(times)})


def load_times(path: Path, runner: Runner) -> ExitTimes:
    """Read times of this runner's network.

    Raises:
        MeasurementError: not there, damaged, or of another network.
    """
    content = _read(path, "dare calibrate")
    if content.get("model") != runner.digest:
        raise MeasurementError(
            f"{path} is of model {str(content.get('model'))[:12]}, this is model {runner.digest[:12]}; measure again"
        )
    try:
        median, slow, steps = (tuple(map(float, content[name])) for name in ("median", "slow", "steps"))
        times = ExitTimes(median, slow, steps, float(content["longest_block"]), str(content["source"]))
    except (LookupError, TypeError, ValueError) as error:
        raise MeasurementError(f"{path} holds no measured times, or it is damaged; measure again") from error
    if len(times.median) != len(runner.exit_names):
        raise MeasurementError(f"expected times of {len(runner.exit_names)} exits in {path}, got {len(times.median)}")
    return times


@dataclass(frozen=True, slots=True)
class PlanFile:
    """What `dare choose-exits` chose.

    Attributes:
        model: digest of the network whose vectors the thresholds are for.
        shares: p (E,), of the queries that leave at each exit; good for networks of the same kind.
        thresholds: (E - 1,), that make these shares.
        confidence, allowed: what the thresholds are for, and which entries it is taken from.
        crops: per picture, of the vectors that the thresholds are for.
        about: how the plan was chosen, for people to read.
    """

    model: str
    shares: tuple[float, ...]
    thresholds: tuple[float, ...]
    confidence: Confidence
    allowed: Allowed
    crops: int
    about: dict[str, Any]

    def __post_init__(self) -> None:
        conditional(self.shares)
        if self.confidence not in get_args(Confidence) or self.allowed not in get_args(Allowed):
            raise ValueError(f"unknown confidence or rule: {self.confidence}, {self.allowed}")
        if any(math.isnan(threshold) for threshold in self.thresholds):
            raise ValueError("a threshold is NaN")
        if len(self.shares) != len(self.thresholds) + 1:
            raise ValueError(f"expected a threshold for each exit but the last, got {self}")


def save_plan(path: Path, plan: PlanFile) -> None:
    """Write a plan, in one piece; a threshold that nobody reaches is written as null."""
    thresholds = [None if value == math.inf else max(value, -sys.float_info.max) for value in plan.thresholds]
    _write(path, {"format": FORMAT, **asdict(plan), "thresholds": thresholds})


def load_plan(path: Path, exits: int) -> PlanFile:
    """Read a plan for a network with so many exits.

    Args:
        path: what `dare choose-exits` wrote, or the name of a shipped network.

    Raises:
        MeasurementError: not there, damaged, or for another number of exits.
        ShippedError: a shipped network's plan is damaged.
    """
    content = _read(_file(path, PLAN), "dare choose-exits")
    try:
        thresholds = tuple(math.inf if value is None else float(value) for value in content["thresholds"])
        shares = tuple(map(float, content["shares"]))
        kind = (content["confidence"], content["allowed"], int(content["crops"]))
        plan = PlanFile(str(content["model"]), shares, thresholds, *kind, dict(content["about"]))
    except (LookupError, TypeError, ValueError) as error:
        raise MeasurementError(f"{path} holds no plan, or it is damaged; choose again") from error
    if len(shares) != exits:
        raise MeasurementError(f"{path} is a plan for {len(shares)} exits, the network has {exits}")
    return plan


def save_verifier(path: str | Path, verifier: Verifier) -> None:
    """Write thresholds and calibrations, in one piece.

    Raises:
        MeasurementError: it is not known of which network they are.
    """
    check_known(verifier.model)
    content = asdict(verifier)
    for at in content["exits"]:
        at["calibration"] = {name: values.tolist() for name, values in at["calibration"].items()}
        at["curve"] = {name: [float(f"{value:.6g}") for value in values] for name, values in at["curve"].items()}
    _write(Path(path), {"format": FORMAT, **content})


def check_known(model: str) -> None:
    """Refuse to keep thresholds of an unknown network: nobody could be kept from using them with another one."""
    if not model:
        raise MeasurementError(
            "thresholds are kept for one network, and these vectors do not say of which they are; "
            "embed with dare embed, or give --model"
        )


def load_verifier(path: str | Path, model: str) -> Verifier:
    """Read thresholds of a network.

    Args:
        path: what `dare threshold` or `save_verifier` wrote, or the name of a shipped network.
        model: its digest: `runner.digest`, or the `model` of embeddings.

    Raises:
        MeasurementError: not there, damaged, or of another network.
        ShippedError: a shipped network's thresholds are damaged.
    """
    content = _read(_file(path, THRESHOLDS), "dare threshold")
    if content.get("model") != model:
        raise MeasurementError(
            f"{path} holds thresholds of model {str(content.get('model'))[:12]}, this is model "
            f"{model[:12] or 'unknown'}; find thresholds for this one with dare threshold"
        )
    try:
        names = ("false_match_rate", "prior", "distance", "crops", "tracklets")
        settings = {name: content[name] for name in names}
        exits = tuple(map(_exit_verifier, content["exits"]))
        about, space = dict(content["about"]), content.get("space", "own")
        return Verifier(model, exits, **settings, about=about, space=space)
    except (LookupError, TypeError, ValueError) as error:
        raise MeasurementError(f"{path} holds no thresholds, or it is damaged; find them again") from error


def _exit_verifier(content: dict[str, Any]) -> ExitVerifier:
    def errors(part: dict[str, Any]) -> Errors:
        rates = {name: Rate(**part[name]) for name in ("false_match", "false_non_match")}
        return Errors(**{**part, **rates})

    made = {
        "threshold": Threshold(**content["threshold"]),
        "calibration": Calibration(**content["calibration"]),
        "fitted": errors(content["fitted"]),
        "measured": errors(content["measured"]),
        "curve": Curve(**content["curve"]),
    }
    return ExitVerifier(**{**content, **made})


def _file(path: str | Path, name: str) -> Path:
    """A file as it is given, or a shipped network's file of this name."""
    network = shipped_at(path)
    return Path(path) if network is None else network.checked(name)


def _write(path: Path, content: dict[str, Any]) -> None:
    with replacing(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())


def _read(path: Path, command: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MeasurementError(f"no file at {path}; {command} writes it, with --out") from None
    except ValueError as error:
        raise MeasurementError(f"{path} is not what {command} writes, or it is damaged; write it again") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise MeasurementError(f"{path} is not what this version of {command} writes; write it again")
    return content
