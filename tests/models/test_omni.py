"""Omni-scale trunks beside a graph of the same network that OpenVINO runs, in whose file their weights come."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dare.models import BACKBONES
from dare.models.omni import omni
from dare.models.weights import Weights

openvino = pytest.importorskip("openvino")
ops: Any = pytest.importorskip("openvino.opset13")

MEAN, SCALE = (0.485, 0.456, 0.406), (1 / 0.229, 1 / 0.224, 1 / 0.225)


class Published:
    """A network as OpenVINO's files hold it: norms folded, a gate's biases once for each stream, halves converted."""

    def __init__(self, width: float) -> None:
        self._random = np.random.default_rng(0)
        self._stem, *self._widths = (round(channels * width) for channels in (64, 256, 384, 512))

    def save(self, path: Path) -> Path:
        pictures = ops.parameter([1, 3, 64, 32], np.float32, name="data")
        flipped = ops.gather(pictures, np.array([2, 1, 0]), np.int64(1))
        shifted = ops.subtract(flipped, self._at(np.array(MEAN, np.float32)))
        features = self._norm(ops.multiply(shifted, self._at(np.array(SCALE, np.float32))), 3)
        features = self._norm(self._convolve(features, self._stem, 3, 7, 2), self._stem)
        features = ops.max_pool(ops.relu(features), [2, 2], [1, 1], [1, 1], [1, 1], [3, 3]).output(0)
        before = self._stem
        for number, channels in enumerate(self._widths):
            features = self._block(features, before, channels, self._channel_gate)
            features = self._block(features, channels, channels, self._context_gate)
            features = ops.relu(self._biased(self._convolve(features, channels, channels), channels))
            if number < 2:
                features = ops.avg_pool(features, [2, 2], [0, 0], [0, 0], [2, 2], True)
            before = channels
        kernel = self._constant(channels, 1, 1, 4, 2)
        vectors = ops.group_convolution(features, kernel, [1, 1], [0, 0], [0, 0], [1, 1])
        model = openvino.Model([features, self._biased(vectors, channels)], [pictures], "published")
        openvino.save_model(model, path, compress_to_fp16=False)
        return path

    def _block(self, features: Any, before: int, channels: int, gate_of: Any) -> Any:
        inner, joined = channels // 4, None
        small = ops.relu(self._biased(self._convolve(features, inner, before), inner))
        gate: Any = None
        for depth in range(1, 5):
            stream = small
            for _ in range(depth):
                stream = self._convolve(stream, inner, inner)
                stream = ops.group_convolution(
                    stream, self._constant(inner, 1, 1, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1]
                )
                stream = ops.relu(self._biased(stream, inner))
            gate = gate or gate_of(inner)
            gated = ops.multiply(stream, gate(stream))
            joined = gated if joined is None else ops.add(joined, gated)
        expanded = self._biased(self._convolve(joined, channels, inner), channels)
        beside = features
        if before != channels:
            beside = self._biased(self._convolve(features, channels, before), channels)
        return ops.relu(ops.add(expanded, beside))

    def _channel_gate(self, inner: int) -> Any:
        squeeze, excite = self._constant(inner // 16, inner, 1, 1), self._constant(inner, inner // 16, 1, 1)
        biases = [self._values(1, count, 1, 1) for count in (inner // 16, inner)]

        def gate(stream: Any) -> Any:
            mean = ops.reduce_mean(stream, np.array([2, 3]), True)
            hidden = ops.convolution(mean, squeeze, [1, 1], [0, 0], [0, 0], [1, 1])
            hidden = ops.relu(ops.add(hidden, self._given(biases[0])))
            hidden = ops.convolution(hidden, excite, [1, 1], [0, 0], [0, 0], [1, 1])
            return ops.sigmoid(ops.add(hidden, self._given(biases[1])))

        return gate

    def _context_gate(self, inner: int) -> Any:
        groups = 16 if inner % 16 == 0 else 8
        weight, bias = self._constant(1, inner, 1, 1), self._constant(1, inner, 1, 1)

        def gate(stream: Any) -> Any:
            mean = ops.reduce_mean(stream, np.array([2, 3]), True)
            grouped = ops.reshape(mean, np.array([0, groups, -1]), True)
            grouped = ops.mvn(grouped, np.array([2]), True, 1e-5, "INSIDE_SQRT")
            back = ops.reshape(grouped, np.array([1, inner, 1, 1]), False)
            return ops.sigmoid(ops.add(ops.multiply(back, weight), bias))

        return gate

    def _norm(self, features: Any, channels: int) -> Any:
        centred = ops.mvn(features, np.array([2, 3]), True, 1e-5, "INSIDE_SQRT")
        scaled = ops.multiply(centred, self._constant(1, channels, 1, 1))
        return self._biased(scaled, channels)

    def _convolve(self, features: Any, channels: int, before: int, size: int = 1, stride: int = 1) -> Any:
        kernel, pad = self._constant(channels, before, size, size), [size // 2] * 2
        return ops.convolution(features, kernel, [stride] * 2, pad, pad, [1, 1])

    def _biased(self, features: Any, channels: int) -> Any:
        return ops.add(features, self._constant(1, channels, 1, 1))

    def _values(self, *shape: int) -> np.ndarray:
        count = int(np.prod(shape[1:])) or 1
        return self._random.normal(0.0, count**-0.5, shape).astype(np.float16).astype(np.float32)

    def _constant(self, *shape: int) -> Any:
        return self._given(self._values(*shape))

    def _given(self, values: np.ndarray) -> Any:
        return ops.convert(ops.constant(values.astype(np.float16)), np.float32)

    def _at(self, values: np.ndarray) -> Any:
        return ops.constant(values.reshape(1, 3, 1, 1))


@pytest.fixture(scope="module", params=[0.25, 0.5])
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[float, Path]:
    width = request.param
    return width, Published(width).save(tmp_path_factory.mktemp("published") / f"network-{width}.xml")


def test_a_trunk_computes_what_the_published_network_does(published: tuple[float, Path]) -> None:
    width, path = published
    trunk = omni(path, width=width)
    pictures = np.random.default_rng(1).uniform(0, 1, (1, 3, 64, 32)).astype(np.float32)
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    wanted = compiled({0: pictures})[0]
    prepared = (pictures[:, ::-1] - np.reshape(MEAN, (1, 3, 1, 1))) * np.reshape(SCALE, (1, 3, 1, 1))
    features = torch.from_numpy(prepared.astype(np.float32))
    with torch.no_grad():
        for stage in trunk:
            features = stage.body.eval()(features)
    assert np.abs(wanted).max() > 0.1
    np.testing.assert_allclose(features.numpy(), wanted, atol=1e-4 * np.abs(wanted).max())


def test_weights_of_another_width_and_other_files_are_refused(published: tuple[float, Path], tmp_path: Path) -> None:
    width, path = published
    other: Weights = path
    with pytest.raises(ValueError, match=r"another network; expected OpenVINO's .*-0277 \(omni\)"):
        BACKBONES["omni25" if width == 0.5 else "omni50"](other)
    text = tmp_path / "network.xml"
    text.write_text("<html>not found</html>")
    with pytest.raises(ValueError, match=r"isn't an OpenVINO network with its \.bin file beside it"):
        omni(text)
