"""From pictures to answers: exits live and in replay, deadlines on a clock of our own, what cannot be answered."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import save_picture
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dare import (
    Chance,
    DaRe,
    Embeddings,
    Entry,
    ExitCosts,
    ExitPolicy,
    ExitTimes,
    Labels,
    MemoryGallery,
    Preparation,
    RunningQuantile,
    Sample,
    Steered,
    Thresholds,
    Where,
    answers,
    embed,
    geometric_shares,
    identify,
    identify_stream,
    open_runner,
    replay,
)
from dare.anytime.confidence import Allowed, nearest_two, stream_agreement
from dare.gallery.store import MismatchError
from dare.identification.answer import DeadlineTooShortError
from dare.identification.stream import Turns
from dare.identification.summary import static_mix
from dare.images.preparation import Prepared, prepare
from dare.images.reading import UnreadableImageError, read, read_resized
from dare.models.checkpoints import Architecture, Checkpoint, save_checkpoint
from dare.models.dare import count_macs
from dare.retrieval.distances import Space
from dare.retrieval.scoring import score_vectors
from dare.runners.runner import Runner, Walk

QUERIES, GALLERY = 30, 40


Filled = tuple[MemoryGallery, Labels, Labels, list[np.ndarray]]
"""A gallery, the labels of queries and entries, and the queries' vectors per exit."""


ARCHITECTURE = Architecture("slim", embedding_dim=8)


@cache
def random_network() -> DaRe:
    import torch

    torch.manual_seed(3)
    model = ARCHITECTURE.build()
    with torch.no_grad():
        for _ in range(40):
            model.train()(torch.randn(32, 3, 64, 32))  # so that vectors have a size
    return model


