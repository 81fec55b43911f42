"""A network in training, saved so that a resumed run goes on bit for bit."""

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dare.datasets.sample import UNKNOWN
from dare.datasets.seen import people_seen, together
from dare.models.baselines import CLASSIFIED
from dare.models.checkpoints import (
    MODEL_FILE,
    Checkpoint,
    CheckpointError,
    read_tensors,
    save_checkpoint,
    write_tensors,
)
from dare.models.dare import DaRe, count_macs, describe_device
from dare.models.weights import load_strictly
from dare.training.batches import TrainingSet
from dare.training.config import TrainConfig
from dare.training.losses import Objective
from dare.training.monitor import ScaleAlarm, TrainingStoppedError

STATE_FILE = "resume.safetensors"

# Settings that may differ between a run and its resumption: none of them changes what is computed.
FREE = ("workers", "save_every", "log_every")


class TrainingState:
    """A network in training.

    Args:
        folder: where it is saved.
        pictures: what it is trained on.
        data_name: what the checkpoint says of them.
        model: what is trained, before the first iteration.
        objective: what it is trained for, and what that learns itself.
        seen: by the network that it starts from, as `dare.datasets.seen` says.

    Attributes:
        average: running average of the model's weights; the model itself where none is asked for.
        alarm: watches for collapse.
        iteration: batches done.
        seconds: time spent, over all resumptions.
        precision: what the trunk computes in, "fp32" or "bf16"; empty until it is chosen.
    """

    def __init__(
        self,
        folder: Path,
        config: TrainConfig,
        device: torch.device,
        pictures: TrainingSet,
        data_name: str,
        model: DaRe,
        objective: Objective,
        seen: str = "",
    ) -> None:
        self.folder, self.config, self.device = folder, config, device
        self.pictures, self.data_name = pictures, data_name
        self.model: DaRe = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for module in model.modules():
            if isinstance(module, nn.Hardtanh):
                module.inplace = False  # in place, torch copies the values before for the gradient
        self.objective = objective.to(device)
        self.average = copy.deepcopy(model).requires_grad_(False) if config.average else model
        self.optimizer = torch.optim.Adam(
            _groups(model, objective, config),
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.alarm, self.iteration, self.seconds, self.precision = ScaleAlarm(), 0, 0.0, ""
        shown = ((int(pictures.people[row]), pictures.paths[row]) for row in pictures.kept)
        self.seen = together(seen, people_seen(shown))

    def follow(self) -> None:
        """Move the average towards the model; early on it follows faster, or it would remember the start."""
        if self.average is self.model:
            return
        momentum = min(self.config.average, (1 + self.iteration) / (10 + self.iteration))
        with torch.no_grad():
            pairs = zip(self.average.state_dict().values(), self.model.state_dict().values(), strict=True)
            for mean, current in pairs:
                if mean.is_floating_point():
                    mean.lerp_(current, 1 - momentum)
                else:
                    mean.copy_(current)

    @contextmanager
    def draws(self) -> Iterator[None]:
        """What torch draws within, for dropout say, is a function of the seed and the iteration alone."""
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self.config.seed_of(self.iteration, 1))
            yield

    def save(self) -> Checkpoint:
        """Write the state to resume from, and the model to use; never one with NaN or infinity in its weights."""
        weights = [*self.model.state_dict().values(), *self.objective.state_dict().values()]
        if not all(bool(tensor.isfinite().all()) for tensor in weights):
            raise self.stopped("the weights are no longer finite")
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        if self.average is not self.model:
            tensors |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        tensors |= {f"objective.{name}": tensor for name, tensor in self.objective.state_dict().items()}
        for number, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": tensor for name, tensor in moments.items()}
        info = {
            "kind": "training state",
            "config": asdict(self.config),
            "data": self.pictures.fingerprint,
            "iteration": self.iteration,
            "seconds": self.seconds,
            "precision": self.precision,
            "seen": self.seen,
            "scale_start": self.alarm.start.tolist(),
            "scale_low": self.alarm.low.tolist(),
        }
        write_tensors(self.folder / STATE_FILE, tensors, info)
        size = self.config.preparation
        costs = count_macs(self.average, size.height, size.width)
        checkpoint = Checkpoint(
            self.average,
            self.config.architecture,
            size,
            costs,
            self._described(),
            space=self.config.space,
            seen=self.seen,
        )
        return replace(checkpoint, digest=save_checkpoint(self.folder / MODEL_FILE, checkpoint))

    def _described(self) -> dict[str, Any]:
        """How the network was trained, for its checkpoint."""
        people = self.pictures.people[self.pictures.kept]
        labelled = people[people != UNKNOWN]
        return {
            "config": asdict(self.config),
            "data": self.data_name,
            "people": len(np.unique(labelled)),
            "pictures": len(labelled),
            "generated": len(people) - len(labelled),
            "teacher": self.pictures.teacher,
            "unreadable": len(self.pictures.paths) - len(people),
            "iterations": self.iteration,
            "seconds": round(self.seconds, 1),
            "precision": self.precision,
            "device": describe_device(self.device),
            "torch": torch.__version__,
        }

    def stopped(self, reason: str) -> TrainingStoppedError:
        """The error for a run that cannot go on; what was saved last is still sound, and stays."""
        last = f"the last sound weights are in {self.folder / MODEL_FILE}, which --init can start from"
        kept = last if (self.folder / MODEL_FILE).exists() else "nothing had been saved yet"
        eased = "" if self.config.architecture.network in CLASSIFIED else ", or with mining eased in (ease_in=0.3)"
        return TrainingStoppedError(
            f"{reason}, iteration {self.iteration}; start anew with a lower learning rate{eased}; {kept}. "
            f"The batch: {self.pictures.names(self.iteration)}"
        )

    def restore(self) -> None:
        """Go back to what was saved, by a run of the same settings and pictures."""
        path = self.folder / STATE_FILE
        tensors, info, _ = read_tensors(path, "training state")
        _same_settings(path, info["config"], self.config)
        if info["data"] != self.pictures.fingerprint:
            raise CheckpointError(f"{path} was trained on other pictures; resume on the same ones, or start anew")
        load_strictly(self.model, _under("model.", tensors), str(path))
        if self.average is not self.model:
            load_strictly(self.average, _under("average.", tensors), str(path))
        load_strictly(self.objective, _under("objective.", tensors), str(path))
        trained = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _under("optimizer.", tensors).items():
            number, moment = name.split(".")
            weight = trained[int(number)]
            # Adam's fused step walks weights and moments in memory order, so their layouts must agree.
            moments.setdefault(int(number), {})[moment] = (
                torch.empty_like(weight).copy_(tensor) if tensor.shape == weight.shape else tensor
            )
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.iteration, self.seconds = info["iteration"], info["seconds"]
        self.seen = together(self.seen, info.get("seen", ""))
        self.precision = info.get("precision", "")  # chosen anew in a run that is older than the choice
        self.alarm = ScaleAlarm(np.asarray(info["scale_start"]), np.asarray(info["scale_low"], np.int64))


