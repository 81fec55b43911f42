"""Networks that others trained give the vectors that their graphs say, for images prepared as they were trained."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import foreign
import numpy as np
import onnx
import pytest
from conftest import save_picture
from foreign import DIMENSIONS, HEIGHT, MACS, WIDTH, graph, made, save, unit
from onnx import TensorProto, helper

from dare import Runner, Sample, embed, open_runner
from dare.images.preparation import IMAGENET_MEAN, IMAGENET_STD, prepare
from dare.images.reading import read_resized
from dare.runners.preparations import FAMILIES, ForeignError, ForeignPreparation, read_preparation
from dare.runners.runner import StepWalk

FLOAT = TensorProto.FLOAT
every_format = pytest.mark.parametrize("suffix", [".onnx", ".xml"])
PIXELS = np.random.default_rng(0).integers(0, 256, (7, HEIGHT, WIDTH, 3), dtype=np.uint8)


def input_of(family: str) -> np.ndarray:
    """What a family's own code makes of the pixels, in float64."""
    planes = PIXELS.transpose(0, 3, 1, 2).astype(np.float64)
    if family == "openvino-retail":
        return planes[:, ::-1]
    if family == "fast-reid":
        return planes
    mean, std = (np.asarray(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    changed: np.ndarray = (planes / 255 - mean) / std
    return changed


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("batch", [1, "batch"])
@every_format
def test_vectors_are_those_of_the_graph_at_length_one(
    suffix: str, batch: int | str, family: str, tmp_path: Path
) -> None:
    model = graph(batch)
    runner = open_runner(save(model, tmp_path / f"network{suffix}"), preparation=family)
    assert isinstance(runner, Runner)
    assert (runner.exit_names, runner.stage_names) == (("network",), ("network",))
    assert runner.costs.macs == (MACS,)
    assert f"counted at 32x16 in network{suffix}, convolutions and matrix products" in runner.costs.source
    engine = {".onnx": "onnxruntime", ".xml": "openvino"}[suffix]
    assert runner.description.startswith(f"{engine} ")
    assert runner.description.endswith(", fp32, cpu, 1 thread")
    images = prepare(PIXELS, runner.preparation)
    wanted = unit(np.concatenate([foreign.vectors(model, one[None]) for one in input_of(family)]))
    for count in (1, 7, 0):
        (found,), fused = runner.embed(images[:count])
        assert fused is None
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted[:count], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(list(runner.exits(images[:count])), [found])


@every_format
def test_a_walk_may_shrink_before_it_begins_and_ends_behind_the_network(suffix: str, tmp_path: Path) -> None:
    runner = open_runner(save(graph(), tmp_path / f"network{suffix}"), preparation="torchreid")
    images = prepare(PIXELS, runner.preparation)
    before = images.copy()
    ((found,), _), walk = runner.embed(images), runner.walk(images)
    walk.keep([4, 1])
    np.testing.assert_allclose(walk.exit(), found[[4, 1]], atol=1e-6)
    walk.keep([0])
    assert walk.exit() is None
    assert list(runner.exits(images, lambda: True)) == []
    np.testing.assert_array_equal(images, before)
    with pytest.raises(ValueError, match=r"expected images \(B, 3, 32, 16\), got shape \(1, 3, 16, 16\)"):
        runner.embed(images[:1, :, :16])


@pytest.mark.parametrize("unit_length", [True, False])
def test_a_file_says_how_images_are_prepared_for_any_other_network(unit_length: bool, tmp_path: Path) -> None:
    says = {"colours": "BGR", "white": 1, "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "unit_length": unit_length}
    model = graph()
    network = save(model, tmp_path / "network.v2.onnx")
    beside = tmp_path / "network.v2.preparation.json"
    beside.write_text(json.dumps(says))
    turned = PIXELS[..., ::-1].transpose(0, 3, 1, 2) / 255
    wanted = foreign.vectors(model, (turned - np.c_[[0.1, 0.2, 0.3]][..., None]) / np.c_[[0.4, 0.5, 0.6]][..., None])
    for given in (None, str(beside)):
        runner = open_runner(network, preparation=given)
        (found,), _ = runner.embed(prepare(PIXELS, runner.preparation))
        np.testing.assert_allclose(found, unit(wanted) if unit_length else wanted, rtol=1e-4, atol=1e-4)
    with pytest.raises(ForeignError, match=r"torchreid is not how .* as network\.v2\.preparation\.json says"):
        open_runner(network, preparation="torchreid")


def test_pixel_values_that_a_network_takes_as_they_are_reach_it_exactly() -> None:
    for family in ("openvino-retail", "fast-reid"):
        found = prepare(PIXELS, FAMILIES[family].at(HEIGHT, WIDTH))
        np.testing.assert_array_equal(found, PIXELS.transpose(0, 3, 1, 2))


@every_format
def test_a_size_that_the_graph_leaves_open_comes_from_the_preparation(suffix: str, tmp_path: Path) -> None:
    network = save(graph("batch", "height", "width"), tmp_path / f"network{suffix}")
    with pytest.raises(ForeignError, match="takes images of any height; say which in a preparation file"):
        open_runner(network, preparation="torchreid")
    file = tmp_path / "mine.json"
    for height, width in ((HEIGHT, WIDTH), (64, 48)):
        file.write_text(as_json(replace(FAMILIES["torchreid"], height=height, width=width)))
        runner = open_runner(network, preparation=file)
        assert (runner.preparation.height, runner.preparation.width) == (height, width)
        assert runner.embed(np.zeros((3, 3, height, width), np.float32))[0][0].shape == (3, DIMENSIONS)
    assert runner.costs.macs[0] > MACS


def as_json(how: ForeignPreparation) -> str:
    names = ("colours", "white", "mean", "std", "unit_length", "height", "width")
    return json.dumps({name: getattr(how, name) for name in names})


RETAIL = {
    "model_name": "person-reidentification-retail-0288",
    "reverse_input_channels": "True",
    "mean_values": "data[123.675,116.28,103.53]",
}


def test_openvinos_own_networks_are_known_by_what_their_converter_wrote(tmp_path: Path) -> None:
    own = open_runner(save(graph(), tmp_path / "any.xml", **RETAIL))
    named = open_runner(save(graph(), tmp_path / "other.xml"), preparation="openvino-retail")
    for vectors, wanted in zip(own.embed(INPUT)[0], named.embed(INPUT)[0], strict=True):
        np.testing.assert_array_equal(vectors, wanted)
    assert open_runner(tmp_path / "any.xml", preparation="openvino-retail").digest == own.digest
    with pytest.raises(ForeignError, match=r"torchreid is not how .* as the network itself says"):
        open_runner(tmp_path / "any.xml", preparation="torchreid")
    for name, other in (("model_name", "person-detection-0200"), ("reverse_input_channels", "False")):
        file = save(graph(), tmp_path / f"{name}.xml", **{**RETAIL, name: other})
        with pytest.raises(ForeignError, match="doesn't say how images are prepared"):
            open_runner(file)


INPUT = np.random.default_rng(1).normal(size=(3, 3, HEIGHT, WIDTH)).astype(np.float32)


@every_format
def test_a_digest_stands_for_the_files_and_the_preparation_wherever_they_are(suffix: str, tmp_path: Path) -> None:
    def digest(place: str, family: str = "torchreid", **settings: Any) -> str:
        return open_runner(save(graph(**settings), tmp_path / f"{place}{suffix}"), preparation=family).digest

    before = digest("a")
    assert len(before) == 64
    (tmp_path / "below").mkdir()
    for file in [*tmp_path.glob("a.*")]:
        shutil.copy(file, tmp_path / "below" / f"b{file.suffix}")
    assert open_runner(tmp_path / f"below/b{suffix}", preparation="torchreid").digest == before
    assert len({digest("a"), digest("a", "fast-reid"), digest("a", seed=1), digest("a", batch=1)}) == 4


def test_weights_in_a_file_of_their_own_belong_to_the_network(tmp_path: Path) -> None:
    digests = []
    for seed in (0, 1):
        onnx.save(
            graph(seed=seed),
            tmp_path / "network.onnx",
            save_as_external_data=True,
            location="its weights.data",
            size_threshold=0,
        )
        for engine in ("onnx", "openvino"):
            runner = open_runner(tmp_path / "network.onnx", engine, preparation="torchreid")
            (found,), _ = runner.embed(INPUT)
            np.testing.assert_allclose(found, unit(foreign.vectors(graph(seed=seed), INPUT)), rtol=1e-4, atol=1e-5)
        digests.append(runner.digest)
    assert digests[0] != digests[1]
    (tmp_path / "its weights.data").unlink()
    with pytest.raises(FileNotFoundError, match=r"its weights\.data is missing, which holds the weights of"):
        open_runner(tmp_path / "network.onnx", preparation="torchreid")


@pytest.mark.parametrize(
    ("nodes", "weights", "macs"),
    [
        ([("Conv", {"group": 1, "pads": [1, 1, 1, 1]})], {"w": (6, 3, 3, 3)}, 32 * 16 * 6 * 27),
        ([("Conv", {"group": 3, "strides": [2, 2], "pads": [0, 0, 1, 1]})], {"w": (6, 1, 2, 2)}, 16 * 8 * 6 * 4),
        ([("ConvTranspose", {"group": 1, "strides": [2, 2]})], {"w": (3, 4, 2, 2)}, 32 * 16 * 3 * 4 * 4),
        ([("ConvTranspose", {"group": 3, "strides": [2, 2]})], {"w": (3, 2, 2, 2)}, 32 * 16 * 3 * 2 * 4),
        ([("MatMul", {})], {"w": (16, 7)}, 3 * 32 * 16 * 7),
        ([("Flatten", {}), ("Gemm", {"transB": 1})], {"w": (7, 3 * 32 * 16)}, 3 * 32 * 16 * 7),
    ],
    ids=["conv", "grouped", "transposed", "transposed, grouped", "product", "transposed product"],
)
@every_format
def test_multiply_adds_are_counted(
    suffix: str, nodes: list[tuple[str, dict[str, Any]]], weights: dict[str, tuple[int, ...]], macs: int, tmp_path: Path
) -> None:
    names, chain = ["images", *(f"at {number}" for number in range(len(nodes)))], []
    for before, name, (kind, settings) in zip(names, names[1:], nodes, strict=False):
        chain.append(helper.make_node(kind, [before] if kind == "Flatten" else [before, "w"], [name], **settings))
    chain.append(helper.make_node("Flatten", [names[-1]], ["vectors"]))
    inputs, outputs = [("images", FLOAT, [1, 3, HEIGHT, WIDTH])], [("vectors", FLOAT, [1, "D"])]
    model = made(chain, inputs, outputs, {name: np.ones(shape) for name, shape in weights.items()})
    runner = open_runner(save(model, tmp_path / f"network{suffix}"), preparation="fast-reid")
    assert runner.costs.macs == (macs,)


def test_products_that_are_not_counted_are_named(tmp_path: Path) -> None:
    nodes = [helper.make_node("Einsum", ["vectors", "vectors"], ["all"], equation="bi,bj->bi")]
    model = graph(1, nodes=nodes, outputs=[("all", FLOAT, [1, DIMENSIONS])])
    assert "not counted: Einsum" in open_runner(save(model, tmp_path / "a.onnx"), preparation="fast-reid").costs.source


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_an_onnx_file_runs_by_both_engines(engine: str, tmp_path: Path) -> None:
    file = save(graph(), tmp_path / "network.onnx")
    runner = open_runner(file, engine, preparation="torchreid")
    np.testing.assert_allclose(runner.embed(INPUT)[0][0], unit(foreign.vectors(graph(), INPUT)), rtol=1e-4, atol=1e-5)
    assert (runner.digest, runner.costs.macs) == (open_runner(file, preparation="torchreid").digest, (MACS,))
    if engine == "openvino":
        half = open_runner(file, engine, precision="bf16", preparation="torchreid")
        assert half.precision == "bf16"
        np.testing.assert_allclose(half.embed(INPUT)[0][0], runner.embed(INPUT)[0][0], atol=0.05)


def test_networks_in_whole_numbers_say_so(tmp_path: Path) -> None:
    weights = {"scale": 0.05}
    nodes = [
        helper.make_node("QuantizeLinear", ["vectors", "scale", "zero"], ["whole"]),
        helper.make_node("DequantizeLinear", ["whole", "scale", "zero"], ["all"]),
    ]
    model = graph(1, nodes=nodes, outputs=[("all", FLOAT, [1, DIMENSIONS])])
    model.graph.initializer.append(helper.make_tensor("scale", FLOAT, [], [weights["scale"]]))
    model.graph.initializer.append(helper.make_tensor("zero", TensorProto.INT8, [], [0]))
    file = save(model, tmp_path / "network.onnx")
    for engine in ("onnx", "openvino"):
        runner = open_runner(file, engine, preparation="torchreid")
        assert (runner.precision, runner.costs.macs) == ("int8", (MACS,))
    with pytest.raises(ForeignError, match="runs in int8 by openvino, got precision 'bf16'"):
        open_runner(file, "openvino", precision="bf16", preparation="torchreid")


def images(*shape: int | str, kind: int = FLOAT) -> list[tuple[str, int, foreign.Shape]]:
    return [("images", kind, shape)]


def doubled(name: str = "other") -> list[Any]:
    return [helper.make_node("Relu", ["vectors"], [name])]


def reshaped(*shape: int) -> list[Any]:
    sides = helper.make_node(
        "Constant", [], ["sides"], value=helper.make_tensor("s", TensorProto.INT64, [len(shape)], shape)
    )
    return [sides, helper.make_node("Reshape", ["vectors", "sides"], ["all"])]


POOLED = [helper.make_node("GlobalAveragePool", ["images"], ["d"]), helper.make_node("Flatten", ["d"], ["vectors"])]

BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "several outputs": (
        lambda: graph(nodes=doubled(), outputs=[(name, FLOAT, ["b", DIMENSIONS]) for name in ("vectors", "other")]),
        r"gives 2 outputs \(vectors float32\[any, 5\], other float32\[any, 5\]\), expected one vector",
    ),
    "several inputs": (
        lambda: graph(
            nodes=[helper.make_node("Add", ["vectors", "more"], ["all"])],
            inputs=[("images", FLOAT, [1, 3, HEIGHT, WIDTH]), ("more", FLOAT, [1, DIMENSIONS])],
            outputs=[("all", FLOAT, [1, DIMENSIONS])],
        ),
        r"takes 2 inputs \(images float32\[1, 3, 32, 16\], more float32\[1, 5\]\), expected one of images",
    ),
    "channels last": (
        lambda: made(POOLED, images(1, HEIGHT, WIDTH, 3), [("vectors", FLOAT, [1, HEIGHT])], {}),
        r"takes images float32\[1, 32, 16, 3\], expected images \[batch, 3, height, width\]",
    ),
    "no batch": (
        lambda: made(
            [helper.make_node("MatMul", ["images", "w"], ["vectors"])],
            images(3, HEIGHT, WIDTH),
            [("vectors", FLOAT, [3, HEIGHT, 2])],
            {"w": np.ones((WIDTH, 2))},
        ),
        r"takes images float32\[3, 32, 16\], expected images \[batch, 3, height, width\]",
    ),
    "grey": (
        lambda: made(POOLED, images(1, 1, HEIGHT, WIDTH), [("vectors", FLOAT, [1, 1])], {}),
        r"takes images float32\[1, 1, 32, 16\], expected images \[batch, 3,",
    ),
    "half precision": (
        lambda: made(
            POOLED,
            images(1, 3, HEIGHT, WIDTH, kind=TensorProto.FLOAT16),
            [("vectors", TensorProto.FLOAT16, [1, 3])],
            {},
        ),
        r"float16\)?\[1, 3, 32, 16\], expected float32",
    ),
    "a batch of eight": (lambda: graph(8), "takes 8 images at a time; export it with a batch of 1"),
    "a map": (
        lambda: graph(nodes=reshaped(1, 1, DIMENSIONS), outputs=[("all", FLOAT, [1, 1, DIMENSIONS])]),
        r"gives \[1, 1, 5\] for one image, expected a vector \[1, dimensions\]",
    ),
    "no batch comes out": (
        lambda: graph(nodes=reshaped(-1), outputs=[("all", FLOAT, ["D"])]),
        r"gives \[5\] for one image, expected a vector",
    ),
    "nothing learnt": (
        lambda: made(POOLED, images(1, 3, HEIGHT, WIDTH), [("vectors", FLOAT, [1, 3])], {}),
        "holds no convolution or matrix product",
    ),
}


@pytest.mark.parametrize(("build", "message"), BAD.values(), ids=BAD)
@every_format
def test_a_graph_that_is_no_such_network_is_refused_in_one_line(
    suffix: str, build: Callable[[], Any], message: str, tmp_path: Path
) -> None:
    file = save(build(), tmp_path / f"network{suffix}")
    with pytest.raises(ForeignError, match=message) as caught:
        open_runner(file, preparation="torchreid")
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


@every_format
def test_a_batch_that_is_fixed_inside_is_noticed(suffix: str, tmp_path: Path) -> None:
    model = graph(nodes=reshaped(1, -1), outputs=[("all", FLOAT, ["b", "D"])])
    runner = open_runner(save(model, tmp_path / f"network{suffix}"), preparation="torchreid")
    assert runner.embed(INPUT[:1])[0][0].shape == (1, DIMENSIONS)
    with pytest.raises(ForeignError, match=r"gives \(1, 15\) for 3 images, expected \(3, 5\); its batch is fixed"):
        runner.embed(INPUT)


@every_format
def test_damaged_and_missing_files_are_refused_in_one_line(suffix: str, tmp_path: Path) -> None:
    file = save(graph(), tmp_path / f"network{suffix}")
    content = file.read_bytes()
    for bad in (content[: len(content) // 2], b"", b"nothing of the kind"):
        file.write_bytes(bad)
        with pytest.raises(ForeignError, match=r"is damaged, or not for this version of|is an empty file") as caught:
            open_runner(file, preparation="torchreid")
        assert "\n" not in str(caught.value)
    file.unlink()
    with pytest.raises(FileNotFoundError, match="no network at"):
        open_runner(file, preparation="torchreid")
    if suffix == ".xml":
        file.write_bytes(content)
        file.with_suffix(".bin").unlink()
        with pytest.raises(FileNotFoundError, match=r"network\.bin is missing, which holds the weights of"):
            open_runner(file, preparation="torchreid")


@pytest.mark.parametrize(
    ("says", "message"),
    [
        ("{", "isn't valid JSON"),
        ("[]", r"expected an object, got \[\]; a preparation is a name .* or an object with colours, white, "),
        ('"torchrid"', "got 'torchrid'"),
        ({"colours": "RGB"}, "lacks white, mean, std, unit_length, so it is another kind of file"),
        ({"extra": 1}, "extra is unknown"),
        ({"colours": "rgb"}, "colours: expected 'RGB' or 'BGR', got 'rgb'"),
        ({"white": 0}, "white: expected greater than 0"),
        ({"white": True}, "white: expected a valid number"),
        ({"mean": [0, 0]}, "mean: expected 2, which is missing"),
        ({"mean": "abc"}, "mean: expected a valid array"),
        ({"mean": [0, 0, float("nan")]}, "mean.2: expected a finite number"),
        ({"std": [1, 1, 0]}, "std.2: expected greater than 0"),
        ({"unit_length": 1}, "unit_length: expected a valid boolean"),
        ({"height": 32}, "expected height and width, or neither"),
        ({"height": 32.0, "width": 16}, "height: expected a valid integer"),
        ({"height": 64, "width": 16}, "takes images of height 32, its preparation says 64"),
    ],
    ids=str,
)
def test_a_preparation_that_does_not_fit_is_refused(says: Any, message: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    good = json.loads(as_json(FAMILIES["torchreid"]))
    full = says if isinstance(says, str) else json.dumps(says if says == {"colours": "RGB"} else {**good, **says})
    file.write_text(full)
    with pytest.raises(ForeignError, match=message):
        open_runner(save(graph(), tmp_path / "network.onnx"), preparation=file)


def test_a_preparation_is_read_as_it_is_described(tmp_path: Path) -> None:
    for name, how in FAMILIES.items():
        for content in (as_json(how), json.dumps(name)):
            (tmp_path / "a.json").write_text(content)
            assert read_preparation(tmp_path / "a.json") == how


def test_a_missing_or_misspelt_preparation_names_those_there_are(tmp_path: Path) -> None:
    file = save(graph(), tmp_path / "network.onnx")
    names = "openvino-retail, torchreid, fast-reid"
    with pytest.raises(
        ForeignError,
        match=f"beside it as network.preparation.json, with .* one of {names}, or give that to --preparation",
    ):
        open_runner(file)
    with pytest.raises(ForeignError, match=rf"no preparation torchrid \(No such file or directory\); expected {names}"):
        open_runner(file, preparation="torchrid")
    with pytest.raises(ValueError, match=r"for networks of others \(\.onnx, \.xml\), others know theirs; leave it out"):
        open_runner(tmp_path, preparation="torchreid")


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("a.xml", {"name": "onnx"}, "is run by openvino, not by the runner onnx"),
        ("a.onnx", {"name": "eager"}, "is run by onnx or openvino, not by the runner eager"),
        ("a.onnx", {"precision": "bf16"}, "runs in fp32 by onnx, got precision 'bf16'"),
        ("a.xml", {"precision": "int8"}, "runs in fp32 or bf16 by openvino, got precision 'int8'"),
        ("a.onnx", {"threads": 0}, "threads must be at least 1, got 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    name: str, settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    file = save(graph(), tmp_path / name)
    with pytest.raises(ValueError, match=message):
        open_runner(file, preparation="torchreid", **settings)


@every_format
def test_a_missing_engine_names_its_extra(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = save(graph(), tmp_path / f"network{suffix}")
    package, extra = {".onnx": ("onnxruntime", "onnx"), ".xml": ("openvino", "openvino")}[suffix]
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"networks in this format need {package}.*dare-reid\[{extra}\]"):
        open_runner(file, preparation="torchreid")


@every_format
def test_networks_of_others_run_without_torch(suffix: str, tmp_path: Path) -> None:
    picture = save_picture(tmp_path / "a.jpg")
    file = save(graph(), tmp_path / f"network{suffix}")
    code = """
import sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "timm", "onnx"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Nothing())
from pathlib import Path
import numpy as np
from dare import open_runner, embed, Sample
found = embed(open_runner(sys.argv[1], preparation="torchreid"), [Sample((Path(sys.argv[2]),), 1, 1)])
np.save(sys.argv[3], found.stages[0])
"""
    out = tmp_path / "vectors.npy"
    words = [sys.executable, "-W", "error", "-c", code, str(file), str(picture), str(out)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pixels = prepare(read_resized(picture, HEIGHT, WIDTH)[None], FAMILIES["torchreid"].at(HEIGHT, WIDTH))
    np.testing.assert_allclose(np.load(out), unit(foreign.vectors(graph(), pixels)), rtol=1e-4, atol=1e-5)


@pytest.mark.heavy
def test_workers_run_a_cascade_of_both_formats(tmp_path: Path) -> None:
    files = [save(graph(seed=seed), tmp_path / name) for seed, name in enumerate(("a.onnx", "b.xml"))]
    pictures = [save_picture(tmp_path / f"{number}.jpg", number) for number in range(3)]
    samples = [Sample((path,), 0, 0) for path in pictures]
    one, two = (open_runner(files, preparation="torchreid", workers=workers) for workers in (1, 2))
    assert (one.digest, one.costs) == (two.digest, two.costs)
    for vectors, wanted in zip(embed(two, samples, workers=2).exits(), embed(one, samples).exits(), strict=True):
        np.testing.assert_allclose(vectors, wanted, atol=1e-6)


def test_an_image_of_nothing_stays_a_vector_of_zeros(tmp_path: Path) -> None:
    """Scaling to length 1 must not make NaN of it."""
    nodes = [helper.make_node("Sub", ["vectors", "vectors"], ["all"])]
    model = graph(nodes=nodes, outputs=[("all", FLOAT, ["b", DIMENSIONS])])
    runner = open_runner(save(model, tmp_path / "network.onnx"), preparation="torchreid")
    assert isinstance(runner.walk(INPUT), StepWalk)
    np.testing.assert_array_equal(runner.embed(INPUT)[0][0], np.zeros((3, DIMENSIONS)))
