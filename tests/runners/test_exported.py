"""Exported steps: the same vectors as the network in every engine, folders that are refused, no torch."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import reseal, save_picture
from exports import ENGINES, HEIGHT, WIDTH, export_slim, images, same, slim

from dare import Runner, measure, open_runner
from dare.images.preparation import prepare
from dare.images.reading import read_resized
from dare.runners.eager import open_eager
from dare.runners.exported import MANIFEST, ExportError, read_manifest

every_engine = pytest.mark.parametrize("engine", ENGINES)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("exports")
    for engine in ENGINES:
        export_slim(root / engine, engine)
    return {engine: root / engine for engine in ENGINES}


@pytest.fixture(scope="module")
def runners(folders: dict[str, Path]) -> dict[str, Runner]:
    return {engine: open_runner(folder) for engine, folder in folders.items()}


@pytest.fixture(scope="module")
def reference() -> Runner:
    return open_eager(slim())


@every_engine
def test_a_runner_knows_its_network(engine: str, runners: dict[str, Runner], reference: Runner) -> None:
    runner = runners[engine]
    assert isinstance(runner, Runner)
    for name in ("exit_names", "stage_names", "preparation", "costs", "digest", "precision"):
        assert getattr(runner, name) == getattr(reference, name)
    assert engine in runner.description
    assert "fp32" in runner.description
    assert "1 thread" in runner.description
    assert len(measure(runner, repeats=2).median) == 4


@every_engine
def test_a_step_runs_only_when_its_exit_is_asked_for(engine: str, runners: dict[str, Runner]) -> None:
    ran: list[int] = []
    exits = runners[engine].exits(images(1), lambda: bool(ran.append(1)))
    assert ran == []
    for number in range(1, 5):
        next(exits)
        assert len(ran) == number
    assert next(exits, None) is None


@every_engine
@pytest.mark.parametrize("allowed", range(5))
def test_a_stop_between_steps_ends_the_exits(engine: str, allowed: int, runners: dict[str, Runner]) -> None:
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > allowed

    walk = runners[engine].walk(images(2))
    found = 0
    while walk.exit(stop) is not None:
        found += 1
    assert found == min(allowed, 4)
    assert walk.exit() is None


@every_engine
def test_pictures_left_behind_before_the_first_exit_stay_as_they_were(
    engine: str, runners: dict[str, Runner], reference: Runner
) -> None:
    pictures = images(4)
    before = pictures.copy()
    walk = runners[engine].walk(pictures)
    walk.keep([1, 3])
    same(walk.exit(), next(reference.exits(before[[1, 3]])))
    np.testing.assert_array_equal(pictures, before)


@every_engine
def test_threads_may_share_a_runner(engine: str, runners: dict[str, Runner], reference: Runner) -> None:
    batches = [images(1 + seed % 3, seed) for seed in range(12)]
    found: dict[int, list[np.ndarray]] = {}

    def work(first: int) -> None:
        for number in range(first, len(batches), 3):
            found[number] = list(runners[engine].exits(batches[number]))

    workers = [threading.Thread(target=work, args=(first,)) for first in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for number, batch in enumerate(batches):
        for vectors, expected in zip(found[number], reference.exits(batch), strict=True):
            same(vectors, expected)


@every_engine
def test_pictures_of_any_memory_layout_are_taken_and_of_another_size_refused(
    engine: str, runners: dict[str, Runner], reference: Runner
) -> None:
    mirrored = images(2)[:, :, :, ::-1]
    same(next(runners[engine].exits(mirrored)), next(reference.exits(mirrored)))
    with pytest.raises(ValueError, match=rf"expected images \(B, 3, {HEIGHT}, {WIDTH}\), got shape \(1, 3, 32, 32\)"):
        runners[engine].walk(np.zeros((1, 3, 32, 32), np.float32))


@every_engine
def test_exported_steps_run_without_torch(engine: str, folders: dict[str, Path], tmp_path: Path) -> None:
    picture = save_picture(tmp_path / "a.jpg")
    code = """
import sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "timm"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Nothing())
from pathlib import Path
import numpy as np
from dare import open_runner, embed, Sample
found = embed(open_runner(Path(sys.argv[1])), [Sample((Path(sys.argv[2]),), 1, 1)])
np.save(sys.argv[3], found.fused)
"""
    out = tmp_path / "vectors.npy"
    words = [sys.executable, "-W", "error", "-c", code, folders[engine], picture, out]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pixels = read_resized(picture, HEIGHT, WIDTH)[None]
    same(np.load(out), open_eager(slim()).embed(prepare(pixels, slim().preparation))[1])


@every_engine
def test_signals_are_handled_after_runners_are_gone(engine: str, folders: dict[str, Path]) -> None:
    code = """
import signal, sys
from pathlib import Path
from dare import open_runner
first, second = open_runner(Path(sys.argv[1])), open_runner(Path(sys.argv[1]))
del first
del second
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
signal.raise_signal(signal.SIGTERM)
"""
    words = [sys.executable, "-W", "error", "-c", code, str(folders[engine])]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


@every_engine
def test_a_missing_engine_names_its_extra(
    engine: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime" if engine == "onnx" else "openvino", None)
    with pytest.raises(ImportError, match=rf"dare-reid\[{engine}\]"):
        open_runner(folders[engine])


@pytest.fixture
def copy(folders: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    def make(engine: str) -> Path:
        out = tmp_path / f"copy of {engine}"
        out.mkdir()
        for path in folders[engine].iterdir():
            (out / path.name).write_bytes(path.read_bytes())
        return out

    return make


def change(folder: Path, **fields: object) -> None:
    file = folder / MANIFEST
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))
    reseal(file)


def test_another_precision_than_the_files_are_for_is_refused(folders: dict[str, Path]) -> None:
    assert open_runner(folders["onnx"], precision="fp32").precision == "fp32"
    for engine, precision in (("onnx", "bf16"), ("onnx", "int8"), ("openvino", "int8")):
        with pytest.raises(ValueError, match=f"was exported in fp32, got precision '{precision}'"):
            open_runner(folders[engine], precision=precision)


def test_openvino_computes_whole_steps_in_either_precision(folders: dict[str, Path]) -> None:
    whole, rounded = (open_runner(folders["openvino"], precision=precision) for precision in ("fp32", "bf16"))
    assert (whole.precision, rounded.precision) == ("fp32", "bf16")
    assert "bf16" in rounded.description
    for expected, found in zip(whole.exits(images(2)), rounded.exits(images(2)), strict=True):
        np.testing.assert_allclose(found, expected, atol=0.1 * np.abs(expected).max())


@every_engine
def test_no_thread_is_refused(engine: str, folders: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="threads must be at least 1"):
        open_runner(folders[engine], threads=0)


@every_engine
def test_damaged_and_missing_files_are_refused(engine: str, copy: Callable[[str], Path]) -> None:
    folder = copy(engine)
    file = folder / list(read_manifest(folder).steps[1].files)[-1]
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ExportError, match="damaged or of another export: its SHA-256"):
        open_runner(folder)
    file.unlink()
    with pytest.raises(ExportError, match="can't be read"):
        open_runner(folder)


def test_a_damaged_manifest_is_refused(copy: Callable[[str], Path]) -> None:
    folder = copy("onnx")
    file = folder / MANIFEST
    good = file.read_text()
    for bad in (good[:-20], "[]", "{}", "\0", "7", "[" * 10**5, good.replace('"engine"', '"engime"')):
        file.write_text(bad)
        with pytest.raises(ExportError, match=r"manifest\.json.*; take another copy, or export again"):
            read_manifest(folder)
    file.write_text(good)
    change(folder, format=2)
    with pytest.raises(ExportError, match=r"manifest\.json: format: expected 1, got 2; take"):
        open_runner(folder)
    file.unlink()
    with pytest.raises(ExportError, match=r"no manifest\.json in"):
        read_manifest(folder)


@pytest.mark.parametrize(
    "fields",
    [
        {"engine": "tensorrt"},
        {"engine": []},
        {"precision": "fp8"},
        {"steps": []},
        {"steps": 7},
        {"fusion": [1.0]},
        {"stage_names": ["stage 1"]},
        {"exit_names": None},
        {"costs": {"macs": [1], "source": ""}},
        {"costs": {"macs": [3, 2, 1, 0], "source": ""}},
        {"preparation": {"height": 128, "width": 64}},
        {"preparation": {"height": 8}},
        {"preparation": {"height": 64, "width": 32, "mean": [None] * 3, "std": [1.0] * 3}},
        {"preparation": {"height": 64, "width": 32, "mean": [0.0] * 3, "std": [1.0, 1.0, float("nan")]}},
        {"fusion": ["a", "b", "c", "d"]},
        {"fusion": [None] * 4},
        {"fusion": "abcd"},
        {"digest": 5},
        {"exit_names": "abcd"},
        {"steps": [{"files": ["a"], "precision": "fp32", "input": [3, 64, 32], "features": None, "dimensions": 8}]},
        {"steps": [{"files": {"a": ""}, "precision": "fp8", "input": [3, 64, 32], "features": None, "dimensions": 8}]},
        {"surprise": 1},
        {"space": "both"},
        {"space": None},
    ],
    ids=str,
)
def test_a_manifest_whose_parts_do_not_fit_is_refused(fields: dict[str, object], copy: Callable[[str], Path]) -> None:
    folder = copy("onnx")
    change(folder, **fields)
    with pytest.raises(ExportError, match=r"manifest\.json: .*; take another copy, or export again"):
        open_runner(folder)


def test_a_manifest_that_was_changed_is_refused_though_it_could_be_read(copy: Callable[[str], Path]) -> None:
    folder = copy("onnx")
    fields = json.loads((folder / MANIFEST).read_text())
    fields["fusion"] = [-weight for weight in fields["fusion"]]
    (folder / MANIFEST).write_text(json.dumps(fields, indent=1))
    with pytest.raises(ExportError, match=r"isn't as it was written.*take another copy, or export again"):
        open_runner(folder)


def test_a_manifest_says_whether_exits_share_a_space_and_an_old_one_has_spaces_of_their_own(
    copy: Callable[[str], Path],
) -> None:
    folder = copy("onnx")
    assert open_runner(folder).space == "own"
    change(folder, space="shared")
    assert open_runner(folder).space == "shared"
    fields = json.loads((folder / MANIFEST).read_text())
    fields["steps"][1]["dimensions"] = 9
    (folder / MANIFEST).write_text(json.dumps(fields))
    reseal(folder / MANIFEST)
    with pytest.raises(ExportError, match="share a space only if their vectors have one size"):
        open_runner(folder)
    del fields["space"]
    fields["steps"][1]["dimensions"] = 8
    (folder / MANIFEST).write_text(json.dumps(fields))
    reseal(folder / MANIFEST)
    assert open_runner(folder).space == "own"


@every_engine
@pytest.mark.parametrize("name", ["../evil.onnx", "/evil.onnx", "..", ""])
def test_files_outside_the_folder_are_not_opened(engine: str, name: str, copy: Callable[[str], Path]) -> None:
    folder = copy(engine)
    steps = json.loads((folder / MANIFEST).read_text())["steps"]
    steps[0]["files"] = {name: "0" * 64}
    change(folder, steps=steps)
    with pytest.raises(ExportError, match="expected names of files in the folder"):
        open_runner(folder)


@every_engine
def test_files_that_do_not_have_the_shapes_of_the_manifest_are_refused(
    engine: str, copy: Callable[[str], Path]
) -> None:
    folder = copy(engine)
    steps = json.loads((folder / MANIFEST).read_text())["steps"]
    steps[1]["dimensions"] = 9
    change(folder, steps=steps)
    with pytest.raises(ExportError, match="doesn't fit manifest"):
        open_runner(folder)


def test_a_folder_is_opened_by_the_engine_it_is_for(folders: dict[str, Path]) -> None:
    with pytest.raises(ExportError, match="was exported for openvino, not for onnx"):
        open_runner(folders["openvino"], "onnx")
    with pytest.raises(ValueError, match="holds exported steps, which the runner eager doesn't run"):
        open_runner(folders["onnx"], "eager")
