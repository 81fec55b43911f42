"""Make a shipped network's folder from a training: weights, exported steps, thresholds, a plan, and the card.

    python bench/ship.py RUN src/dare/shipped/NAME --words card.toml --benchmark DATA [--benchmark NAME=DATA ...]
        --held-out DATA --calibrate DATA --mean-macs 120M [--for mAP] [--int8 onnx openvino] [--int8-steps 1,2]

Weights are rounded to float16 first; everything else is made from the rounded network, so all engines give its vectors.
Thresholds, the plan, the int8 gate and the engines' losses are measured on --held-out: people neither trained on nor in
--benchmark. The benchmarks are only scored. int8 is calibrated on --calibrate, and left out if it fails its gate. Times
are CPU times of one image on one thread, alternating between engines, and hardly depend on the machine's other load.

--words is a TOML file: `summary`, data and terms in a few words, and a table `[words]` of titles and paragraphs for
what cannot be measured: data and terms, teacher, initial weights, recipe, seeds, weaknesses.
"""

import argparse
import time
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from dare import Benchmark, Runner, embed, evaluate, export, fit_verifier, load_checkpoint, open_benchmark, open_runner
from dare.anytime.records import PlanFile, save_plan
from dare.cli.options import parse_macs
from dare.cli.terminal import progress
from dare.evaluation.evaluate import Evaluation
from dare.experiments.accuracy import Bootstrap, Measure, Outcomes
from dare.experiments.choice import choose_exits
from dare.experiments.query_stream import query_stream
from dare.exporting.parity import LossError
from dare.files import replacing_folder
from dare.models.checkpoints import Checkpoint, save_checkpoint
from dare.retrieval.scoring import score_vectors
from dare.runners.timing import measure_together
from dare.shipped.card import MODEL, PLAN, THRESHOLDS, Accuracy, Card, Engine, file_digests, write_card
from dare.verification.verifier import save_verifier

MOST_BYTES = 30_000_000
REPEATS = 100

TORCH = [("prepacked", "fp32", MODEL), ("prepacked", "bf16", MODEL)]
WHOLE = [("onnx", "fp32", "onnx"), ("openvino", "fp32", "onnx"), ("openvino", "bf16", "onnx")]


def main() -> None:
    options = arguments()
    torch.set_num_threads(1)
    words = tomllib.loads(options.words.read_text(encoding="utf-8"))
    held_out, benchmarks = open_benchmark(options.held_out), [named(given) for given in options.benchmark]
    with replacing_folder(options.out) as folder:
        save_checkpoint(folder / MODEL, without_paths(load_checkpoint(options.run)), half=True)
        ways = [*TORCH, *WHOLE, *exported(folder, options)]
        runners = {way: open_runner(folder / way[2], way[0], precision=way[1]) for way in ways}
        evaluations = {way: scored(runner, held_out, "held out") for way, runner in runners.items()}
        reference = scored(open_runner(folder / MODEL, "eager"), held_out, "held out, eager")
        save_verifier(folder / THRESHOLDS, fit_verifier(reference, false_match_rate=options.false_match_rate))
        save_plan(folder / PLAN, plan(reference, options.mean_macs, options.maximise))
        times = measure_together(list(runners.values()), repeats=REPEATS, clock=time.process_time)
        engines = sorted(
            (
                Engine(*way, tuple(1000 * t for t in measured.median), losses(evaluations[way], reference))
                for way, measured in zip(ways, times, strict=True)
            ),
            key=lambda engine: engine.milliseconds[-1],
        )
        fastest = next(engine for engine in engines if engine.precision == "fp32")
        runner = runners[fastest.runner, fastest.precision, fastest.place]
        card = Card(
            options.out.resolve().name,
            runner.digest,
            words["summary"],
            words["words"],
            runner.exit_names,
            runner.costs.macs,
            tuple(accuracy(scored(runner, benchmark, benchmark.name)) for benchmark in benchmarks),
            tuple(engines),
            options.machine or processor(),
            file_digests(folder),
            runner.seen,
        )
        write_card(folder, card)
        size = sum(path.stat().st_size for path in files(folder))
        if size > MOST_BYTES:
            raise SystemExit(f"{size / 1e6:.1f} MB, expected at most {MOST_BYTES / 1e6:g}; leave int8 out with --int8")
    show(options.out)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a checkpoint, or the folder of a training")
    parser.add_argument("out", type=Path, help="folder to make, called as the network")
    parser.add_argument("--words", type=Path, required=True)
    parser.add_argument("--benchmark", action="append", required=True, help="a data set, or NAME=DATA")
    parser.add_argument("--held-out", type=Path, required=True)
    parser.add_argument("--calibrate", type=Path, required=True)
    parser.add_argument("--mean-macs", type=parse_macs, required=True, help="budget of the plan")
    parser.add_argument("--for", dest="maximise", choices=("rank-1", "mAP"), default="mAP")
    parser.add_argument("--false-match-rate", type=float, default=0.001)
    parser.add_argument("--int8", nargs="*", choices=("onnx", "openvino"), default=["onnx", "openvino"])
    parser.add_argument("--int8-steps", type=lambda text: [int(part) for part in text.split(",")])
    parser.add_argument("--machine", help="words for the machine of the times; the processor's name if not given")
    return parser.parse_args()


