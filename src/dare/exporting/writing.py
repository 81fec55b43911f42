"""From a network to a folder of exported steps that has been compared with it."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dare.datasets.sample import Benchmark
from dare.datasets.seen import trained_on
from dare.exporting.formats import check_choice
from dare.exporting.parity import Judge, Parity
from dare.exporting.pictures import choose_pictures, read_pictures
from dare.exporting.step_files import Progress, StepFiles
from dare.files import replacing_folder
from dare.models.checkpoints import Checkpoint, load_checkpoint
from dare.models.dare import DaRe
from dare.runners.eager import as_checkpoint, open_eager
from dare.runners.exported import MANIFEST, ExportError, Manifest, read_manifest

COMPARED_PICTURES = 64
RANDOM_INPUTS = 16


def export(
    model: Checkpoint | DaRe | Path | str,
    out: Path | str,
    format: str = "onnx",
    *,
    precision: str = "fp32",
    calibrate: Path | str | None = None,
    benchmark: Path | str | None = None,
    int8_steps: Collection[int] | None = None,
    half: bool = False,
    force: bool = False,
    seed: int = 0,
    on_progress: Progress = lambda phase, done, total: None,
) -> Manifest:
    """Write a network's steps for another engine into a folder that `open_runner` opens, also without torch.

    The export is run and compared with the network before the folder is put in place: if anything fails, nothing is
    left behind. An export that is there already is replaced.

    Args:
        model: a checkpoint, where one is, or a `DaRe`, which takes 256x128. It is put into evaluation mode, on the CPU.
        format: "onnx" or "openvino".
        precision: "fp32", "bf16" (openvino alone), or "int8".
        calibrate: data set or folder of pictures that int8 takes its ranges from, and that vectors are compared on;
            random inputs without it.
        benchmark: data set to score network and export on. For int8, people of `calibrate` are held out without it.
        int8_steps: counted from 1; the other steps stay in fp32. All by default.
        half: keep weights in float16, in half the size, whatever they are computed in. bf16, which has three bits less,
            always does.
        force: export also what loses too much, or what cannot be judged.
        seed: of the choice of pictures and people.

    Raises:
        LossError: in fp32 or bf16 vectors differ by more than rounding; in int8 an exit loses more than half a point of
            mAP.
        ValueError: settings do not fit each other, or int8 cannot be judged.
        UnreadableImageError: a picture cannot be used.
        FileExistsError: something else than an export is at `out`.
    """
    calibrate, benchmark = (None if path is None else Path(path) for path in (calibrate, benchmark))
    out = Path(out)
    check_choice(format, precision, calibrate, int8_steps)
    _check_place(out)
    if isinstance(model, str | Path):
        if (Path(model) / MANIFEST).exists():
            raise ValueError(f"{model} is an export already; give the checkpoint that it was made from")
        model = load_checkpoint(model)
    network = as_checkpoint(model)
    reference = open_eager(network)
    if network.preparation.frames > 1:
        raise ValueError("networks that take tracklets are not exported; run this one with the runners of torch")
    chosen = _chosen(int8_steps, len(network.model.taps)) if precision == "int8" else []
    pictures = choose_pictures(calibrate, benchmark, judged=precision == "int8" and not force, seed=seed)
    if precision == "int8" and pictures.validation is None and not force:
        raise ValueError(
            f"int8 must be judged on people that are told apart, and {calibrate} has none ({pictures.unlabelled}); "
            "give --benchmark, or take --force"
        )
    images, compared = _images(pictures.calibration, network, seed)
    with replacing_folder(out) as folder:
        files = StepFiles(folder, format, network)
        files.write_steps(on_progress)
        if chosen:
            files.write_int8(chosen, images, on_progress)
        if half or precision == "bf16":
            files.halve()
        judge = Judge(reference, files, precision, images[:COMPARED_PICTURES], pictures.validation, on_progress)
        exits = judge.exits(chosen)
        if not force:
            judge.refuse(exits, chosen)
        scored = "" if pictures.validation is None else _in_words(pictures.validation, network.seen)
        parity = Parity(f"{min(len(images), COMPARED_PICTURES)} {compared}", scored, exits)
        manifest = files.manifest(precision, chosen, asdict(parity))
        files.keep_only(manifest)
        return read_manifest(folder)


def _check_place(out: Path) -> None:
    """Only an export, whole and with nothing else in its folder, may be replaced."""
    if Path.cwd().is_relative_to(out.resolve()):
        raise ValueError(f"{out} is the folder that this runs in, or above it; give an export a folder of its own")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        listed = {name for step in read_manifest(out).steps for name in step.files}
        strangers = sorted({path.name for path in out.iterdir()} - listed - {MANIFEST})
        problem = f"holds {strangers[0]}" if strangers else ""
    except (ExportError, OSError):
        problem = "is no export"
    if problem:
        raise FileExistsError(f"{out} exists and {problem}, so it is not replaced; choose another folder, or remove it")


def _chosen(int8_steps: Collection[int] | None, steps: int) -> list[int]:
    """Steps counted from 1, in order."""
    chosen = sorted(set(range(1, steps + 1) if int8_steps is None else int8_steps))
    if not chosen or not 1 <= chosen[0] <= chosen[-1] <= steps:
        raise ValueError(f"--int8-steps must name steps from 1 to {steps}, got {list(int8_steps or [])}")
    return chosen


def _images(paths: Sequence[Path], network: Checkpoint, seed: int) -> tuple[NDArray[np.float32], str]:
    if paths:
        return read_pictures(paths, network.preparation), "calibration pictures"
    shape = (RANDOM_INPUTS, 3, network.preparation.height, network.preparation.width)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32), "random inputs"


def _in_words(benchmark: Benchmark, seen: str) -> str:
    held, known = "", trained_on((*benchmark.query, *benchmark.gallery), seen)
    if known:
        held = f"; {known}"
    elif benchmark.notes and "held out" in benchmark.notes[-1]:
        held = f", {benchmark.notes[-1]} (of calibration; give --benchmark if the network was trained on them)"
    return f"{benchmark.name}: {len(benchmark.query)} queries, {len(benchmark.gallery)} gallery entries{held}"
