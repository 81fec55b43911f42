"""On real threads and workers: every future ends, in time, with what `answers` would say."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, wait
from pathlib import Path

import numpy as np
import pytest
from exports import saved_slim

from dare import MemoryGallery, RefusedError, Runner, Scheduler, Thresholds, answers, open_runner
from dare.gallery.entry import Entry, Where
from dare.gallery.store import MismatchError
from dare.identification.answer import Answer
from dare.images.reading import UnreadableImageError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    saved_slim(folder)
    return folder


@pytest.fixture(scope="module")
def runner(folder: Path) -> Runner:
    return open_runner(folder, "prepacked")


@pytest.fixture(scope="module")
def gallery(runner: Runner) -> MemoryGallery:
    gallery = MemoryGallery(runner.digest, [8] * len(runner.costs.macs), runner.space)
    numbers = np.random.default_rng(0)
    vectors = [numbers.normal(size=(60, 8)).astype(np.float32) for _ in runner.costs.macs]
    gallery.add(vectors, [Entry(f"{n}", n % 7, n % 3) for n in range(60)])
    return gallery


@pytest.fixture
def scheduler(runner: Runner, gallery: MemoryGallery) -> Iterator[Scheduler]:
    scheduler = Scheduler(runner, gallery)
    yield scheduler
    scheduler.close()


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (70, 30, 3), np.uint8)


def test_with_time_to_spare_answers_are_those_of_answers(
    scheduler: Scheduler, runner: Runner, gallery: MemoryGallery
) -> None:
    where = Where(cameras=(1,))
    told: dict[int, list[Answer]] = {seed: [] for seed in range(12)}
    futures = [
        scheduler.submit(picture(seed), due=time.perf_counter() + 60, where=where, count=3, on_answer=told[seed].append)
        for seed in range(12)
    ]
    for seed, future in enumerate(futures):
        last = future.result(60)
        expected = list(answers(picture(seed), runner, gallery, where=where, count=3))
        for found, wanted in zip(told[seed], expected, strict=True):
            np.testing.assert_allclose(found.hits.distances, wanted.hits.distances, rtol=1e-5)
            assert (found.exit, found.macs, found.hits.ids.tolist()) == (
                wanted.exit,
                wanted.macs,
                wanted.hits.ids.tolist(),
            )
            assert found.confidence == pytest.approx(wanted.confidence, rel=1e-4)
            assert found.deadline_met
        assert last is told[seed][-1]
        assert 0 < last.reading < last.seconds


def test_in_a_flood_every_future_ends_and_answers_are_in_time(scheduler: Scheduler) -> None:
    full = sum(scheduler.costs)
    futures: list[Future[Answer]] = []
    for number in range(400):
        futures.append(scheduler.submit(picture(number % 5), due=time.perf_counter() + 4 * full + 0.05))
        time.sleep(full / 12)
    assert not wait(futures, 60).not_done
    ends = [future.exception() or future.result() for future in futures]
    answered = [end for end in ends if isinstance(end, Answer)]
    assert len(answered) > 20
    assert all(answer.deadline_met for answer in answered)
    assert all(isinstance(end, (Answer, RefusedError)) for end in ends)


def test_a_time_that_is_too_short_is_refused_at_once_or_answered_late_if_that_is_allowed(scheduler: Scheduler) -> None:
    with pytest.raises(RefusedError, match="allow more time") as refused:
        scheduler.submit(picture(), due=time.perf_counter()).result(0)
    assert refused.value.retry_after == float("inf")
    late = scheduler.submit(picture(), due=time.perf_counter(), allow_late=True).result(60)
    assert (late.exit, late.deadline_met) == (0, False)
    assert scheduler.submit(picture(), due=time.perf_counter(), allow_late=True, min_exit=2).result(60).exit == 2
    assert scheduler.submit(picture(), due=float("inf")).result(60).exit == 3


def test_a_policy_and_an_empty_gallery_end_early(runner: Runner, gallery: MemoryGallery) -> None:
    sure = Thresholds([-1e9] * 4)
    with_policy = Scheduler(runner, gallery, 1, policy=sure)
    assert with_policy.submit(picture(), due=float("inf")).result(60).exit == 0
    assert with_policy.submit(picture(), due=float("inf"), min_exit=2).result(60).exit == 2
    with_policy.close()
    empty = Scheduler(runner, MemoryGallery(runner.digest, [8] * 4, runner.space), 1)
    assert empty.submit(picture(), due=float("inf")).result(60).exit == 0
    empty.close()


def test_what_is_wrong_with_one_query_is_its_own(scheduler: Scheduler, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    due = time.perf_counter() + 60
    bad, good = scheduler.submit(tmp_path / "a.jpg", due=due), scheduler.submit(picture(), due=due)
    with pytest.raises(UnreadableImageError):
        bad.result(60)
    assert good.result(60).exit == 3

    def fail(_: Answer) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        scheduler.submit(picture(), due=due, on_answer=fail).result(60)
    assert {scheduler.submit(picture(), due=due).result(60).exit for _ in range(4)} == {3}
    for settings in ({"min_exit": 4}, {"min_exit": -1}, {"due": float("nan")}, {"count": 0}):
        with pytest.raises(ValueError, match=r"expected an exit|count must be"):
            scheduler.submit(picture(), **({"due": due} | settings))  # type: ignore[arg-type]


def test_closing_answers_what_is_open_and_takes_no_more(runner: Runner, gallery: MemoryGallery) -> None:
    scheduler = Scheduler(runner, gallery, 1)
    futures = [scheduler.submit(picture(seed), due=float("inf")) for seed in range(20)]
    scheduler.close()
    assert all(future.done() for future in futures)
    assert {future.result().exit for future in futures} >= {0}
    with pytest.raises(RuntimeError, match="closed"):
        scheduler.submit(picture(), due=float("inf"))


def test_a_query_that_nobody_waits_for_costs_nothing_more(runner: Runner, gallery: MemoryGallery) -> None:
    scheduler = Scheduler(runner, gallery, 1)
    told: list[Answer] = []
    futures = [scheduler.submit(picture(seed), due=float("inf"), on_answer=told.append) for seed in range(30)]
    cancelled = [future.cancel() for future in futures[10:]]
    assert wait(futures[:10], 60).not_done == set()
    scheduler.close()
    assert len(told) <= 4 * (30 - sum(cancelled)) + 2


def test_another_model_is_refused(runner: Runner) -> None:
    with pytest.raises(MismatchError):
        Scheduler(runner, MemoryGallery("f" * 64, [8] * 4, runner.space))


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore:a worker process was killed")
def test_a_killed_worker_costs_nobody_an_answer(folder: Path, gallery: MemoryGallery) -> None:
    runner = open_runner(folder, "prepacked", workers=2)
    scheduler = Scheduler(runner, gallery, 2)
    futures = [scheduler.submit(picture(n), due=time.perf_counter() + 120) for n in range(60)]
    for number, future in enumerate(futures):
        if number in (5, 25):
            os.kill(children()[0], signal.SIGKILL)
        assert future.result(120).exit == 3
    scheduler.close()
    runner.close()


def children() -> list[int]:
    """Processes that run the network: copies of the one that opened it."""
    listed = [Path(f"/proc/{pid}/stat") for pid in os.listdir("/proc") if pid.isdigit()]  # noqa: PTH208
    parents = {}
    for file in listed:
        try:
            fields = file.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(file.parent.name)] = int(fields[1])
    makers = {pid for pid, parent in parents.items() if parent == os.getpid()}
    return [pid for pid, parent in parents.items() if parent in makers]
