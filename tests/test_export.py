"""`export` and `dare export`: what is written, what is refused, what is left when something fails."""

import json
import sys
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_market, save_picture
from exports import ENGINES, export_slim, images, same, saved_slim, slim, slim_graphs, with_graphs
from test_cli import run as run_plainly

from dare import embed, evaluate, export, open_benchmark, open_runner
from dare.exporting import parity
from dare.exporting.formats import FORMATS
from dare.exporting.parity import Accuracy, ExitParity, LossError
from dare.exporting.pictures import choose_pictures
from dare.exporting.step_files import StepFiles
from dare.images.reading import UnreadableImageError
from dare.runners.eager import open_eager
from dare.runners.exported import MANIFEST, ExportError, read_manifest
from dare.runners.runner import Runner

every_engine = pytest.mark.parametrize("engine", ENGINES)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_market(tmp_path_factory.mktemp("data") / "market", train_people=8)


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a command line, with the graphs of the slim network."""
    with with_graphs(slim_graphs()):
        return run_plainly(capsys, *map(str, words))


@every_engine
def test_a_folder_holds_a_file_per_step_and_a_manifest(engine: str, tmp_path: Path) -> None:
    checkpoint = saved_slim(tmp_path)
    with with_graphs(slim_graphs()):
        manifest = export(checkpoint, tmp_path / "out", engine)
    suffixes = {"onnx": ["onnx"], "openvino": ["bin", "xml"]}[engine]
    files = [f"step-{number}.{suffix}" for number in range(1, 5) for suffix in suffixes]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [MANIFEST, *files]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors", "out"]
    assert read_manifest(tmp_path / "out") == manifest
    assert manifest.digest == checkpoint.digest != ""
    assert manifest.costs == checkpoint.costs
    assert [step.precision for step in manifest.steps] == ["fp32"] * 4
    assert set(manifest.tools) >= {"torch", "onnx", "onnxscript"}
    assert manifest.parity["compared"] == "16 random inputs"
    assert all(exit["cosine_min"] > 0.9999 for exit in manifest.parity["exits"])
    for path in (tmp_path / "out").iterdir():
        assert str(Path(parity.__file__).parents[2]).encode() not in path.read_bytes()


def test_bfloat16_is_a_matter_of_loading(tmp_path: Path) -> None:
    manifest = export_slim(tmp_path / "out", "openvino", precision="bf16")
    assert manifest.precision == manifest.steps[0].precision == "bf16"
    runner = open_runner(tmp_path / "out")
    assert (runner.precision, "bf16" in runner.description) == ("bf16", True)
    assert all(exit["cosine_min"] > 0.99 for exit in manifest.parity["exits"])


@pytest.mark.heavy
@every_engine
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_weights_kept_in_float16_take_half_the_size_and_give_the_same_vectors(
    engine: str, precision: str, market: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"precision": precision, "force": precision == "int8"}
    settings |= {"calibrate": market, "int8_steps": [1]} if precision == "int8" else {}
    whole = export_slim(tmp_path / "whole", engine, **settings)
    half = export_slim(tmp_path / "half", engine, half=True, **settings)
    assert half.precision == whole.precision == precision
    last = [
        sum((tmp_path / name / file).stat().st_size for file in m.steps[-1].files if not file.endswith(".xml"))
        for name, m in (("half", half), ("whole", whole))
    ]
    assert last[0] < 0.7 * last[1]
    rounding = 2e-3 if precision == "fp32" else 3e-2  # may take a value to the next of int8's steps
    for found, expected in zip(
        open_runner(tmp_path / "half").exits(images(3)), open_runner(tmp_path / "whole").exits(images(3)), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=0, atol=rounding * np.abs(expected).max())


@pytest.mark.heavy
@every_engine
def test_int8_takes_its_ranges_from_pictures_and_is_judged_on_other_people(
    engine: str, market: Path, tmp_path: Path
) -> None:
    manifest = export_slim(tmp_path / "out", engine, precision="int8", calibrate=market, int8_steps=[1, 2], force=True)
    assert [step.precision for step in manifest.steps] == ["int8", "int8", "fp32", "fp32"]
    assert manifest.precision == "int8"
    whole = export_slim(tmp_path / "whole", engine)
    size = [
        sum((tmp_path / name / file).stat().st_size for file in m.steps[1].files)
        for name, m in (("out", manifest), ("whole", whole))
    ]
    assert size[0] < size[1]
    assert all(0.9 < exit["cosine_min"] < 1 - 1e-7 for exit in manifest.parity["exits"])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        MANIFEST,
        *(name for step in manifest.steps for name in step.files),
    }
    for found, expected in zip(
        open_runner(tmp_path / "out").exits(images(5)), open_eager(slim()).exits(images(5)), strict=True
    ):
        assert abs(found - expected).max() < 0.5 * abs(expected).max()


def test_the_people_an_export_is_judged_on_are_not_among_the_calibration_pictures(market: Path) -> None:
    chosen = choose_pictures(market, None, judged=True, seed=0)
    assert chosen.validation is not None
    judged = {sample.person for sample in (*chosen.validation.query, *chosen.validation.gallery)}
    calibrated = {int(path.name.split("_")[0]) for path in chosen.calibration}
    assert len(judged) == len(calibrated) == 4
    assert not judged & calibrated
    assert choose_pictures(market, None, judged=True, seed=0) == chosen
    assert choose_pictures(market, None, judged=True, seed=1) != chosen
    assert choose_pictures(market, market, judged=True, seed=0).validation is not None
    assert len(choose_pictures(market, None, judged=False, seed=0).calibration) == 8 * 6


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make exits lose mAP, by exit, if the steps counted from 1 are int8."""

    int8: list[int] = []
    open_before = StepFiles.open

    def set_losses(by_step: dict[int, dict[int, float]]) -> None:
        def accuracy(runner: Any, *_: object) -> list[Accuracy]:
            lost = [0.0] * 4
            if "eager" not in runner.description:
                for number in int8:
                    for exit, loss in by_step.get(number, {}).items():
                        lost[exit] += loss
            return [Accuracy(0.9, 0.8 - loss) for loss in lost]

        def open_steps(files: StepFiles, precision: str, chosen: Collection[int]) -> Runner:
            int8[:] = chosen
            return open_before(files, precision, chosen)

        monkeypatch.setattr(parity, "accuracy", accuracy)
        monkeypatch.setattr(StepFiles, "open", open_steps)

    return set_losses


