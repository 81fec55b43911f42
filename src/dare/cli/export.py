"""`dare export`."""

import signal
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from rich.table import Table

from dare.cli.options import limit_threads
from dare.cli.terminal import output, progress


def export(
    model: Annotated[Path, Parameter(help="A checkpoint (model.safetensors), or the folder of a training.")],
    out: Path,
    /,
    *,
    format: Literal["onnx", "openvino"] = "onnx",
    precision: Literal["fp32", "bf16", "int8"] = "fp32",
    calibrate: Path | None = None,
    benchmark: Path | None = None,
    int8_steps: str | None = None,
    force: Annotated[bool, Parameter(negative="")] = False,
    seed: int = 0,
    threads: Annotated[int, Parameter(help="CPU threads of torch.")] = 1,
) -> None:
    """Write a network's steps as files of ONNX or OpenVINO, which run without torch, and compare them with it.

    A folder that fails its comparison is not written. What runs a network takes an exported folder in place of a
    checkpoint.

    Parameters
    ----------
    out
        Folder to make; an export that is there already is replaced.
    format
        onnx, for ONNX Runtime; or openvino, for Intel and other CPUs.
    precision
        fp32; bf16 (openvino alone), for processors with bfloat16; int8, fastest, which is refused if any exit loses
        more than half a point of mAP.
    calibrate
        Data set, or folder of pictures, that int8 takes its ranges from; 256 of them are drawn.
    benchmark
        Data set to score the network and the export on. For int8, training people of --calibrate are held out instead
        if it is not given.
    int8_steps
        Which steps are int8, from 1, as in 1,2; the others stay in fp32. All if not given.
    force
        Write the export even if it loses too much.
    seed
        Same seed, same pictures.
    """
    from dare.exporting.writing import export as export_steps

    limit_threads(threads)
    steps = None if int8_steps is None else _numbers(int8_steps)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is half written is removed
    with progress() as show:
        manifest = export_steps(
            model,
            out,
            format,
            precision=precision,
            calibrate=calibrate,
            benchmark=benchmark,
            int8_steps=steps,
            force=force,
            seed=seed,
            on_progress=show,
        )
    _show(manifest.parity)
    parts = ", ".join(f"step {number} {step.precision}" for number, step in enumerate(manifest.steps, start=1))
    size = sum((out / name).stat().st_size for step in manifest.steps for name in step.files)
    output.print(f"{parts}; {size / 1e6:.1f} MB in {out}")


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--int8-steps takes numbers of steps such as 1,2, got {text!r}") from None


def _show(parity: dict[str, Any]) -> None:
    """The comparison: cosines, and accuracy where it was measured."""
    scored = parity["scored"]
    table = Table("exit", "cosine, mean", "least", *(["rank-1", "exported", "mAP", "exported"] if scored else []))
    for exit in parity["exits"]:
        row = [exit["name"], f"{exit['cosine_mean']:.6f}", f"{exit['cosine_min']:.6f}"]
        for figure in ("rank1", "mean_average_precision") if scored else ():
            row += [f"{100 * exit[side][figure]:.1f}" for side in ("network", "export")]
        table.add_row(*row)
    output.print(table)
    output.print(f"cosines with the network's vectors of {parity['compared']}")
    if scored:
        output.print(f"scored in percent on {scored}")
