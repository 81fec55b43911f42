"""The training loop, from samples to a checkpoint."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import torch

from dare.datasets.sample import Sample
from dare.files import check_writable
from dare.images.reading import UnreadableImageError
from dare.models.baselines import restrain
from dare.models.checkpoints import MODEL_FILE, Checkpoint, load_checkpoint
from dare.models.dare import DaRe, choose_device, count_macs
from dare.models.weights import load_strictly
from dare.runners.runner import Runner
from dare.training.batches import Batch, TrainingSet
from dare.training.computing import choose_precision, computing, memory_kept
from dare.training.config import TrainConfig
from dare.training.losses import build_objective
from dare.training.monitor import MetricsLog, Progress
from dare.training.presets import CONFIG_FILE, write_settings
from dare.training.state import STATE_FILE, TrainingState, refuse_other_settings


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
        generated: unlabelled pictures, of which `config.generated_images` go into each batch: some that show nobody,
            for a classifier, or any, for the term `teacher`.
        teacher: a network whose vectors the term `teacher` follows; they are kept in the folder.
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
    check_writable(folder / MODEL_FILE)
    writer = _summary_writer() if tensorboard else None
    place = choose_device(device)
    network, seen = _network(config, init)  # before the pictures: what cannot be built is said at once
    mapped = folder if memory_map else None
    pictures = TrainingSet(samples, generated, config, place, mapped, skipped, on_progress)
    if teacher is not None:
        pictures.follow(teacher, folder)
    objective = build_objective(config, network, pictures.people[pictures.kept])
    state = TrainingState(folder, config, place, pictures, data_name, network, objective, seen)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / STATE_FILE).exists():
        state.restore()
    write_settings(folder / CONFIG_FILE, config)
    columns = ["iteration", "seconds", "learning rate"]
    columns += [f"loss {name}" for name in objective.names]
    columns += [f"scale {name}" for name in network.embedding_names]
    events = writer(str(folder), purge_step=state.iteration + 1) if writer else None
    with closing(MetricsLog(folder, columns, state.iteration, events)) as log:
        for preparation, stop in config.stretches:
            if state.iteration >= stop:
                continue
            pictures.show(preparation)
            with memory_kept() if place.type == "cpu" else nullcontext():
                if _loop(state, log, stop, on_progress, should_stop):
                    break
    checkpoint = state.save()
    checkpoint.model.eval()
    return checkpoint


def _check_given(config: TrainConfig, generated: Sequence[Path], teacher: Runner | None) -> None:
    """Refuse what the settings don't use, or need and don't get."""
    if bool(generated) != bool(config.generated_images):
        raise ValueError(
            f"got {len(generated)} unlabelled pictures, and generated_images={config.generated_images} in a batch; "
            "give unlabelled pictures (--unlabelled) and how many go into a batch (generated_images), or neither"
        )
    if (teacher is not None) != ("teacher" in dict(config.terms)):
        raise ValueError(
            "the term teacher and a teacher belong together; give both (--set terms, --teacher), or neither"
        )


def _loop(
    state: TrainingState,
    log: MetricsLog,
    stop: int,
    on_progress: Callable[[Progress], None],
    should_stop: Callable[[], bool],
) -> bool:
    """Batch after batch until an iteration, a stop from outside (True), or a reason to stop."""
    config, device, batch = state.config, state.device, state.pictures.batch
    state.model.train()
    if not state.precision:
        with state.draws():
            state.precision = choose_precision(
                config.precision, device, state.model, state.objective, batch, state.iteration
            )
    before = time.monotonic() - state.seconds
    for shown in _ahead(batch, state.iteration, stop, config.workers):
        for group in state.optimizer.param_groups:
            group["lr"] = config.rate(state.iteration) * group["share"]
            group["betas"] = (config.momentum(state.iteration), config.beta2)
        if config.rounds:  # of SVDNet: its eigenlayer is decorrelated, held still or let go
            restrain(state.model, state.iteration, config.iterations, config.rounds)
        with state.draws(), computing(state.precision, device):
            losses = state.objective(state.model, shown, state.iteration)
        scales, total = losses.scales.cpu().double().numpy(), losses.total.item()
        if not math.isfinite(total):
            raise state.stopped(f"the loss is {total}")
        if (collapsed := state.alarm.collapsed(scales)).any():
            exits = ", ".join(name for name, low in zip(state.model.embedding_names, collapsed, strict=True) if low)
            raise state.stopped(f"collapse: distances under 5 % of the first batch's at {exits}")
        state.optimizer.zero_grad()
        losses.total.backward()
        state.optimizer.step()
        state.iteration += 1
        state.follow()
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
            state.save()
    return False


def _network(config: TrainConfig, init: str | Path | None) -> tuple[DaRe, str]:
    """Built with its own seed, so that nothing else in the program changes the weights it starts from; and whom the
    network that it starts from has seen."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = config.architecture.build(None if init else config.weights, config.preparation.frames)
    for preparation, _ in config.stretches:
        try:
            count_macs(model, preparation.height, preparation.width)
        except Exception as error:  # whatever a network says to a picture of a size that it cannot take
            reason = " ".join(str(error).split())
            raise ValueError(
                f"{config.architecture.backbone} cannot take pictures of {preparation.size}: {reason}"
            ) from error
    if not init:
        return model, ""
    start = load_checkpoint(init)
    load_strictly(model, start.model.state_dict(), str(init))
    return model, start.seen


def _ahead(batch: Callable[[int], Batch], start: int, stop: int, workers: int) -> Iterator[Batch]:
    """The batches of iterations start..stop, prepared ahead by threads."""
    if not workers:
        yield from map(batch, range(start, stop))
        return
    pool, waiting = ThreadPoolExecutor(workers), deque[Future[Batch]]()
    try:
        for number in range(start, stop + workers):
            if number < stop:
                waiting.append(pool.submit(batch, number))
            if number >= start + workers:
                yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _summary_writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError(
            "TensorBoard is not installed; run: pip install 'dare-reid[tensorboard]', or leave it off"
        ) from error
    return SummaryWriter