def test_int8_that_loses_half_a_point_is_refused_with_what_would_do(
    market: Path, tmp_path: Path, losses: Callable[..., None]
) -> None:
    losses({2: {2: 0.001}, 3: {2: 0.02, 3: 0.001}, 4: {3: 0.03}})
    words = (
        r"stage 3 80\.0 -> 77\.9, fusion 80\.0 -> 76\.9 .*--int8-steps 1,2 would do .*stage 3 80\.0 -> 79\.9.*--force"
    )
    with pytest.raises(LossError, match=words):
        export_slim(tmp_path / "out", "onnx", precision="int8", calibrate=market)
    assert list(tmp_path.iterdir()) == []
    export_slim(tmp_path / "fewer", "onnx", precision="int8", calibrate=market, int8_steps=[2, 1])
    manifest = export_slim(tmp_path / "forced", "onnx", precision="int8", calibrate=market, force=True)
    assert [step.precision for step in manifest.steps] == ["int8"] * 4


def test_in_one_space_steps_behind_the_exit_count_too_as_its_gallery_comes_from_them(
    market: Path, tmp_path: Path, losses: Callable[..., None]
) -> None:
    losses({3: {0: 0.02}})
    shared = replace(slim(), space="shared")
    with (
        with_graphs(slim_graphs()),
        pytest.raises(LossError, match=r"stage 1 80\.0 -> 78\.0 .*--int8-steps 1,2 would do"),
    ):
        export(shared, tmp_path / "out", "onnx", precision="int8", calibrate=market)
    with pytest.raises(LossError, match=r"stage 1 80\.0 -> 78\.0 .*no choice of first steps would do"):
        export_slim(tmp_path / "out", "onnx", precision="int8", calibrate=market)


