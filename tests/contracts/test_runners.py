"""Every runner gives the vectors that torch gives, exit by exit, to batches that shrink."""

import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exports import with_graphs

from dare import DaRe, Runner, count_macs, export, open_runner
from dare.exporting.graphs import step_graphs
from dare.images.preparation import Preparation
from dare.models.backbones import build_backbone
from dare.models.checkpoints import Architecture, Checkpoint

Open = Callable[[Checkpoint], Runner]


GRAPHS: dict[int, tuple[Any, ...]] = {}


def graphs(checkpoint: Checkpoint) -> tuple[Any, ...]:
    """Made once for both formats."""
    size, key = checkpoint.preparation, id(checkpoint)
    if key not in GRAPHS:
        GRAPHS[key] = tuple(step_graphs(checkpoint.model, size.height, size.width))
    return GRAPHS[key]


def exported(format: str, engine: str | None = None) -> Open:
    def open_export(checkpoint: Checkpoint) -> Runner:
        folder = Path(tempfile.mkdtemp()) / "steps"
        with with_graphs(graphs(checkpoint)):
            export(checkpoint, folder, format)
        runner = open_runner(folder, engine)
        shutil.rmtree(folder.parent)
        return runner

    return open_export


ENGINES: dict[str, tuple[Open, float]] = {
    "eager": (lambda checkpoint: open_runner(checkpoint, "eager"), 1e-6),
    "eager bf16": (lambda checkpoint: open_runner(checkpoint, "eager", precision="bf16"), 0.05),
    "prepacked": (lambda checkpoint: open_runner(checkpoint, "prepacked"), 1e-4),
    "prepacked bf16": (lambda checkpoint: open_runner(checkpoint, "prepacked", precision="bf16"), 0.05),
    "onnx": (exported("onnx"), 1e-4),
    "openvino": (exported("openvino"), 1e-4),
    "openvino from onnx": (exported("onnx", "openvino"), 1e-4),
    "workers": (lambda checkpoint: open_runner(checkpoint, "prepacked", workers=2), 1e-4),
}
"""How an engine is opened, and how far its vectors may be from torch's in float32, relative to their largest value."""

BACKBONES = (
    ("slim", None),
    pytest.param("resnet18", None, marks=pytest.mark.heavy),
    # Later blocks of these are of the same kind, and slow to export. The first has vectors of length 1.
    pytest.param("omni25", (1, 2), marks=pytest.mark.heavy),
    pytest.param("resnet50", (1, 2), marks=pytest.mark.heavy),
    pytest.param("densenet121", (1, 2), marks=pytest.mark.heavy),
    ("lite0", None),  # and mobilenetv2, of the same blocks
    pytest.param("timm/mobilenetv3_small_050", (1, 2), marks=pytest.mark.heavy),
)
"""Names, and the tapped stages if not all."""

SIZES = {"slim": (64, 32), "resnet18": (80, 48)}

DEEP = ("resnet50", "densenet121")
"""In bfloat16 told by their first exit alone: fifty layers of random weights make anything of a rounding."""

Opened = Callable[..., tuple[Checkpoint, Runner, float]]


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.heavy) if name == "workers" else name for name in ENGINES],
)
def opened(request: pytest.FixtureRequest) -> Iterator[Opened]:
    """A network and its runner, opened once per module; and how near vectors must be."""
    open_engine, tolerance = ENGINES[request.param]
    known: dict[object, tuple[Checkpoint, Runner, float]] = {}

    def get(
        backbone: str = "slim", taps: tuple[int, ...] | None = None, fusion: bool = True
    ) -> tuple[Checkpoint, Runner, float]:
        key = backbone, taps, fusion
        if key not in known:
            checkpoint = network(*key)
            with warnings.catch_warnings():
                if backbone in DEEP:  # on some processors a block of theirs is left as it is, and that is said
                    warnings.filterwarnings("ignore", ".*gives other numbers when compiled")
                known[key] = checkpoint, open_engine(checkpoint), tolerance
        return known[key]

    yield get
    known.clear()


@cache
def network(backbone: str, taps: tuple[int, ...] | None = None, fusion: bool = True) -> Checkpoint:
    torch.manual_seed(0)
    height, width = SIZES.get(backbone, (64, 32))
    model = DaRe(build_backbone(backbone), 8, 16, taps, fusion, unit=backbone == "omni25").eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):  # as after training: not the identity
            for values in (module.running_mean, module.running_var, module.weight, module.bias):
                values.data += 0.2 * torch.rand_like(values)  # type: ignore[union-attr]
    costs = count_macs(model, height, width)
    return Checkpoint(model, Architecture(), Preparation(height, width), costs, {}, "d" * 64, "shared")


