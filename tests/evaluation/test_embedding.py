"""From pictures to vectors: batches, crops, tracklets, interruptions, unreadable files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import save_picture

import dare.evaluation.embedding
from dare.datasets import Benchmark, Sample, market1501
from dare.evaluation.embedding import clips, embed
from dare.images.preparation import Preparation, prepare, ten_crops
from dare.images.reading import UnreadableImageError, read_resized
from dare.models import count_macs
from dare.models.checkpoints import Architecture, Checkpoint
from dare.runners.eager import open_eager
from dare.runners.opening import open_runner
from dare.runners.runner import Runner


@pytest.fixture(scope="module")
def runner() -> Runner:
    torch.manual_seed(0)
    architecture = Architecture("slim", embedding_dim=16, hidden_dim=16)
    model = architecture.build().eval()
    return open_eager(Checkpoint(model, architecture, Preparation(48, 24), count_macs(model, 48, 24), digest="d" * 64))


@pytest.fixture
def benchmark(market_folder: Path) -> Benchmark:
    return market1501(market_folder)


def test_every_picture_gets_the_vector_it_has_alone(runner: Runner, benchmark: Benchmark) -> None:
    found = embed(runner, benchmark.gallery, root=benchmark.root, batch_size=3)
    assert found.ids == benchmark.identify(benchmark.gallery)
    assert found.model == "d" * 64
    assert found.people.tolist() == [sample.person for sample in benchmark.gallery]
    for row, sample in enumerate(benchmark.gallery):
        image = prepare(read_resized(sample.images[0], 48, 24)[None], runner.preparation)
        stages, fused = runner.embed(image)
        for vectors, expected in zip((*found.stages, found.fused), (*stages, fused), strict=True):
            assert vectors is not None
            assert expected is not None
            np.testing.assert_allclose(vectors[row], expected[0], atol=1e-5)


def test_the_eager_runner_is_a_runner_and_its_exits_are_lazy(runner: Runner) -> None:
    assert isinstance(runner, Runner)
    images = np.random.default_rng(0).normal(size=(2, 3, 48, 24)).astype(np.float32)
    stages, fused = runner.embed(images)
    exits = runner.exits(images)
    np.testing.assert_allclose(next(exits), stages[0], atol=1e-6)
    rest = list(exits)
    assert len(rest) == 3
    np.testing.assert_allclose(rest[-1], fused, atol=1e-6)
    tensors = list(runner.exits(torch.from_numpy(images)))
    np.testing.assert_allclose(tensors[0], stages[0], atol=1e-6)
    with pytest.raises(ValueError, match=r"expected images \(B, 3, H, W\)"):
        list(runner.exits(images[0]))


def test_runners_are_opened_by_name() -> None:
    network = Architecture("slim").build()
    assert open_runner(network).costs == count_macs(network)
    with pytest.raises(ValueError, match="unknown runner 'tensorrt'; choose eager"):
        open_runner(network, "tensorrt")
    with pytest.raises(ValueError, match="computes in fp32 or bf16, not in 'int8'"):
        open_runner(network, precision="int8")


def test_ten_crops_give_the_mean_vector(runner: Runner, benchmark: Benchmark) -> None:
    found = embed(runner, benchmark.query[:2], crops=10)
    picture = read_resized(benchmark.query[1].images[0], 54, 27)
    crops = ten_crops(picture[None], 48, 24)
    expected = np.mean([runner.embed(prepare(crop, runner.preparation))[1] for crop in crops], axis=0)
    assert found.fused is not None
    np.testing.assert_allclose(found.fused[1], expected[0], atol=1e-5)
    with pytest.raises(ValueError, match="crops must be 1 or 10"):
        embed(runner, benchmark.query, crops=5)


def test_a_tracklet_is_the_mean_of_its_images(runner: Runner, tmp_path: Path) -> None:
    paths = [save_picture(tmp_path / f"{number}.jpg", number) for number in range(5)]
    stills = embed(runner, [Sample((path,), 1, 1) for path in paths])
    pooled = embed(runner, [Sample(tuple(paths[:2]), 1, 1), Sample(tuple(paths[2:]), 2, 1)])
    np.testing.assert_allclose(pooled.stages[0][1], stills.stages[0][2:].mean(0), atol=1e-5)
    assert pooled.ids == ("0.jpg", "2.jpg")
    assert pooled.pooling == "mean"


def test_a_tracklet_may_be_the_greatest_values_of_its_images(runner: Runner, tmp_path: Path) -> None:
    paths = [save_picture(tmp_path / f"{number}.jpg", number) for number in range(5)]
    stills = embed(runner, [Sample((path,), 1, 1) for path in paths])
    pooled = embed(runner, [Sample(tuple(paths[:2]), 1, 1), Sample(tuple(paths[2:]), 2, 1)], pooling="max")
    assert pooled.fused is not None
    assert stills.fused is not None
    np.testing.assert_allclose(pooled.fused[0], stills.fused[:2].max(0), atol=1e-5)
    assert pooled.pooling == "max"
    with pytest.raises(ValueError, match="pooling must be 'mean' or 'max', got 'median'"):
        embed(runner, [], pooling="median")  # type: ignore[arg-type]


def test_tracklets_are_never_cut_into_parts_and_parts_know_how_they_were_pooled(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [save_picture(tmp_path / f"{number}.jpg", number) for number in range(9)]
    samples = [Sample(tuple(paths[start:stop]), 1, 1) for start, stop in ((0, 3), (3, 4), (4, 5), (5, 9))]
    whole = embed(runner, samples)
    counted = []
    monkeypatch.setattr(dare.evaluation.embedding, "CHUNK", 2)
    parts = embed(
        runner, samples, resume=tmp_path / "parts", on_progress=lambda done, total: counted.append((done, total))
    )
    np.testing.assert_allclose(whole.stages[0], parts.stages[0], atol=1e-6)
    assert len(list((tmp_path / "parts").iterdir())) == 3  # of three, two and four pictures
    assert counted[-1] == (9, 9)
    assert [done for done, _ in counted] == sorted(done for done, _ in counted)
    greatest = embed(runner, samples, resume=tmp_path / "parts", pooling="max")
    assert not np.allclose(greatest.stages[0][0], parts.stages[0][0])
    again = embed(runner, samples, resume=tmp_path / "parts")
    np.testing.assert_array_equal(again.stages[0], parts.stages[0])


def test_an_interrupted_call_goes_on_where_it_stopped(
    runner: Runner, benchmark: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dare.evaluation.embedding, "CHUNK", 2)
    whole = embed(runner, benchmark.query)
    calls = 0
    run = Runner.embed

    def failing(self: Runner, images: np.ndarray) -> object:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return run(self, images)

    monkeypatch.setattr(Runner, "embed", failing)
    with pytest.raises(KeyboardInterrupt):
        embed(runner, benchmark.query, resume=tmp_path / "parts")
    resumed = embed(runner, benchmark.query, resume=tmp_path / "parts")
    assert calls == 4  # two chunks, the interrupted one, and only that one again
    np.testing.assert_array_equal(whole.stages[0], resumed.stages[0])
    assert len(list((tmp_path / "parts").iterdir())) == 3  # kept until the caller has made the result safe
    damaged = sorted((tmp_path / "parts").iterdir())[0]
    damaged.write_bytes(damaged.read_bytes()[:100])
    again = embed(runner, benchmark.query, resume=tmp_path / "parts")
    np.testing.assert_array_equal(whole.stages[0], again.stages[0])


def test_chunks_of_another_precision_or_network_are_not_taken(
    runner: Runner, benchmark: Benchmark, tmp_path: Path
) -> None:
    embed(runner, benchmark.query, resume=tmp_path / "parts")
    halved = open_eager(Architecture("slim", embedding_dim=16, hidden_dim=16).build())
    with pytest.raises(ValueError, match="resume= needs a network with a digest"):
        embed(halved, benchmark.query, resume=tmp_path / "parts")
    halved = replace(halved, digest=runner.digest, preparation=runner.preparation, precision="bf16")
    other = embed(halved, benchmark.query, resume=tmp_path / "parts")
    assert np.abs(other.stages[0] - embed(runner, benchmark.query).stages[0]).max() > 1e-3


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_vectors_that_are_not_finite_are_refused_and_not_kept(
    benchmark: Benchmark, tmp_path: Path, value: float
) -> None:
    architecture = Architecture("slim", embedding_dim=16, hidden_dim=16)
    model = architecture.build().eval()
    torch.nn.init.constant_(model.steps[-1].head[-1].bias, value)  # so only of the last stage, and of the fusion
    runner = open_eager(Checkpoint(model, architecture, Preparation(48, 24), count_macs(model, 48, 24), digest="d"))
    first = benchmark.query[0].images[0]
    with pytest.raises(ValueError, match=rf"makes NaN or infinity of {first} \(6 of 6 vectors\), .*; take a check"):
        embed(runner, benchmark.query, resume=tmp_path / "parts")
    assert not (tmp_path / "parts").exists()


def test_unreadable_pictures_are_refused_or_reported(runner: Runner, benchmark: Benchmark) -> None:
    bad = benchmark.query[2].images[0]
    bad.write_bytes(b"")
    with pytest.raises(UnreadableImageError, match=f"{bad.name}: empty file.*--skip-unreadable"):
        embed(runner, benchmark.query)
    skipped: list[UnreadableImageError] = []
    found = embed(runner, benchmark.query, skipped=skipped)
    assert [problem.path for problem in skipped] == [bad]
    assert bad.name not in found.ids
    assert len(found) == 5


def test_two_pictures_of_one_name_need_a_root(runner: Runner, tmp_path: Path) -> None:
    samples = [Sample((save_picture(tmp_path / who / "1.jpg"),), 1, 1) for who in ("ada", "bob")]
    with pytest.raises(ValueError, match=r"two pictures have one id, 1\.jpg: .*ada.* and .*bob"):
        embed(runner, samples)
    assert embed(runner, samples, root=tmp_path).ids == ("ada/1.jpg", "bob/1.jpg")


def test_no_samples_are_an_error(runner: Runner) -> None:
    with pytest.raises(ValueError, match="nothing to embed"):
        embed(runner, [])


def test_batches_need_a_picture(runner: Runner, benchmark: Benchmark) -> None:
    for size in (0, -1):
        with pytest.raises(ValueError, match="batch_size must be at least 1"):
            embed(runner, benchmark.query, batch_size=size)


def test_a_sample_that_is_listed_twice_is_embedded_once(runner: Runner, benchmark: Benchmark) -> None:
    found = embed(runner, [*benchmark.query, *benchmark.query], root=benchmark.root)
    assert found.ids == benchmark.identify(benchmark.query)


def test_views_of_arrays_and_empty_batches_are_run_too(runner: Runner) -> None:
    images = np.random.default_rng(0).normal(size=(2, 3, 48, 24)).astype(np.float32)
    mirrored = images[..., ::-1]
    for found, expected in zip(runner.exits(mirrored), runner.exits(mirrored.copy()), strict=True):
        np.testing.assert_array_equal(found, expected)
    images.flags.writeable = False
    assert len(list(runner.exits(images))) == 4
    assert [vectors.shape for vectors in runner.exits(images[:0])] == [(0, 16)] * 4


def test_a_clip_spans_its_tracklet_and_every_image_is_in_one() -> None:
    images = [Path(str(number)) for number in range(5)]

    def numbers(frames: int, length: int = 5) -> list[int]:
        return [int(str(path)) for path in clips(images[:length], frames)]

    assert numbers(1) == [0, 1, 2, 3, 4]
    assert numbers(5) == [0, 1, 2, 3, 4]
    assert numbers(2) == [0, 3, 1, 4, 2, 4]  # three clips; the last image fills up
    assert numbers(4) == [0, 2, 4, 4, 1, 3, 4, 4]
    assert numbers(3, length=1) == [0, 0, 0]


@pytest.mark.parametrize("engine", ["eager", "prepacked"])
def test_a_network_for_tracklets_gets_whole_ones(engine: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    architecture, size = Architecture("tiny", embedding_dim=16, network="st-rnn"), Preparation(64, 32, frames=3)
    model = architecture.build(frames=3).eval()
    runner = open_runner(Checkpoint(model, architecture, size, count_macs(model, 64, 32)), engine)
    tracklets = [
        Sample(tuple(save_picture(tmp_path / f"{length}_{n}.jpg", 10 * length + n) for n in range(length)), length, 1)
        for length in (1, 3, 5, 7)
    ]
    found = embed(runner, tracklets, root=tmp_path, batch_size=8)
    assert len(found) == 4
    for row, sample in enumerate(tracklets):
        paths = clips(sample.images, 3)
        images = torch.from_numpy(prepare(np.stack([read_resized(path, 64, 32) for path in paths]), size))
        with torch.no_grad():
            expected = model(images).stages[0].mean(0)  # over its clips
        np.testing.assert_allclose(found.stages[0][row], expected, atol=1e-4)
    (tmp_path / "5_4.jpg").write_bytes(b"")
    skipped: list[UnreadableImageError] = []
    left = embed(runner, tracklets, root=tmp_path, batch_size=8, skipped=skipped)
    assert left.people.tolist() == [1, 3, 7]
    assert {problem.path.name for problem in skipped} == {"5_4.jpg"}
    assert len(embed(runner, tracklets[:2], root=tmp_path, crops=10)) == 2