def _groups(model: DaRe, objective: Objective, config: TrainConfig) -> list[dict[str, Any]]:
    """The weights that learn, and at what share of the learning rate."""
    fusion = list(model.fusion.parameters()) if model.fusion else []
    bodies = [step.get_submodule("body") for step in model.steps] if config.trunk_rate != 1 else []
    trunk = [weight for body in bodies for weight in body.parameters()]
    apart = {id(weight) for weight in (*fusion, *trunk)}
    others = [weight for weight in model.parameters() if id(weight) not in apart]
    own = list(objective.parameters())
    shares = ((others, 1.0), (trunk, config.trunk_rate), (fusion, config.fusion_rate), (own, 1.0))
    return [{"params": weights, "share": share} for weights, share in shares if weights]


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def refuse_other_settings(path: Path, config: TrainConfig) -> None:
    """Raises the CheckpointError of `TrainingState.restore` for other settings, before there is a network."""
    _same_settings(path, read_tensors(path, "training state")[1]["config"], config)


def _same_settings(path: Path, saved: dict[str, Any], config: TrainConfig) -> None:
    now, before = (
        _flat(json.loads(json.dumps(settings)))
        for settings in (asdict(config), _completed(saved, asdict(TrainConfig())))
    )
    changed = [name for name in now if name not in FREE and now[name] != before[name]]
    if changed:
        differences = [f"{name}={before[name]}, now it is {now[name]}" for name in changed[:3]]
        more = [f"{len(changed) - 3} more"] if len(changed) > 3 else []
        raise CheckpointError(
            f"{path} was trained with {' and '.join((*differences, *more))}; "
            "resume with the same settings, or start anew with --init"
        )


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Setting -> value, whatever part of the configuration it is in."""
    parts = (value if isinstance(value, dict) else {name: value} for name, value in settings.items())
    return {name: value for part in parts for name, value in part.items()}


def _completed(saved: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """With settings that were not there yet when it was saved: by default they change nothing."""
    filled = {name: saved.get(name, value) for name, value in defaults.items()}
    parts = {name: defaults[name] | value for name, value in filled.items() if isinstance(value, dict)}
    return filled | parts