@every_engine
def test_an_export_is_scored_as_its_network_is_used_and_says_how(engine: str, market: Path, tmp_path: Path) -> None:
    """In one space against the last exit's gallery."""
    checkpoint = replace(slim(), space="shared")
    with with_graphs(slim_graphs()):
        manifest = export(checkpoint, tmp_path / "out", engine, benchmark=market)
    runner, benchmark = open_runner(tmp_path / "out"), open_benchmark(market)
    assert runner.space == manifest.space == json.loads((tmp_path / "out" / MANIFEST).read_text())["space"] == "shared"
    vectors = embed(runner, [*benchmark.query, *benchmark.gallery], root=benchmark.root)
    assert vectors.space == "shared"
    in_own = evaluate(replace(vectors, space="own"), benchmark)
    for exit, found, other in zip(
        manifest.parity["exits"], evaluate(vectors, benchmark).exits, in_own.exits, strict=True
    ):
        assert exit["export"]["mean_average_precision"] == found.scores.mean_average_precision
        assert (found.scores.mean_average_precision == other.scores.mean_average_precision) == (found.name == "fusion")


def test_int8_whose_first_step_is_too_inexact_has_no_advice(
    market: Path, tmp_path: Path, losses: Callable[..., None]
) -> None:
    losses({1: {0: 0.006, 3: 0.006}})
    with pytest.raises(LossError, match=r"stage 1 .*no choice of first steps would do; export in another precision"):
        export_slim(tmp_path / "out", "onnx", precision="int8", calibrate=market)
    losses({1: {0: 0.0049}})
    assert export_slim(tmp_path / "out", "onnx", precision="int8", calibrate=market).parity["scored"]


def test_an_unlike_fp32_export_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exits = (ExitParity("stage 1", 1.0, 0.99995), ExitParity("fusion", 0.9999, 0.9))
    monkeypatch.setattr(parity, "compare", lambda *_: exits)
    with pytest.raises(LossError, match=r"under 0\.9999: fusion 0\.900000;"):
        export_slim(tmp_path / "out", "onnx")
    assert list(tmp_path.iterdir()) == []
    assert export_slim(tmp_path / "out", "onnx", force=True).parity["exits"][1]["cosine_min"] == 0.9


def test_bfloat16_is_judged_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "compare", lambda *_: (ExitParity("fusion", 0.9, 0.62),))
    with pytest.raises(LossError, match=r"under 0\.99: fusion 0\.620000;"):
        export_slim(tmp_path / "out", "openvino", precision="bf16")


@every_engine
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("iostream error\nand more")])
def test_what_cannot_be_written_names_the_file(
    engine: str, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setitem(FORMATS, engine, replace(FORMATS[engine], write=fail))
    with pytest.raises((OSError, ExportError)) as refusal:
        export_slim(tmp_path / "new" / "out", engine)
    assert ("new/out" if isinstance(error, OSError) else "step-1") in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_one_works_in_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for place in (Path(), tmp_path.parent):
        with pytest.raises(ValueError, match="give an export a folder of its own"):
            export_slim(place, "onnx")


def test_an_export_is_no_network(tmp_path: Path) -> None:
    export_slim(tmp_path / "out", "onnx")
    with pytest.raises(ValueError, match="is an export already; give the checkpoint"):
        export(tmp_path / "out", tmp_path / "again")


@every_engine
def test_a_failed_export_leaves_nothing_behind_and_what_was_there_unchanged(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_slim(tmp_path / "out", engine)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def fail(*_: object) -> None:
        raise RuntimeError("no space")

    monkeypatch.setattr(parity, "compare", fail)
    for out in ("out", "new"):
        with pytest.raises(RuntimeError, match="no space"):
            export_slim(tmp_path / out, engine)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_only_an_export_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    export_slim(out, "onnx")
    export_slim(out, "openvino")
    assert read_manifest(out).engine == "openvino"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    (out / "notes.txt").write_text("precious")
    with pytest.raises(FileExistsError, match=r"holds notes\.txt, so it is not replaced"):
        export_slim(out, "onnx")
    mine = save_picture(tmp_path / "mine" / "a.jpg")
    for place in (mine, mine.parent):
        with pytest.raises(FileExistsError, match="is no export, so it is not replaced"):
            export_slim(place, "onnx")
    assert mine.exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"format": "tflite"}, "unknown format 'tflite'; choose onnx or openvino"),
        ({"precision": "fp8"}, "unknown precision 'fp8'; choose fp32, int8, bf16"),
        ({"precision": "bf16"}, "onnxruntime has no convolutions in bfloat16"),
        ({"precision": "int8"}, "give a data set or a folder with --calibrate"),
        ({"int8_steps": [1]}, "belongs to precision int8, got precision fp32"),
        ({"precision": "int8", "calibrate": "MARKET", "int8_steps": [5]}, "steps from 1 to 4, got .5."),
        ({"precision": "int8", "calibrate": "MARKET", "int8_steps": []}, "steps from 1 to 4"),
        ({"precision": "int8", "calibrate": "STRANGERS"}, "give --benchmark, or take --force"),
    ],
    ids=str,
)
def test_settings_that_do_not_fit_are_refused(
    settings: dict[str, Any], words: str, market: Path, tmp_path: Path
) -> None:
    strangers = tmp_path / "strangers"
    save_picture(strangers / "a.jpg")
    save_picture(strangers / "b.jpg", 1)
    places = {"MARKET": market, "STRANGERS": strangers}
    settings = {name: places.get(str(value), value) for name, value in settings.items()}
    with pytest.raises(ValueError, match=words):
        export_slim(tmp_path / "out", **{"format": "onnx", **settings})
    assert [path.name for path in tmp_path.iterdir()] == ["strangers"]