def pictures(checkpoint: Checkpoint, batch: int) -> np.ndarray:
    size = checkpoint.preparation
    return np.random.default_rng(batch).normal(size=(batch, 3, size.height, size.width)).astype(np.float32)


def expected(checkpoint: Checkpoint, images: np.ndarray) -> list[np.ndarray]:
    with torch.inference_mode():
        return [vectors.numpy() for vectors in checkpoint.model.exits(torch.from_numpy(images))]


def assert_near(found: np.ndarray, wanted: np.ndarray, tolerance: float) -> None:
    assert found.dtype == np.float32
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * max(1e-3, float(np.abs(wanted).max(initial=0))))


@pytest.mark.parametrize(("backbone", "taps"), BACKBONES)
def test_exits_are_those_of_torch(
    opened: Opened, request: pytest.FixtureRequest, backbone: str, taps: tuple[int, ...] | None
) -> None:
    if "workers" in request.node.name and backbone != "slim":
        return  # a worker runs what prepacked runs; each would load torch for it
    checkpoint, runner, tolerance = opened(backbone, taps)
    assert isinstance(runner, Runner)
    assert (runner.digest, runner.costs, runner.preparation) == ("d" * 64, checkpoint.costs, checkpoint.preparation)
    names = ("stage 1", "stage 2", "stage 3", "fusion") if taps is None else ("stage 1", "fusion")
    assert runner.exit_names == names
    assert runner.space == "shared"
    for batch in (1, 5):
        images = pictures(checkpoint, batch)
        found = list(runner.exits(images))
        assert len(found) == len(names)
        told = 1 if backbone in DEEP and runner.precision == "bf16" else 4
        for vectors, wanted in list(zip(found, expected(checkpoint, images), strict=True))[:told]:
            assert_near(vectors, wanted, tolerance)


def test_all_stages_and_the_fusion_can_be_embedded(opened: Opened) -> None:
    checkpoint, runner, tolerance = opened()
    for batch in (1, 7, 0):
        images = pictures(checkpoint, batch)
        with torch.inference_mode():
            wanted = checkpoint.model(torch.from_numpy(images))
        stages, fused = runner.embed(images)
        assert len(stages) == 4
        assert fused is not None
        for vectors, expected in zip((*stages, fused), (*wanted.stages, wanted.fused), strict=True):
            assert_near(vectors, expected.numpy(), tolerance)


def test_stages_without_a_head_and_networks_without_fusion_are_run_too(opened: Opened) -> None:
    checkpoint, runner, tolerance = opened("tiny", taps=(2, 4), fusion=False)
    images = pictures(checkpoint, 3)
    for vectors, wanted in zip(runner.exits(images), expected(checkpoint, images), strict=True):
        assert_near(vectors, wanted, tolerance)
    assert len(runner.embed(images)[0]) == 2
    assert runner.embed(images)[1] is None


@pytest.mark.parametrize(
    "kept", [([0, 2, 3], [1, 2], [0]), ([4, 1], [1, 0], [1]), ([0, 1, 2, 3, 4], [3], [0]), ([2, 2], [0, 1], [])]
)
def test_a_batch_may_shrink_on_the_way(opened: Opened, kept: tuple[list[int], ...]) -> None:
    checkpoint, runner, tolerance = opened()
    images = pictures(checkpoint, 5)
    before = images.copy()
    walk, rows = runner.walk(images), np.arange(5)
    for wanted, keep in zip(expected(checkpoint, images), (*kept, []), strict=True):
        vectors = walk.exit()
        assert vectors is not None
        assert_near(vectors, wanted[rows], tolerance)
        rows = rows[keep]
        walk.keep(keep)
    assert walk.exit() is None
    np.testing.assert_array_equal(images, before)


def test_a_mask_is_no_list_of_rows(opened: Opened) -> None:
    checkpoint, runner, _ = opened()
    walk = runner.walk(pictures(checkpoint, 2))
    walk.exit()
    with pytest.raises(TypeError, match="numbers of the rows that stay, got a mask"):
        walk.keep([True, False])


def test_walks_do_not_disturb_each_other(opened: Opened) -> None:
    checkpoint, runner, tolerance = opened()
    batches = [pictures(checkpoint, batch) for batch in (1, 3, 4, 1)]
    walks = [runner.walk(images) for images in batches]
    found = [[walk.exit() for walk in walks] for _ in range(4)]
    for place, images in enumerate(batches):
        for vectors, wanted in zip(found, expected(checkpoint, images), strict=True):
            assert vectors[place] is not None
            assert_near(vectors[place], wanted, tolerance)


