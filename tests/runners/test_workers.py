"""Processes that run a network: the same answers in the same order, and what happens when one is gone."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import save_picture

from dare import (
    Chance,
    Entry,
    ExitPolicy,
    MemoryGallery,
    RunningQuantile,
    Sample,
    Steered,
    embed,
    geometric_shares,
    identify_stream,
    open_runner,
)
from dare.images.preparation import Preparation
from dare.models.checkpoints import Architecture, Checkpoint, save_checkpoint
from dare.models.dare import count_macs
from dare.runners.runner import Runner
from dare.runners.workers import WorkerError, Workers


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    architecture = Architecture("slim", embedding_dim=8, hidden_dim=16)
    network = architecture.build().eval()
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_checkpoint(path, Checkpoint(network, architecture, Preparation(64, 32), count_macs(network, 64, 32)))
    return path


@pytest.fixture(scope="module")
def workers(model: Path) -> Iterator[Workers]:
    workers = Workers(model, 2)
    yield workers
    workers.close()


@pytest.fixture(scope="module")
def two(workers: Workers) -> Runner:
    return workers.runner()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    return [save_picture(folder / f"{number}.jpg", number) for number in range(50)]


IMAGES = np.random.default_rng(0).normal(size=(3, 3, 64, 32)).astype(np.float32)


def processes(workers: Workers) -> list[int]:
    """Their numbers."""
    process = workers._end.peek()[2][0]  # type: ignore[index]
    children: list[str] = []
    while len(children) < len(workers._workers):  # the last one is made while the first one says that it is there
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(number) for number in children]


@pytest.mark.parametrize("policy", ["quantile", "chance"])
def test_a_stream_over_two_workers_has_the_answers_and_order_of_one(
    model: Path, two: Runner, pictures: list[Path], policy: str
) -> None:
    one = open_runner(model)
    gallery = MemoryGallery(one.digest, [8] * 4)
    found = embed(one, [Sample((path,), 0, 0) for path in pictures[30:]])
    gallery.add(found.exits(), [Entry(path.name, number % 5) for number, path in enumerate(pictures[30:])])

    def build() -> ExitPolicy:
        shares = geometric_shares(one.costs, 0.6 * one.costs.macs[-1])
        return RunningQuantile(shares) if policy == "quantile" else Chance(shares, seed=3)

    settings = {"micro_batch": 3, "count": 5}
    alone = list(identify_stream(pictures[:30], one, gallery, build(), **settings))  # type: ignore[arg-type]
    together = list(identify_stream(pictures[:30], two, gallery, build(), workers=2, **settings))  # type: ignore[arg-type]
    assert [answer.exit for answer in together] == [answer.exit for answer in alone]
    for answer, expected in zip(together, alone, strict=True):
        np.testing.assert_array_equal(answer.hits.ids, expected.hits.ids)
        np.testing.assert_allclose(answer.vector, expected.vector, atol=1e-5)


def test_a_steered_stream_over_two_workers_meets_its_budget(two: Runner, pictures: list[Path]) -> None:
    gallery = MemoryGallery(two.digest, [8] * 4)
    found = embed(two, [Sample((path,), 0, 0) for path in pictures], workers=2)
    gallery.add(found.exits(), [Entry(path.name, number % 5) for number, path in enumerate(pictures)])
    budget = 0.5 * two.costs.macs[-1]
    stream = list(identify_stream(pictures * 20, two, gallery, Steered(two.costs, budget), workers=2))
    assert np.mean([answer.macs for answer in stream]) == pytest.approx(budget, rel=0.01)


def test_unreadable_pictures_and_errors_keep_their_place(two: Runner, pictures: list[Path], tmp_path: Path) -> None:
    gallery = MemoryGallery(two.digest, [8] * 4)
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    queries = [*pictures[:5], bad, *pictures[5:9]]
    shares = [0.25] * 4
    stream = list(identify_stream(queries, two, gallery, RunningQuantile(shares), workers=2, micro_batch=2))
    assert [bool(answer.problem) for answer in stream] == [path == bad for path in queries]

    class Fails:
        asked = 0

        def stops(self, exit: int, confidence: float) -> bool:
            self.asked += 1
            raise ZeroDivisionError("of the policy")

    fails = Fails()
    with pytest.raises(ZeroDivisionError, match="of the policy"):
        list(identify_stream(queries, two, gallery, fails, workers=2))
    assert fails.asked == 1


def test_what_came_before_a_source_failed_is_answered(two: Runner, pictures: list[Path]) -> None:
    gallery = MemoryGallery(two.digest, [8] * 4)

    def source() -> Iterator[Path]:
        yield from pictures[:7]
        raise ConnectionError("the camera is gone")

    found = []
    stream = identify_stream(source(), two, gallery, RunningQuantile([0.25] * 4), workers=2, micro_batch=2)
    with pytest.raises(ConnectionError, match="the camera is gone"):
        found.extend(stream)
    assert len(found) == 6
    stream = identify_stream(pictures * 3, two, gallery, RunningQuantile([0.25] * 4), workers=2)
    next(stream)
    stream.close()  # type: ignore[attr-defined]


def test_embedding_with_two_workers_keeps_the_order(model: Path, two: Runner, pictures: list[Path]) -> None:
    samples = [Sample((path,), 0, 0) for path in pictures]
    done: list[int] = []
    together = embed(two, samples, batch_size=4, workers=2, on_progress=lambda now, _: done.append(now))
    alone = embed(open_runner(model), samples, batch_size=4)
    assert done == sorted(done)
    for vectors, expected in zip(together.exits(), alone.exits(), strict=True):
        np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_work_is_shared_out(workers: Workers, two: Runner) -> None:
    walks = [two.walk(IMAGES) for _ in range(4)]
    assert [worker.load - len(worker.forgotten) for worker in workers._workers] == [2, 2]
    for walk in walks[:2]:
        while walk.exit() is not None:
            pass
    assert [worker.load - len(worker.forgotten) for worker in workers._workers] == [1, 1]
    del walk, walks
    assert [worker.load - len(worker.forgotten) for worker in workers._workers] == [0, 0]


def test_who_waits_is_answered_at_once_when_it_is_time_to_stop(workers: Workers, two: Runner) -> None:
    """A worker that is slow to notice holds nobody up, and answers the next question."""
    pids = processes(workers)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    asked = []
    try:
        walk = two.walk(IMAGES)
        assert walk.exit(lambda: asked.append(0) or len(asked) > 3) is None  # type: ignore[func-returns-value]
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert len(asked) == 4
    assert [len(vectors) for vectors in two.exits(IMAGES)] == [3] * 4
    assert [len(vectors) for vectors in two.exits(IMAGES)] == [3] * 4


def test_a_walk_that_is_let_go_of_while_another_waits_disturbs_nothing(two: Runner) -> None:
    held = [two.walk(IMAGES) for _ in range(4)]

    def let_go() -> bool:
        held.clear()
        return False

    for _ in range(3):
        held += [two.walk(IMAGES) for _ in range(4)]
        assert [len(vectors) for vectors in two.exits(IMAGES, let_go)] == [3] * 4


@pytest.mark.heavy
def test_a_late_answer_that_nobody_heard_blocks_nothing(model: Path) -> None:
    """More than a socket holds, both ways."""
    architecture = Architecture("slim", embedding_dim=512, hidden_dim=8)
    network = architecture.build().eval()
    workers = Workers(Checkpoint(network, architecture, Preparation(64, 32), count_macs(network, 64, 32)), 1)
    runner = workers.runner()
    many = np.zeros((300, 3, 64, 32), np.float32)
    pids, asked = processes(workers), []
    walk = runner.walk(many)
    assert walk.exit() is not None
    os.kill(pids[0], signal.SIGSTOP)
    try:
        assert walk.exit(lambda: asked.append(0) or len(asked) > 3) is None  # type: ignore[func-returns-value]
    finally:
        os.kill(pids[0], signal.SIGCONT)
    assert len(runner.embed(many)[0]) == 4
    runner.close()
    runner.close()


def test_who_waits_for_a_busy_worker_can_stop_too(workers: Workers, two: Runner) -> None:
    pids = processes(workers)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        threads = [threading.Thread(target=two.embed, args=(IMAGES,)) for _ in pids]
        for thread in threads:
            thread.start()
        time.sleep(0.05)
        start = time.monotonic()
        assert list(two.exits(IMAGES, lambda: time.monotonic() > start + 0.05)) == []
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    for thread in threads:
        thread.join()


def test_threads_may_share_the_workers(model: Path, two: Runner) -> None:
    expected = list(open_runner(model).exits(IMAGES))
    wrong: list[int] = []

    def ask() -> None:
        for _ in range(20):
            for vectors, wanted in zip(two.exits(IMAGES), expected, strict=True):
                if not np.allclose(vectors, wanted, atol=1e-5):
                    wrong.append(1)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_killed_worker_is_replaced_and_its_walk_done_again(model: Path) -> None:
    workers = Workers(model, 2)
    runner, expected = workers.runner(), list(open_runner(model).exits(IMAGES))
    walks = [runner.walk(IMAGES) for _ in range(2)]
    for walk in walks:
        assert walk.exit() is not None
        walk.keep([2, 0])
    for pid in processes(workers):
        os.kill(pid, signal.SIGKILL)
    with pytest.warns(UserWarning, match="a worker process was killed; another one does its batch again"):
        found = [[walk.exit() for _ in range(4)] for walk in walks]
    for *exits, end in found:
        assert end is None
        for vectors, wanted in zip(exits, expected[1:], strict=True):
            np.testing.assert_allclose(vectors, wanted[[2, 0]], atol=1e-5)
    assert len(runner.embed(IMAGES)[0]) == 4
    runner.close()
    with pytest.raises(WorkerError, match="closed or killed; open the runner again"):
        runner.embed(IMAGES)


def test_a_worker_that_hangs_is_replaced(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = (workers := Workers(model, 1)).runner()
    (hanging,) = processes(workers)
    monkeypatch.setattr("dare.runners.workers.PATIENCE", 0.2)
    monkeypatch.setattr("dare.runners.workers.PATIENCE_FOR_AN_IMAGE", 0)
    impatient = runner.walk(IMAGES)
    monkeypatch.undo()
    os.kill(hanging, signal.SIGSTOP)
    with pytest.warns(UserWarning, match="a worker process did not answer"):
        assert impatient.exit() is not None
    assert processes(workers) != [hanging]
    runner.close()


def test_workers_that_fail_again_and_again_are_given_up(model: Path) -> None:
    runner = (workers := Workers(model, 1)).runner()
    asked = []

    def kill() -> bool:
        asked.append(0)
        for pid in processes(workers):
            os.kill(pid, signal.SIGKILL)
        return False

    with pytest.warns(UserWarning, match="was killed"), pytest.raises(WorkerError, match="3 times in a row"):
        list(runner.exits(IMAGES, kill))
    runner.close()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_is_told_to_open_the_network_itself(model: Path) -> None:
    runner = open_runner(model, "eager")
    reader, writer = os.pipe()
    if os.fork() == 0:
        try:
            list(runner.exits(IMAGES))
        except RuntimeError as error:
            os.write(writer, str(error).encode())
        os._exit(0)
    os.wait()
    assert "open it here" in os.read(reader, 1000).decode()
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("name", ["eager", "prepacked"])
def test_networks_of_torch_compute_with_the_threads_they_were_opened_with(model: Path, name: str) -> None:
    before, seen = torch.get_num_threads(), []
    try:
        torch.set_num_threads(2)
        runner = open_runner(model, name, threads=1)
        for _ in runner.exits(IMAGES):
            seen.append(torch.get_num_threads())
    finally:
        torch.set_num_threads(before)
    assert seen == [1] * 4


@pytest.mark.heavy
def test_a_network_that_cannot_be_opened_says_why(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no checkpoint at"):
        open_runner(tmp_path / "nothing", workers=2)
    with pytest.raises(ValueError, match="fp32 or bf16, not in 'int8'"):
        open_runner(model, "prepacked", precision="int8", workers=2)
    with pytest.raises(FileNotFoundError, match="no network at"):
        open_runner(tmp_path / "nothing.onnx", preparation="torchreid", workers=2)
    with pytest.raises(FileNotFoundError, match="no network at"):  # each worker opens it for itself
        open_runner(tmp_path / "nothing.xml", preparation="torchreid", workers=2)


@pytest.mark.heavy
def test_workers_end_with_the_program_even_if_it_is_killed(model: Path) -> None:
    code = (
        "import sys, time; from dare import open_runner; runner = open_runner(sys.argv[1], workers=2);"
        "print(runner.close.__self__._end.peek()[2][0].pid, flush=True); time.sleep(60)"
    )
    program = subprocess.Popen([sys.executable, "-c", code, str(model)], stdout=subprocess.PIPE)
    assert program.stdout is not None
    first = int(program.stdout.readline())
    program.kill()
    program.wait()
    program.stdout.close()
    for _ in range(500):
        if not Path(f"/proc/{first}").exists():
            return
        time.sleep(0.02)
    raise AssertionError("the worker processes are still there")
