"""Steps recorded as graphs, with a recorder that does on the CPU what a GPU does: replays overwrite their outputs."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

import dare.runners.captured
from dare import BACKBONES, DaRe
from dare.runners.captured import CapturedSteps, Outputs, Replay
from dare.runners.network import as_tensor
from dare.runners.steps import StepWalk

IMAGES = np.random.default_rng(0).normal(size=(5, 3, 64, 32)).astype(np.float32)


@pytest.fixture(scope="module")
def network() -> DaRe:
    torch.manual_seed(0)
    return DaRe(BACKBONES["slim"](), embedding_dim=8, hidden_dim=16).eval()


class Recorder:
    """Records on the CPU: inputs and outputs stay where they are, as in a graph."""

    def __init__(self) -> None:
        self.recorded: list[int] = []

    def __call__(self, run: Callable[[Tensor], Outputs], features: Tensor) -> Replay:
        self.recorded.append(len(features))
        inputs = features.clone()
        maps, vectors = run(inputs)

        def replay(features: Tensor) -> Outputs:
            inputs.copy_(features)
            again, again_vectors = run(inputs)
            maps.copy_(again)
            if vectors is not None and again_vectors is not None:
                vectors.copy_(again_vectors)
            return maps, vectors

        return replay


def walk(steps: CapturedSteps, images: np.ndarray) -> StepWalk:
    return StepWalk(steps, as_tensor(images, torch.device("cpu")))


def expected(network: DaRe, images: np.ndarray) -> list[np.ndarray]:
    with torch.inference_mode():
        return [vectors.numpy() for vectors in network.exits(torch.from_numpy(images))]


def test_replayed_steps_give_the_network_s_vectors_to_walks_side_by_side(network: DaRe) -> None:
    steps = CapturedSteps(network, False, Recorder())
    first, second = walk(steps, IMAGES[:2]), walk(steps, IMAGES[2:4])
    for one, other in zip(expected(network, IMAGES[:2]), expected(network, IMAGES[2:4]), strict=True):
        np.testing.assert_allclose(first.exit(), one, atol=1e-6)
        np.testing.assert_allclose(second.exit(), other, atol=1e-6)


def test_each_size_of_a_batch_that_shrinks_is_recorded_once(network: DaRe) -> None:
    recorder = Recorder()
    steps = CapturedSteps(network, False, recorder)
    for _ in range(2):
        going = walk(steps, IMAGES)
        going.exit()
        going.keep([0, 3])
        np.testing.assert_allclose(going.exit(), expected(network, IMAGES)[1][[0, 3]], atol=1e-6)
    assert recorder.recorded == [5, 2]


def test_more_sizes_than_memory_should_hold_run_as_they_are(network: DaRe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dare.runners.captured, "MOST_SIZES", 1)
    recorder = Recorder()
    steps = CapturedSteps(network, False, recorder)
    for batch in (5, 4, 3, 2, 1):
        found, _ = walk(steps, IMAGES[:batch]).embed()
        np.testing.assert_allclose(found[0], expected(network, IMAGES[:batch])[0], atol=1e-6)
    assert len(recorder.recorded) < 5 * 4


def test_it_stops_between_steps_and_computes_in_bfloat16(network: DaRe) -> None:
    steps = CapturedSteps(network, True, Recorder())
    going = walk(steps, IMAGES)
    found = going.exit(lambda: False)
    assert found is not None
    assert 0 < np.abs(found - expected(network, IMAGES)[0]).max() < 0.05
    assert going.exit(lambda: True) is None
