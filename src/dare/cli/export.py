"""`dare export`."""

import re
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from dare.cli.options import FLAG, Positive, limit_threads
from dare.cli.terminal import output, progress, show_table


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
    force: Annotated[bool, FLAG] = False,
    threads: Annotated[Positive, Parameter(help="CPU threads of torch.")] = 1,
) -> None:
    """Write a network's steps as files of ONNX or OpenVINO, which run without torch, and compare them with it.

    A folder that fails the comparison is not written. Wherever a checkpoint runs, an exported folder does too.

    Parameters
    ----------
    out
        Folder to make; an export that is there already is replaced.
    format
        onnx, for ONNX Runtime; or openvino, for Intel and other CPUs.
    precision
        fp32; bf16 (openvino only), for processors with bfloat16; int8, fastest, refused if an exit loses more than
        half a point of mAP.
    calibrate
        Data set, or folder of pictures: int8 takes its ranges from 256 of them, drawn at random.
    benchmark
        Data set to score the network and the export on. Without it, int8 is scored on training people of --calibrate
        that are held out.
    int8_steps
        Which steps are int8, counted from 1, as in 1,2; the others stay in fp32. All if not given.
    force
        Write the export even if it loses too much.
    """
    from dare.exporting.writing import export as export_steps

    limit_threads(threads)
    steps = None
    if int8_steps is not None:
        if not re.fullmatch(r"\d+(,\d+)*", int8_steps):
            raise ValueError(f"--int8-steps takes numbers of steps such as 1,2, got {int8_steps!r}")
        steps = [int(number) for number in int8_steps.split(",")]
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
            on_progress=show,
        )
    _show(manifest.parity)
    parts = ", ".join(f"step {number} {step.precision}" for number, step in enumerate(manifest.steps, start=1))
    size = sum((out / name).stat().st_size for step in manifest.steps for name in step.files)
    output.print(f"{parts}; {size / 1e6:.1f} MB in {out}")


def _show(parity: dict[str, Any]) -> None:
    """The comparison: cosines, and accuracy where it was measured."""
    scored = parity["scored"]
    header = ("exit", "cosine, mean", "least", *(["rank-1", "exported", "mAP", "exported"] if scored else []))
    rows = []
    for exit in parity["exits"]:
        row = [exit["name"], f"{exit['cosine_mean']:.6f}", f"{exit['cosine_min']:.6f}"]
        for figure in ("rank1", "mean_average_precision") if scored else ():
            row += [f"{100 * exit[side][figure]:.1f}" for side in ("network", "export")]
        rows.append(row)
    show_table(header, rows)
    output.print(f"cosines with the network's vectors of {parity['compared']}")
    if scored:
        output.print(f"scored in percent on {scored}")