def make_runner(folder: Path, space: Space = "own") -> Runner:
    """A network of random weights, so that its exits share a space is only said."""
    model, path = random_network(), folder / "model.safetensors"
    save_checkpoint(path, Checkpoint(model, ARCHITECTURE, Preparation(64, 32), count_macs(model, 64, 32), space=space))
    return open_runner(path)


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    return make_runner(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    return [save_picture(folder / f"{number}.jpg", number) for number in range(QUERIES + GALLERY)]


@pytest.fixture(scope="module")
def filled(runner: Runner, pictures: list[Path]) -> Filled:
    gallery, *labels, found = fill(runner, pictures)
    return gallery, *labels, [vectors[:QUERIES] for vectors in found.exits()]


def fill(runner: Runner, pictures: list[Path]) -> tuple[MemoryGallery, Labels, Labels, Embeddings]:
    """A gallery, the labels of queries and entries, and the vectors of both."""
    random = np.random.default_rng(0)
    people, cameras = random.integers(0, 8, len(pictures)), random.integers(1, 4, len(pictures))
    found = embed(runner, [Sample((p,), 0, 0) for p in pictures])
    gallery = MemoryGallery(runner.digest, [rows.shape[1] for rows in found.exits()], runner.space)
    rows = slice(QUERIES, None)
    entries = [Entry(p.name, int(who), int(where)) for p, who, where in zip(pictures, people, cameras, strict=True)]
    gallery.add([vectors[rows] for vectors in found.entries()], entries[rows])
    query, entry = Labels(people[:QUERIES], cameras[:QUERIES]), Labels(people[rows], cameras[rows])
    return gallery, query, entry, found


@pytest.fixture(scope="module", params=["own", "shared"])
def network(
    request: pytest.FixtureRequest, pictures: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Runner, MemoryGallery, Labels, Labels, Embeddings]:
    runner = make_runner(tmp_path_factory.mktemp(request.param), request.param)
    return runner, *fill(runner, pictures)


def restricted(allowed: Allowed, query: Labels, number: int) -> Where | None:
    person, camera = int(query.people[number]), int(query.cameras[number])
    filters = {"paper": Where(not_seen=(person, camera)), "other-cameras": Where(not_cameras=(camera,)), "all": None}
    return filters[allowed]


@pytest.mark.heavy
@pytest.mark.parametrize("allowed", ["paper", "other-cameras", "all"])
@pytest.mark.parametrize("confidence", ["margin", "nearness", "agreement"])
@pytest.mark.parametrize("micro_batch", [1, 4])
@pytest.mark.parametrize("policy", ["quantile", "chance", "thresholds", "steered"])
def test_live_and_replay_take_the_same_exits(
    network: tuple[Runner, MemoryGallery, Labels, Labels, Embeddings],
    pictures: list[Path],
    policy: str,
    micro_batch: int,
    confidence: str,
    allowed: Allowed,
) -> None:
    if policy == "steered" and micro_batch > 1:
        return  # it steers by who has left, which is known later in a batch
    runner, gallery, query, entry, found = network
    vectors, entries = ([rows[part] for rows in found.exits()] for part in (slice(QUERIES), slice(QUERIES, None)))
    against = [entries[exit if gallery.space == "own" else 3] for exit in range(4)]
    two = [nearest_two(q, g, query, entry, allowed) for q, g in zip(vectors, against, strict=True)]
    lists = [stream_agreement(q, g, query, entry, allowed) for q, g in zip(vectors, against, strict=True)]
    stored = np.stack(lists if confidence == "agreement" else [getattr(t, confidence) for t in two])
    shares = geometric_shares(runner.costs, 0.6 * runner.costs.macs[-1])

    def build() -> ExitPolicy:
        if policy == "thresholds":
            return Thresholds.learnt(stored, shares)
        if policy == "steered":
            return Steered(runner.costs, 0.6 * runner.costs.macs[-1])
        return RunningQuantile(shares) if policy == "quantile" else Chance(shares, seed=3)

    live = list(
        identify_stream(
            pictures[:QUERIES],
            runner,
            gallery,
            build(),
            micro_batch=micro_batch,
            where=lambda number: restricted(allowed, query, number),
            confidence=confidence,  # type: ignore[arg-type]
        )
    )
    expected = replay(stored, build())
    assert [answer.exit for answer in live] == expected.tolist()
    assert len(set(expected.tolist())) == 4
    assert all(answer.seconds > 0 for answer in live)
    for number, answer in enumerate(live):
        assert answer.macs == runner.costs.macs[answer.exit]
        assert answer.confidence == pytest.approx(stored[answer.exit, number], rel=1e-3, abs=1e-5)
        np.testing.assert_allclose(answer.vector, vectors[answer.exit][number], rtol=1e-3, atol=1e-5)


def test_answers_come_one_per_exit_and_not_asking_is_stopping(
    runner: Runner, pictures: list[Path], filled: Filled
) -> None:
    gallery = filled[0]
    found = list(answers(pictures[0], runner, gallery, count=3))
    assert [answer.exit for answer in found] == [0, 1, 2, 3]
    assert [answer.macs for answer in found] == list(runner.costs.macs)
    seconds = [answer.seconds for answer in found]
    assert seconds == sorted(seconds)
    for answer in found:
        assert answer.hits.ids.shape == (1, 3)
        expected = gallery.search(answer.exit, answer.vector[None], 3)
        assert answer.hits.ids.tolist() == expected.ids.tolist()
    with pytest.raises(ValueError, match="4 exits"):
        next(answers(pictures[0], runner, gallery, times=ExitTimes((0.1, 0.2), (0.1, 0.2), (0.1, 0.1), 0.1, "two")))
    (third, *_) = answers(pictures[0], runner, gallery, first=2)
    assert third.exit == 2
    best = identify(pictures[0], runner, gallery, count=3)
    assert (best.exit, best.deadline_met) == (3, True)
    assert identify(pictures[0], runner, gallery, policy=Thresholds([-np.inf] * 3)).exit == 0


def test_a_picture_that_cannot_be_read_is_reported_and_the_stream_goes_on(
    runner: Runner, pictures: list[Path], filled: Filled, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    for stream in ([pictures[0], broken, pictures[1]], [broken, broken], [broken]):
        found = list(identify_stream(stream, runner, filled[0], Thresholds([np.inf] * 3), micro_batch=2))
        assert [answer.exit for answer in found] == [-1 if path == broken else 3 for path in stream]
        for path, answer in zip(stream, found, strict=True):
            assert ("broken.jpg" in answer.problem) == (path == broken)
            assert answer.hits.ids.shape[1] == (0 if path == broken else 10)
    with pytest.raises(UnreadableImageError, match=r"broken\.jpg"):
        identify(broken, runner, filled[0])


def test_an_empty_gallery_and_one_that_allows_nothing_give_empty_lists(
    runner: Runner, pictures: list[Path], filled: Filled
) -> None:
    empty = MemoryGallery(runner.digest, filled[0].dimensions)
    for gallery, where in ((empty, None), (filled[0], Where(people=(77,)))):
        for confidence in ("margin", "nearness", "agreement"):
            answer = identify(pictures[0], runner, gallery, where=where, confidence=confidence)  # type: ignore[arg-type]
            assert answer.hits.ids.shape == (1, 0)
            assert np.isnan(answer.confidence)
        streamed = list(identify_stream(pictures[:3], runner, gallery, RunningQuantile([1, 0, 0, 0]), where=where))
        assert [(answer.exit, answer.hits.ids.shape) for answer in streamed] == [(0, (1, 0))] * 3
        assert identify(pictures[0], runner, gallery, where=where, deadline=60.0).exit == 0


def test_the_margin_looks_deeper_than_a_list_of_one_person(runner: Runner, filled: Filled) -> None:
    size = filled[0].dimensions[0]
    gallery = MemoryGallery(runner.digest, filled[0].dimensions)
    near = [np.ones((200, d)) + np.arange(200)[:, None] * 1e-3 for d in filled[0].dimensions]
    gallery.add(near, [Entry(str(n), 1) for n in range(200)])
    from dare.identification.answer import look_up

    query = np.ones((1, size), np.float32)
    assert look_up(gallery, 0, query, 2, [None], "margin")[0][1] == np.inf
    gallery.add([np.ones((1, d)) * 3 for d in filled[0].dimensions], [Entry("other", 2)])
    hits, sure = look_up(gallery, 0, query, 2, [None], "margin")[0]
    assert sure == pytest.approx(2 * size**0.5)
    assert hits.ids.tolist() == [["0", "1"]]
    with pytest.raises(ValueError, match="confidence must be one of margin, nearness, agreement"):
        look_up(gallery, 0, query, 2, [None], "certainty")  # type: ignore[arg-type]


@pytest.mark.parametrize("deadline", [0, -1, float("nan"), float("inf"), 1e308])
def test_a_deadline_that_is_no_time_is_refused(
    runner: Runner,
    pictures: list[Path],
    filled: Filled,
    deadline: float,
) -> None:
    with pytest.raises(ValueError, match="a deadline is a positive number of seconds"):
        identify(pictures[0], runner, filled[0], deadline=deadline)
    with pytest.raises(ValueError, match="a deadline is a positive number of seconds"):
        next(answers(pictures[0], runner, filled[0], deadline=deadline))


def test_a_gallery_of_another_model_is_refused(runner: Runner, pictures: list[Path]) -> None:
    other = MemoryGallery("f" * 64, (8, 8, 8, 8))
    with pytest.raises(MismatchError, match="model ffffffffffff, this is model"):
        identify(pictures[0], runner, other)
    with pytest.raises(MismatchError, match="a space that is own, the gallery was made for one that is shared"):
        identify(pictures[0], runner, MemoryGallery(runner.digest, (8,) * 4, "shared"))
    with pytest.raises(MismatchError, match="index again"):
        identify_stream(pictures, runner, other, Thresholds([0, 0, 0]))
    with pytest.raises(ValueError, match="micro_batch must be at least 1"):
        identify_stream(pictures, runner, MemoryGallery(runner.digest, (8,) * 4), Thresholds([0, 0, 0]), micro_batch=0)


class SlowRunner:
    """Four exits of three blocks each on a clock of its own; a block takes as long as it is told to."""

    digest, precision, space, description = "", "fp32", "own", "slow"
    exit_names = stage_names = ("a", "b", "c", "d")
    preparation = Preparation(16, 16)
    costs = ExitCosts((1, 2, 3, 4), "made up")

    def __init__(self, blocks: Sequence[float]) -> None:
        self.blocks, self.now, self.polls = blocks, 0.0, 0

    def clock(self) -> float:
        return self.now

    def walk(self, images: np.ndarray) -> Walk:
        runner, left = self, iter(range(12))

        class Slow:
            def exit(self, stop: Callable[[], bool] | None = None) -> np.ndarray | None:
                for _ in range(3):
                    if stop is not None and stop():
                        return None
                    runner.now += runner.blocks[next(left)]
                return np.ones((len(images), 2), np.float32)

            def keep(self, rows: Sequence[int]) -> None: ...

        return Slow()

    def exits(self, images: np.ndarray, stop: Callable[[], bool] | None = None) -> Iterator[np.ndarray]:
        walk = self.walk(images)
        while (vectors := walk.exit(stop)) is not None:
            yield vectors

    def embed(self, images: np.ndarray) -> tuple[list[np.ndarray], None]:
        return list(self.exits(images)), None

    @property
    def finished(self) -> list[float]:
        return np.cumsum(self.blocks)[2::3].tolist()


IMAGE = Prepared(np.zeros((3, 16, 16), np.float32))


def of_one_person() -> MemoryGallery:
    """For a `SlowRunner`."""
    gallery = MemoryGallery("", (2, 2, 2, 2))
    gallery.add([np.ones((1, 2), np.float32)] * 4, [Entry("a", 1)])
    return gallery


block_times = st.lists(st.floats(0.001, 1), min_size=12, max_size=12)


@given(block_times, st.floats(0.001, 14), st.booleans())
@settings(max_examples=300, deadline=None)
def test_the_answer_is_the_deepest_finished_in_time_and_overshoots_by_less_than_a_block(
    blocks: list[float], deadline: float, predicts: bool
) -> None:
    runner = SlowRunner(blocks)
    gallery = of_one_person()
    steps = tuple(float(sum(blocks[3 * exit : 3 * exit + 3])) for exit in range(4))
    finished = tuple(np.cumsum(steps).tolist())
    times = ExitTimes(finished, finished, steps, max(blocks), "made up") if predicts else None
    in_time = [exit for exit, at in enumerate(finished) if at <= deadline]
    if not in_time:
        with pytest.raises(DeadlineTooShortError, match="allow late answers"):
            identify(IMAGE, runner, gallery, deadline=deadline, times=times, clock=runner.clock)
        assert runner.now == (0 if predicts else pytest.approx(finished[0]))
        runner = SlowRunner(blocks)
        late = identify(IMAGE, runner, gallery, deadline=deadline, times=times, clock=runner.clock, allow_late=True)
        assert (late.exit, late.deadline_met) == (0, False)
        return
    best = identify(IMAGE, runner, gallery, deadline=deadline, times=times, clock=runner.clock)
    if predicts:
        assert abs(best.exit - in_time[-1]) <= (abs(finished[in_time[-1]] - deadline) < 1e-9)
        assert runner.now <= deadline + 1e-9
    else:
        assert best.exit == in_time[-1]
        assert runner.now <= deadline + max(blocks)
    assert best.deadline_met
    assert best.seconds == pytest.approx(finished[best.exit])


def test_the_first_exit_is_never_given_up() -> None:
    runner = SlowRunner([1.0] * 12)
    found = list(answers(IMAGE, runner, of_one_person(), deadline=0.5, clock=runner.clock))
    assert [(answer.exit, answer.deadline_met) for answer in found] == [(0, False)]


@pytest.mark.parametrize("begun", [0.0, 7.5])
def test_due_is_the_deadline_on_the_clock(begun: float) -> None:
    found = []
    for limit in ({"deadline": 6.5}, {"due": begun + 6.5}):
        runner = SlowRunner([1.0] * 12)
        runner.now = begun
        gallery = of_one_person()
        given = list(answers(IMAGE, runner, gallery, clock=runner.clock, **limit))  # type: ignore[arg-type]
        found.append([(answer.exit, answer.seconds, answer.deadline_met) for answer in given])
        runner.now = begun
        best = identify(IMAGE, runner, gallery, clock=runner.clock, **limit)  # type: ignore[arg-type]
        assert (best.exit, best.seconds, best.deadline_met) == found[-1][-1]
    assert found[0] == found[1] == [(0, 3.0, True), (1, 6.0, True)]


def test_an_answer_that_is_due_already_comes_from_the_first_exit_and_is_late() -> None:
    runner, gallery = SlowRunner([1.0] * 12), of_one_person()
    found = list(answers(IMAGE, runner, gallery, due=-1.0, clock=runner.clock))
    assert [(answer.exit, answer.deadline_met) for answer in found] == [(0, False)]
    with pytest.raises(DeadlineTooShortError, match=r"due 4000\.00 ms ago; give more time, or allow late answers"):
        identify(IMAGE, runner, gallery, due=runner.now - 4, clock=runner.clock)
    late = identify(IMAGE, runner, gallery, due=runner.now - 4, allow_late=True, clock=runner.clock)
    assert (late.exit, late.deadline_met) == (0, False)
    for limit in ({"due": 1.0, "deadline": 1.0}, {"due": float("nan")}):
        with pytest.raises(ValueError, match="either a deadline or the time when an answer is due"):
            next(answers(IMAGE, runner, gallery, clock=runner.clock, **limit))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="either a deadline or the time when an answer is due"):
            identify(IMAGE, runner, gallery, clock=runner.clock, **limit)  # type: ignore[arg-type]


def test_batches_decide_in_their_order_and_only_later_ones_stop_when_one_fails() -> None:
    turns, order = Turns(2), list[tuple[int, int]]()
    for place in range(4):
        turns.begin(place)

    def decide(place: int) -> None:
        with turns.of(place) as turn:
            for exit in range(2 if place else 1):  # the first batch leaves early
                with turn(exit):
                    order.append((exit, place))

    with ThreadPoolExecutor(3) as threads:
        for job in [threads.submit(decide, place) for place in (2, 1, 0)]:
            job.result()
    assert [place for exit, place in order if exit == 0] == [0, 1, 2]
    assert [place for exit, place in order if exit == 1] == [1, 2]
    turns.begin(4)
    with pytest.raises(ZeroDivisionError), turns.of(4):
        raise ZeroDivisionError
    decide(3)
    turns.begin(5)
    with pytest.raises(RuntimeError, match="a batch before this one failed"):
        decide(5)


def test_frames_images_of_pillow_and_files_are_one_query(runner: Runner, pictures: list[Path]) -> None:
    size = runner.preparation
    gallery = MemoryGallery(runner.digest, (8,) * 4)
    done = prepare(read_resized(pictures[0], size.height, size.width)[None], size)[0]
    as_file = identify(pictures[0], runner, gallery).vector
    with Image.open(pictures[0]) as opened:
        others = [str(pictures[0]), opened, read(pictures[0]), Prepared(done)]
        for other in others:
            np.testing.assert_array_equal(identify(other, runner, gallery).vector, as_file)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (np.zeros((3, 256, 128), np.float32), TypeError, r"float32 \(3, 256, 128\).*goes into dare\.Prepared"),
        (np.zeros((3, 256, 128), np.uint8), TypeError, r"got uint8 \(3, 256, 128\)"),
        (np.zeros((256, 128, 3)), TypeError, "got float64"),
        (np.zeros((256, 128), np.uint8), TypeError, "got uint8"),
        (np.zeros((8, 128, 3), np.uint8), ValueError, "16 pixels a side"),
        (np.zeros((4000, 4000, 3), np.uint8), ValueError, "4 megapixels"),
        (b"bytes", TypeError, "got bytes"),
        (Image.new("CMYK", (64, 64)), ValueError, "colour mode CMYK"),
        (Prepared(np.zeros((3, 20, 20), np.float32)), ValueError, "expected a prepared picture"),
        (Prepared(np.full((3, 16, 16), np.nan, np.float32)), ValueError, "finite values"),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, str) else "",
)
def test_what_is_no_picture_is_refused(wrong: Any, error: type[Exception], message: str) -> None:
    runner = SlowRunner([0.0] * 12)
    with pytest.raises(error, match=message):
        identify(wrong, runner, of_one_person())