def test_pictures_without_people_do_with_force(tmp_path: Path) -> None:
    for seed in range(3):
        save_picture(tmp_path / "pictures" / f"{seed}.jpg", seed)
    settings = {"precision": "int8", "calibrate": tmp_path / "pictures", "force": True, "int8_steps": [1]}
    manifest = export_slim(tmp_path / "out", "onnx", **settings)
    assert manifest.parity["compared"] == "3 calibration pictures"
    assert manifest.parity["scored"] == ""


def test_an_unreadable_picture_is_named(tmp_path: Path) -> None:
    root = make_market(tmp_path / "market")
    bad = root / "bounding_box_train" / "0001_c1s1_000001_01.jpg"
    bad.write_bytes(b"")
    with pytest.raises(UnreadableImageError, match=r"0001_c1s1_000001_01\.jpg: empty file"):
        export_slim(tmp_path / "out", "onnx", calibrate=root)
    bad = root / "query" / "0004_c1s1_000001_00.jpg"
    bad.write_bytes(b"")
    with pytest.raises(UnreadableImageError, match=r"0004_c1s1_000001_00\.jpg: empty file; replace or remove it$"):
        export_slim(tmp_path / "out", "onnx", benchmark=root)
    assert [path.name for path in tmp_path.iterdir()] == ["market"]


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime", "nncf"])
def test_a_missing_package_is_named_with_its_extra(
    package: str, market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    format = "openvino" if package == "nncf" else "onnx"
    with pytest.raises(ImportError, match=rf"needs {package}; .*dare-reid\[export\]"):
        export_slim(tmp_path / "out", format, precision="int8", calibrate=market)


def test_the_command_shows_cosines_and_accuracy(
    capsys: pytest.CaptureFixture[str], market: Path, tmp_path: Path
) -> None:
    saved_slim(tmp_path)
    words = ["export", tmp_path, tmp_path / "out", "--format", "openvino", "--benchmark", market]
    status, out, err = run(capsys, *words)
    assert status == 0
    assert "cosine, mean" in out
    assert "mAP" in out
    assert "scored in percent on market1501: 6 queries, 8 gallery entries" in out
    assert "step 1 fp32, step 2 fp32, step 3 fp32, step 4 fp32;" in out
    assert "Warning" not in err
    manifest = json.loads((tmp_path / "out" / MANIFEST).read_text())
    assert manifest["parity"]["exits"][0]["network"]["mean_average_precision"] > 0
    for found, expected in zip(
        open_runner(tmp_path / "out").exits(images(2)), open_eager(slim()).exits(images(2)), strict=True
    ):
        same(found, expected)


def test_what_a_user_can_mend_is_one_line(capsys: pytest.CaptureFixture[str], market: Path, tmp_path: Path) -> None:
    saved_slim(tmp_path)
    for words, said in (
        (["--precision", "bf16"], "onnx cannot be exported in bf16"),
        (["--precision", "int8"], "--calibrate"),
        (["--precision", "int8", "--calibrate", market, "--int8-steps", "one"], "takes numbers of steps such as 1,2"),
        (["--benchmark", tmp_path / "nowhere"], "nowhere"),
    ):
        status, _, err = run(capsys, "export", tmp_path, tmp_path / "out", *words)
        assert status == 2
        assert err.strip().startswith("dare: ")
        assert said in err
        assert err.strip().count("\n") == 0
    assert not (tmp_path / "out").exists()
