"""A network by every engine that can run it on this machine, to compare them."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from dare.runners import opening
from dare.runners.exported import EXPORTED, PRECISIONS
from dare.runners.opening import FOREIGN, engine_of, is_foreign, open_runner
from dare.runners.runner import Runner
from dare.shipped.network import shipped_at


def alternatives(
    model: Path, *, device: str = "cpu", threads: int = 1, preparation: str | None = None
) -> Iterator[Runner]:
    """A runner for each engine and precision; arguments as of `open_runner`.

    Networks of torch come in bfloat16 too; on a machine where that is slow, it shows.
    """
    if is_foreign(model):
        default, *others = FOREIGN[model.suffix.lower()]
        for engine in (default, *(other for other in others if find_spec(other))):
            runner = open_runner(model, engine, threads=threads, preparation=preparation)
            yield runner
            if runner.precision == "fp32" and "bf16" in PRECISIONS[engine]:
                yield open_runner(model, engine, precision="bf16", threads=threads, preparation=preparation)
    elif (network := shipped_at(model)) and device == "cpu":
        for way in network.card.engines:
            if opening.is_installed(way.runner):
                yield open_runner(model, way.runner, precision=way.precision, threads=threads)
    elif engine_of(model, device=device) in EXPORTED:
        yield open_runner(model, threads=threads)
    else:
        for engine in ("eager", "prepacked") if device == "cpu" else ("eager",):
            for precision in ("fp32", "bf16"):
                yield open_runner(model, engine, precision=precision, device=device)