def test_it_stops_when_it_is_told_to(opened: Opened) -> None:
    checkpoint, runner, _ = opened()
    images = pictures(checkpoint, 1)
    assert list(runner.exits(images, lambda: True)) == []
    walk = runner.walk(images)
    assert walk.exit(lambda: False) is not None
    assert walk.exit(lambda: True) is None
    assert walk.exit() is None
    assert len(list(runner.exits(images, lambda: False))) == 4


def test_pictures_of_another_shape_are_refused(opened: Opened) -> None:
    _, runner, _ = opened()
    with pytest.raises(ValueError, match=r"expected images \(B, 3, "):
        list(runner.exits(np.zeros((3, 64, 32), np.float32)))
    with pytest.raises(ValueError, match=r"expected images \(B, 3, "):
        runner.embed(np.zeros((1, 1, 64, 32), np.float32))


def test_a_block_that_cannot_be_compiled_runs_as_it_is_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = network("slim")
    images = pictures(checkpoint, 2)
    wanted = expected(checkpoint, images)
    trace = torch.jit.trace
    traced = []

    def second_fails(block: torch.nn.Module, *args: object, **settings: object) -> object:
        traced.append(block)
        if len(traced) == 2:
            raise RuntimeError("unknown operation\nand a page of text")
        return trace(block, *args, **settings)

    monkeypatch.setattr(torch.jit, "trace", second_fails)
    with pytest.warns(UserWarning, match=r"1 of 7 blocks as they are.*cannot be traced \(unknown operation\)"):
        runner = open_runner(checkpoint, "prepacked")
    assert "1 of 7 blocks as they are" in runner.description
    for vectors, exit in zip(runner.exits(images), wanted, strict=True):
        assert_near(vectors, exit, 1e-4)


def test_other_numbers_from_the_compiler_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.jit, "freeze", lambda traced: lambda features: 1.01 * traced(features))
    with pytest.warns(UserWarning, match="7 of 7 blocks as they are: gives other numbers when compiled, off by 1 %"):
        runner = open_runner(network("slim"), "prepacked")
    assert len(list(runner.exits(pictures(network("slim"), 1)))) == 4


@pytest.mark.parametrize("name", ["enable_onednn_fusion", "trace", "last_executed_optimized_graph"])
def test_a_torch_that_lacks_what_this_needs_runs_everything_as_it_is(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delattr(torch.jit, name)
    checkpoint = network("slim")
    with pytest.warns(UserWarning, match="7 of 7 blocks as they are"):
        runner = open_runner(checkpoint, "prepacked")
    images = pictures(checkpoint, 2)
    for vectors, wanted in zip(runner.exits(images), expected(checkpoint, images), strict=True):
        assert_near(vectors, wanted, 1e-4)


def test_a_block_that_cannot_be_compiled_for_a_later_size_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = network("slim")
    runner = open_runner(checkpoint, "prepacked")
    monkeypatch.delattr(torch.jit, "enable_onednn_fusion")
    images = pictures(checkpoint, 3)
    with pytest.warns(UserWarning, match=r"step \d block \d runs as it is from now on: it cannot be compiled"):
        found = list(runner.exits(images))
    for vectors, wanted in zip(found, expected(checkpoint, images), strict=True):
        assert_near(vectors, wanted, 1e-4)


def test_opening_leaves_switches_of_torch_as_they_were() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_runner(network("slim"), "prepacked")
    assert not torch.jit.onednn_fusion_enabled()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "tensorrt"}, "unknown runner 'tensorrt'; choose eager, prepacked, onnx, openvino"),
        ({"name": "onnx"}, "runs what `dare export --format onnx` wrote, got a Checkpoint"),
        ({"name": "prepacked", "precision": "int8"}, "fp32 or bf16, not in 'int8'"),
        ({"name": "prepacked", "device": "cuda"}, "for the CPU, not for 'cuda'; choose the runner eager"),
        ({"workers": 0}, "expected 1 to 255 workers, got 0"),
        ({"workers": 2, "device": "cuda"}, "share a CPU, not the device 'cuda'; take 1 worker"),
        ({"workers": 2, "threads": 2}, "each worker has one thread, got 2 threads and 2 workers"),
    ],
)
def test_what_cannot_be_run_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_runner(network("slim"), **settings)  # type: ignore[arg-type]