def named(given: str) -> Benchmark:
    """A data set by its folder, or as NAME=FOLDER under another name."""
    name, _, folder = given.rpartition("=")
    benchmark = open_benchmark(Path(folder))
    return replace(benchmark, name=name) if name else benchmark


def without_paths(checkpoint: Checkpoint) -> Checkpoint:
    """What it started from, by name, without the path."""
    config = dict(checkpoint.training.get("config", {}))
    if config.get("weights"):
        config["weights"] = Path(config["weights"]).name
    return replace(checkpoint, training={**checkpoint.training, "config": config})


def exported(folder: Path, options: argparse.Namespace) -> Iterator[tuple[str, str, str]]:
    """Write the steps for both engines, and the int8 steps; return the latter that passed the gate."""
    export(folder / MODEL, folder / "onnx", "onnx", calibrate=options.calibrate, half=True)
    for format in options.int8:
        out = f"{format}-int8"
        settings = {"calibrate": options.calibrate, "benchmark": options.held_out, "int8_steps": options.int8_steps}
        try:
            export(folder / MODEL, folder / out, format, precision="int8", half=True, **settings)
        except LossError as error:
            print(f"{out} is left out: {error}")
        else:
            yield format, "int8", out


def scored(runner: Runner, benchmark: Benchmark, words: str) -> Evaluation:
    """A network's queries and gallery, embedded and scored."""
    samples = [*benchmark.query, *benchmark.gallery]
    with progress() as show:
        on_progress = lambda done, total: show(f"{words}: {runner.description}", done, total)  # noqa: E731
        vectors = embed(runner, samples, root=benchmark.root, on_progress=on_progress)
    return evaluate(vectors, benchmark, costs=runner.costs)


def plan(evaluation: Evaluation, mean_macs: float, maximise: Measure) -> PlanFile:
    """What `dare choose-exits --confidence agreement` would write."""
    stream = query_stream(evaluation)
    assert evaluation.costs is not None
    chosen = choose_exits(stream, evaluation.costs, mean_macs, maximise=maximise, confidence="agreement").chosen
    about = {"data": stream.benchmark, "for": maximise, "mean_macs": mean_macs, "costs": evaluation.costs.source}
    shares, thresholds = tuple(chosen.shares.tolist()), tuple(chosen.thresholds.tolist())
    vectors = evaluation.query
    return PlanFile(vectors.model, shares, thresholds, "agreement", stream.label_free, vectors.crops, about)


def losses(evaluation: Evaluation, reference: Evaluation) -> tuple[float, ...]:
    """As of `Engine`."""
    found = []
    for exit, (own, whole) in enumerate(zip(evaluation.exits, reference.exits, strict=True)):
        query, gallery = evaluation.query, reference.gallery
        mixed = score_vectors(*query.exits_against(gallery)[exit], query, gallery)
        before = whole.scores.mean_average_precision
        lost = [before - scores.mean_average_precision for scores in (own.scores, mixed)]
        found.append(max(lost, key=abs))
    return tuple(found)


def accuracy(evaluation: Evaluation) -> Accuracy:
    """With intervals over people."""
    outcomes = Outcomes.of([exit.scores for exit in evaluation.exits])
    per_exit = Bootstrap(np.asarray(evaluation.query.people), seed=0).accuracies(outcomes)
    name = f"{evaluation.benchmark.name} ({len(evaluation.query)} queries, {len(evaluation.gallery)} gallery entries)"
    intervals = [
        tuple((exit[measure].value, exit[measure].low, exit[measure].high) for exit in per_exit)
        for measure in ("rank-1", "mAP")
    ]
    return Accuracy(name, *intervals)


def processor() -> str:
    """The processor's name, from Linux."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def show(out: Path) -> None:
    for path in files(out):
        print(f"{path.stat().st_size / 1e6:8.3f} MB  {path.relative_to(out)}")


if __name__ == "__main__":
    main()