def test_the_static_mix_is_that_of_every_exits_scores(
    network: tuple[Runner, MemoryGallery, Labels, Labels, Embeddings], pictures: list[Path]
) -> None:
    runner, gallery, query, entry, found = network
    samples = [
        Sample((picture,), int(person), int(camera))
        for picture, person, camera in zip(pictures[:QUERIES], query.people, query.cameras, strict=True)
    ]
    vectors, entries = ([rows[part] for rows in found.exits()] for part in (slice(QUERIES), slice(QUERIES, None)))
    scores = [
        score_vectors(vectors[exit], entries[exit if gallery.space == "own" else 3], query, entry) for exit in range(4)
    ]
    rank1, precision = np.array([(one.cmc(1), one.mean_average_precision) for one in scores]).T
    costs = [1.0, 2.0, 3.0, 4.0]
    for spent in (1.0, 2.6, 4.0):
        mix = static_mix(samples, runner, gallery, costs, spent)
        by_hand = [max_of_mixes(costs, values, spent) for values in (rank1, precision)]
        assert mix == pytest.approx(by_hand, abs=1e-6)


def max_of_mixes(costs: list[float], values: np.ndarray, budget: float) -> float:
    """By trying many shares of two exits."""
    best = max(value for cost, value in zip(costs, values, strict=True) if cost <= budget)
    for low in range(4):
        for high in range(low + 1, 4):
            if costs[low] <= budget <= costs[high]:
                share = (costs[high] - budget) / (costs[high] - costs[low])
                best = max(best, share * values[low] + (1 - share) * values[high])
    return float(best)
