"""A small shipped network, which tests share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exports import export_slim, saved_slim

from dare import Runner, fit_verifier, open_runner
from dare.anytime.records import PlanFile, save_plan
from dare.evaluation.evaluate import Evaluation
from dare.models.checkpoints import load_checkpoint, save_checkpoint
from dare.shipped.card import MODEL, PLAN, THRESHOLDS, Accuracy, Card, Engine, file_digests, write_card
from dare.verification.verifier import save_verifier

TORCH = ("prepacked", "fp32", MODEL)


def ship_slim(folder: Path) -> Card:
    """`slim` for every engine, the slowest by its card ONNX Runtime."""
    checkpoint = saved_slim(folder)
    for format in ("onnx", "openvino"):
        export_slim(folder / format, format, checkpoint=checkpoint)
    ways = [("openvino", "bf16", "openvino"), ("openvino", "fp32", "openvino"), TORCH, ("onnx", "fp32", "onnx")]
    return finish(folder, ways)


def ship_run(folder: Path, run: Path, evaluation: Evaluation) -> Card:
    """A trained network for torch alone, with thresholds and a plan."""
    folder.mkdir(parents=True)
    save_checkpoint(folder / MODEL, load_checkpoint(run), half=True)
    runner = open_runner(folder / MODEL)
    add_measured(folder, runner, evaluation)
    return finish(folder, [TORCH])


def add_measured(folder: Path, runner: Runner, evaluation: Evaluation) -> None:
    """Thresholds and a plan; `evaluation` may be of any network with the same exits."""
    verifier = fit_verifier(evaluation, false_match_rate=0.1)
    object.__setattr__(verifier, "model", runner.digest)
    save_verifier(folder / THRESHOLDS, verifier)
    exits = len(runner.exit_names)
    shares = (0.5, *(0.0 for _ in range(exits - 2)), 0.5)
    save_plan(folder / PLAN, PlanFile(runner.digest, shares, (0.0,) * (exits - 1), "margin", "other-cameras", 1, {}))


def finish(folder: Path, ways: Sequence[tuple[str, str, str]], **changes: Any) -> Card:
    """The card of what is in a folder; engines (runner, precision, place) in the order of their times."""
    runner = open_runner(folder / MODEL)
    exits = len(runner.exit_names)
    times = (tuple(float(10 * rank + exit) for exit in range(exits)) for rank in range(len(ways)))
    engines = tuple(Engine(*way, time, (0.0,) * exits) for way, time in zip(ways, times, strict=True))
    intervals = tuple((0.1 * exit, 0.0, 1.0) for exit in range(1, exits + 1))
    fields: dict[str, Any] = {
        "name": folder.name,
        "digest": runner.digest,
        "summary": "nobody's pictures; for tests",
        "words": {"data": "Noise.", "limits": "Everything."},
        "exits": runner.exit_names,
        "macs": runner.costs.macs,
        "accuracy": (Accuracy("noise", intervals, intervals),),
        "engines": engines,
        "measured_on": "no machine",
        "files": file_digests(folder),
    }
    card = Card(**fields | changes)
    write_card(folder, card)
    return card
