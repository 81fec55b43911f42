"""The training loop, from samples to a checkpoint."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dare.datasets.sample import UNKNOWN, Sample
from dare.files import check_writable
from dare.images.reading import Preparation, UnreadableImageError
from dare.models.checkpoints import MODEL_FILE, Checkpoint, load_checkpoint
from dare.models.dare import DaRe, count_macs
from dare.models.devices import choose_device
from dare.models.weights import load_strictly
from dare.runners.runner import Runner
from dare.training.batches import Batches, IdentityBatches, MixedBatches, TrackletBatches
from dare.training.computing import choose_precision, computing, memory_kept
from dare.training.config import TrainConfig
from dare.training.monitor import MetricsLog, Progress
from dare.training.objectives import Batch, build_objective
from dare.training.presets import CONFIG_FILE, write_settings
from dare.training.run import Run, read_pictures
from dare.training.state import STATE_FILE, TrainingState, refuse_other_settings
from dare.training.teacher import teach


def train(
    samples: Sequence[Sample],
    folder: str | Path,
    config: TrainConfig,
    *,
    init: str | Path | None = None,
    resume: bool = False,
    device: str = "cpu",
    generated: Sequence[Path] = (),
    teacher: Runner | None = None,
    memory_map: bool = False,
    skipped: list[UnreadableImageError] | None = None,
    tensorboard: bool = False,
    data_name: str = "",
    on_progress: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Checkpoint:
    """Train a DaRe or a baseline on samples and leave `model.safetensors`, `metrics.csv` and `config.toml` in a folder.

    Args:
        samples: labelled pictures; each image of a tracklet counts as a picture, unless the network takes tracklets.
        folder: of the run; must not hold another run unless this one resumes it.
        config: all settings that change the result.
        init: a checkpoint to start from (fine-tuning); its network must be the configured one.
        resume: go on with the run in the folder, from its first iteration if there is none yet.
        device: "cpu", "cuda", "cuda:1", "mps".
        generated: pictures without a person, of which `config.generated_images` come into each batch: those that show
            nobody, for a classifier, or any others, for the term `teacher`.
        teacher: a network whose vectors the term `teacher` follows; its vectors are kept in the folder.
        memory_map: keep decoded pictures in a file of the run's folder instead of in memory.
        skipped: unreadable pictures are left out and reported here; without it they are errors.
        tensorboard: also write TensorBoard events.
        data_name: what the checkpoint says it was trained on.
        on_progress: called after every picture and iteration.
        should_stop: asked after every iteration; True saves the state and ends the run early.

    Raises:
        TrainingStoppedError: NaN in a loss, or an embedding that has collapsed; what was saved before it stays.
        UnreadableImageError: a picture cannot be used.
    """
    folder = Path(folder)
    if (folder / STATE_FILE).exists() and not resume:
        raise FileExistsError(f"{folder} holds a training already; resume it, or choose another folder")
    if (folder / STATE_FILE).exists():
        refuse_other_settings(folder / STATE_FILE, config)
    _check_given(config, generated, teacher)
    paths, people, tracklets = _labelled(samples, generated)
    check_writable(folder / MODEL_FILE)
    writer = _summary_writer() if tensorboard else None
    place = choose_device(device)
    network = _network(config, init)  # before the pictures: what cannot be built is said at once
    load = partial(read_pictures, paths, config.augmentation, folder if memory_map else None, on_progress)
    first = config.stretches[0].preparation
    store, kept = load(first, skipped)
    batches = _batches(people[kept], tracklets[kept], config)
    run = Run(folder, config, place, first, store, paths, people, kept, batches, data_name, memory_map)
    del store  # the run alone holds the pictures, until they grow
    if teacher is not None:
        run.targets, run.teacher = _targets(teacher, run, on_progress), f"{teacher.description} {teacher.digest}"
    objective = build_objective(config, network, people[kept])
    state = TrainingState.new(network, objective, config, run.device)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / STATE_FILE).exists():
        state.restore(folder / STATE_FILE, config, run.fingerprint)
    write_settings(folder / CONFIG_FILE, config)
    columns = ["iteration", "seconds", "learning rate"]
    columns += [f"loss {name}" for name in objective.names]
    columns += [f"scale {name}" for name in network.embedding_names]
    events = writer(str(folder), purge_step=state.iteration + 1) if writer else None
    with MetricsLog(folder, columns, state.iteration, events) as log:
        for stretch in config.stretches:
            if state.iteration >= stretch.stop:
                continue
            if run.preparation != stretch.preparation:
                _grow(run, stretch.preparation, load)
            with memory_kept() if run.device.type == "cpu" else nullcontext():
                stopped = _loop(state, run, log, stretch.stop, on_progress, should_stop)
            if stopped:
                break
    checkpoint = run.save(state)
    checkpoint.model.eval()
    return checkpoint


def _check_given(config: TrainConfig, generated: Sequence[Path], teacher: Runner | None) -> None:
    """That the settings have a use for what is given, and what they need is given."""
    if bool(generated) != bool(config.generated_images):
        raise ValueError(
            f"got {len(generated)} unlabelled pictures, and generated_images={config.generated_images} in a batch; "
            "give such pictures (--unlabelled) and how many of them come into a batch, or neither"
        )
    if (teacher is not None) != ("teacher" in dict(config.terms)):
        raise ValueError(
            "the term teacher and a teacher belong together; give both (--set terms, --teacher), or neither"
        )


def _loop(
    state: TrainingState,
    run: Run,
    log: MetricsLog,
    stop: int,
    on_progress: Callable[[Progress], None],
    should_stop: Callable[[], bool],
) -> bool:
    """Batch after batch until an iteration, a stop from outside (True), or a reason to stop."""
    config = run.config
    state.model.train()
    if not state.precision:
        with run.draws(state.iteration):
            state.precision = choose_precision(
                config.precision, run.device, state.model, state.objective, run.batch, state.iteration
            )
    before = time.monotonic() - state.seconds
    for batch in _ahead(run.batch, state.iteration, stop, config.workers):
        for group in state.optimizer.param_groups:
            group["lr"] = config.rate(state.iteration) * group["share"]
            group["betas"] = (config.momentum(state.iteration), config.beta2)
        state.objective.before(state.model, state.iteration)
        with run.draws(state.iteration), computing(state.precision, run.device):
            losses = state.objective(state.model, batch, state.iteration)
        scales, total = losses.scales.cpu().double().numpy(), losses.total.item()
        if not math.isfinite(total):
            raise run.stopped(state, f"the loss is {total}")
        if (collapsed := state.alarm.collapsed(scales)).any():
            exits = ", ".join(name for name, low in zip(state.model.embedding_names, collapsed, strict=True) if low)
            raise run.stopped(state, f"collapse: distances under 5 % of the first batch's at {exits}")
        state.optimizer.zero_grad()
        losses.total.backward()
        state.optimizer.step()
        state.iteration += 1
        state.follow(config.average)
        state.seconds = time.monotonic() - before
        values = losses.each.tolist()
        if state.iteration % config.log_every == 0 or state.iteration == config.iterations:
            log.write(state.iteration, state.seconds, config.rate(state.iteration - 1), *values, *scales)
        by_name = dict(zip(state.objective.names, values, strict=True))
        on_progress(Progress("training", state.iteration, config.iterations, by_name, total))
        if should_stop():
            return True
        if state.iteration < config.iterations and (
            state.iteration == stop or state.iteration % config.save_every == 0
        ):
            run.save(state)
    return False


def _labelled(
    samples: Sequence[Sample], generated: Sequence[Path]
) -> tuple[list[Path], NDArray[np.int64], NDArray[np.int64]]:
    """Every image of every sample, whom it shows, and the number of its sample; then the generated ones, of nobody."""
    paths = [path for sample in samples for path in sample.images]
    people = [sample.person for sample in samples for _ in sample.images]
    if UNKNOWN in people:
        raise ValueError(
            "training pictures need a person; leave those without out, or give them as unlabelled pictures"
        )
    numbers = [number for number, sample in enumerate(samples) for _ in sample.images]
    people += [UNKNOWN] * len(generated)
    numbers += range(len(samples), len(samples) + len(generated))
    return [*paths, *generated], np.asarray(people, np.int64), np.asarray(numbers, np.int64)


def _targets(teacher: Runner, run: Run, on_progress: Callable[[Progress], None]) -> NDArray[np.float32]:
    """The teacher's vectors of all pictures, (N, D); NaN where one could not be read."""
    readable, known = [run.paths[row] for row in run.kept], int((run.people[run.kept] != UNKNOWN).sum())
    show = partial(Progress, "teacher", total=len(readable), losses={})
    found = teach(
        teacher,
        readable,
        run.config.architecture.embedding_dim,
        known,
        run.folder,
        lambda done: on_progress(show(done)),
    )
    targets = np.full((len(run.paths), found.shape[1]), np.nan, np.float32)
    targets[run.kept] = found
    return targets


