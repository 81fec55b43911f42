"""Which engine runs a shipped network."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from exports import images, same
from shipping import ship_slim

from dare import load_checkpoint, open_runner
from dare.runners import opening
from dare.runners.opening import MOST_LOSS, engine_of, processor_flags, shipped_engine
from dare.shipped.card import MODEL, Engine, ShippedError, read_card, write_card

ALL = {"torch", "onnxruntime", "openvino"}
AMX = {"avx2", "avx512_bf16", "avx512_vnni", "amx_bf16"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network for every engine; not to be changed."""
    place = tmp_path_factory.mktemp("networks") / "slim"
    ship_slim(place)
    return place


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[set[str], set[str]], None]:
    """Takes what is installed, and the processor's instructions."""

    def be(packages: set[str], flags: set[str]) -> None:
        monkeypatch.setattr(opening, "is_installed", lambda runner: opening.PACKAGES[runner] in packages)
        monkeypatch.setattr(opening, "processor_flags", lambda: frozenset(flags))

    return be


def chosen(
    folder: Path, runner: str | None = None, precision: str | None = None, device: str = "cpu"
) -> tuple[str, ...]:
    found = shipped_engine(folder, runner, precision, device)
    assert found is not None
    return found[1].runner, found[1].precision, found[1].place


@pytest.mark.parametrize(
    ("packages", "flags", "expected"),
    [
        (ALL, AMX, ("openvino", "bf16", "openvino")),
        (ALL, {"avx2"}, ("openvino", "fp32", "openvino")),
        ({"torch", "onnxruntime"}, AMX, ("prepacked", "fp32", MODEL)),
        ({"onnxruntime"}, AMX, ("onnx", "fp32", "onnx")),
        ({"onnxruntime"}, set(), ("onnx", "fp32", "onnx")),
    ],
)
def test_the_fastest_engine_is_taken_that_is_installed_and_fast_here(
    packages: set[str],
    flags: set[str],
    expected: tuple[str, ...],
    folder: Path,
    machine: Callable[[set[str], set[str]], None],
) -> None:
    machine(packages, flags)
    assert chosen(folder) == expected


@pytest.mark.parametrize("loss", [1.1 * MOST_LOSS, -1.1 * MOST_LOSS])
def test_an_engine_that_gives_other_answers_is_taken_on_request_alone(
    loss: float, folder: Path, machine: Callable[[set[str], set[str]], None], tmp_path: Path
) -> None:
    machine(ALL, AMX)
    card = read_card(folder)
    first = replace(card.engines[0], losses=(*card.engines[0].losses[:-1], loss))
    write_card(tmp_path, replace(card, engines=(first, *card.engines[1:])))
    assert chosen(tmp_path) == ("openvino", "fp32", "openvino")
    assert chosen(tmp_path, precision="bf16") == ("openvino", "bf16", "openvino")


def test_a_runner_a_precision_or_a_device_narrow_the_choice(
    folder: Path, machine: Callable[[set[str], set[str]], None]
) -> None:
    machine(ALL, AMX)
    assert chosen(folder, "onnx") == ("onnx", "fp32", "onnx")
    assert chosen(folder, "openvino") == ("openvino", "bf16", "openvino")
    assert chosen(folder, "eager", "bf16") == ("eager", "bf16", MODEL)
    assert chosen(folder, precision="fp32") == ("openvino", "fp32", "openvino")
    assert chosen(folder, device="cuda") == ("eager", "fp32", MODEL)
    for runner, precision in ((None, "int8"), ("onnx", "bf16")):
        with pytest.raises(ShippedError, match=r"was not shipped for (int8|onnx in bf16); choose openvino in bf16"):
            chosen(folder, runner, precision)


def test_int8_is_taken_by_itself_where_the_processor_is_made_for_it(
    folder: Path, machine: Callable[[set[str], set[str]], None], tmp_path: Path
) -> None:
    card = read_card(folder)
    eighth = Engine("openvino", "int8", "openvino", (0.0,) * 4, (MOST_LOSS,) * 4)
    write_card(tmp_path, replace(card, engines=(eighth, *card.engines)))
    machine(ALL, AMX)
    assert chosen(tmp_path)[1] == "int8"
    machine(ALL, {"avx2"})
    assert chosen(tmp_path)[1] == "fp32"


def test_without_any_engine_the_error_says_what_to_install(
    folder: Path, machine: Callable[[set[str], set[str]], None]
) -> None:
    machine(set(), AMX)
    with pytest.raises(ModuleNotFoundError, match=r"openvino or torch or onnxruntime.*dare-reid\[onnx\]"):
        chosen(folder)


def test_all_engines_give_the_vectors_of_the_checkpoint(folder: Path) -> None:
    pictures = images(3)
    expected = list(open_runner(load_checkpoint(folder), "eager").exits(pictures))
    for runner in ("prepacked", "onnx", "openvino"):
        found = open_runner(folder, runner, precision="fp32")
        assert found.digest == load_checkpoint(folder).digest
        assert engine_of(folder, runner) == runner
        for one, other in zip(found.exits(pictures), expected, strict=True):
            same(one, other)
    halved = open_runner(folder, "openvino", precision="bf16")
    assert (halved.precision, halved.digest) == ("bf16", load_checkpoint(folder).digest)


def test_workers_and_cascades_take_it_too(folder: Path) -> None:
    pictures = images(2)
    runner = open_runner(folder, "onnx", workers=2)
    try:
        for one, other in zip(runner.exits(pictures), open_runner(folder, "onnx").exits(pictures), strict=True):
            np.testing.assert_array_equal(one, other)
    finally:
        runner.close()
    cascade = open_runner([folder, folder], "onnx")
    assert cascade.exit_names == ("network 1", "network 2")


def test_a_damaged_step_or_manifest_is_one_line(folder: Path, tmp_path: Path) -> None:
    import shutil

    copy = shutil.copytree(folder, tmp_path / "slim")
    for name in ("onnx/manifest.json", "onnx/step-2.onnx"):
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(content.replace(b"1", b"2", 1))
        with pytest.raises(ShippedError, match=rf"slim/{name} is damaged: its SHA-256 .*install dare-reid again"):
            open_runner(copy, "onnx")
        (copy / name).write_bytes(content)
    open_runner(copy, "onnx")


def test_the_processors_instructions_are_those_that_linux_lists() -> None:
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        assert processor_flags() == frozenset()
        return
    assert processor_flags() <= set(cpuinfo.read_text().split())