def _grow(run: Run, preparation: Preparation, load: Callable[..., tuple[Tensor, NDArray[np.int64]]]) -> None:
    """Decode the pictures again, at another size; those of before make room first."""
    run.show(preparation, torch.empty(0))
    pictures, kept = load(preparation, [])
    if not np.array_equal(kept, run.kept):
        raise ValueError(
            f"{len(run.kept)} training pictures could be read at first, and {len(kept)} when they were to grow to "
            f"{preparation.size}; bring back the pictures of the start, and resume"
        )
    run.show(preparation, pictures)


def _batches(people: NDArray[np.int64], tracklets: NDArray[np.int64], config: TrainConfig) -> Batches:
    """What comes into the batches, along the readable pictures; those of nobody stand behind the others."""
    if (frames := config.preparation.frames) > 1:
        return TrackletBatches(people, tracklets, config.people, config.images, frames, config.seed)
    nobody = people == UNKNOWN
    labelled = IdentityBatches(people[~nobody], config.people, config.images, config.seed)
    if not config.generated_images:
        return labelled
    return MixedBatches(labelled, np.flatnonzero(nobody), config.generated_images, config.seed)


def _network(config: TrainConfig, init: str | Path | None) -> DaRe:
    """Built with its own seed, so that nothing else in the program changes the weights it starts from."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = config.architecture.build(None if init else config.weights, config.preparation.frames)
    for preparation in (stretch.preparation for stretch in config.stretches):
        try:
            count_macs(model, preparation.height, preparation.width)
        except Exception as error:  # whatever a network says to a picture of a size that it cannot take
            reason = " ".join(str(error).split())
            raise ValueError(
                f"{config.architecture.backbone} takes no pictures of {preparation.size}: {reason}"
            ) from error
    if init:
        start = load_checkpoint(init)
        load_strictly(model, start.model.state_dict(), str(init))
    return model


def _ahead(batch: Callable[[int], Batch], start: int, stop: int, workers: int) -> Iterator[Batch]:
    """The batches of iterations start..stop, prepared ahead by n threads: `workers`."""
    if not workers:
        yield from map(batch, range(start, stop))
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting = deque(pool.submit(batch, number) for number in range(start, min(start + workers, stop)))
        try:
            for number in range(start + workers, stop + workers):
                ready = waiting.popleft().result()
                if number < stop:
                    waiting.append(pool.submit(batch, number))
                yield ready
        finally:
            for future in waiting:
                future.cancel()


def _summary_writer() -> Any:
    """TensorBoard's writer.

    Raises:
        ImportError: TensorBoard is not installed; says how to get it.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError(
            "TensorBoard is not installed; run: pip install 'dare-reid[tensorboard]', or leave it off"
        ) from error
    return SummaryWriter
