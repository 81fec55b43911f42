"""All that changes while a network trains, saved so that a resumed run goes on bit for bit."""

import copy
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dare.models.checkpoints import CheckpointError, read_tensors, write_tensors
from dare.models.dare import DaRe
from dare.models.weights import load_strictly
from dare.training.config import TrainConfig
from dare.training.monitor import ScaleAlarm
from dare.training.objectives import Objective

STATE_FILE = "resume.safetensors"

# Settings that may differ between a run and its resumption: none of them changes what is computed.
FREE = ("workers", "save_every", "log_every")


@dataclass(slots=True)
class TrainingState:
    """A network in training.

    Attributes:
        model: what is trained.
        average: running average of the model's weights; the model itself where none is asked for.
        objective: what it is trained for, with what that learns of its own.
        optimizer: Adam.
        alarm: watches for collapse.
        iteration: batches done.
        seconds: time spent, over all resumptions.
        precision: what the trunk computes in, "fp32" or "bf16"; empty until it is chosen.
    """

    model: DaRe
    average: DaRe
    objective: Objective
    optimizer: torch.optim.Adam
    alarm: ScaleAlarm
    iteration: int = 0
    seconds: float = 0.0
    precision: str = ""

    @classmethod
    def new(cls, model: DaRe, objective: Objective, config: TrainConfig, device: torch.device) -> "TrainingState":
        """Before the first iteration."""
        model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for module in model.modules():
            if isinstance(module, nn.Hardtanh):
                module.inplace = False  # in place, torch copies the values before for the gradient
        objective.to(device)
        average = copy.deepcopy(model).requires_grad_(False) if config.average else model
        fusion = list(model.fusion.parameters()) if model.fusion else []
        bodies = [step.get_submodule("body") for step in model.steps] if config.trunk_rate != 1 else []
        trunk = [weight for body in bodies for weight in body.parameters()]
        apart = {id(weight) for weight in (*fusion, *trunk)}
        others = [weight for weight in model.parameters() if id(weight) not in apart]
        groups: list[dict[str, Any]] = [{"params": others, "share": 1.0}]
        if trunk:
            groups.append({"params": trunk, "share": config.trunk_rate})
        if fusion:
            groups.append({"params": fusion, "share": config.fusion_rate})
        if own := list(objective.parameters()):
            groups.append({"params": own, "share": 1.0})
        optimizer = torch.optim.Adam(
            groups,
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
            weight_decay=config.weight_decay,
            fused=True,
        )
        return cls(model, average, objective, optimizer, ScaleAlarm.new())

    def follow(self, momentum: float) -> None:
        """Move the average towards the model; early on it follows faster, or it would remember the start."""
        if self.average is self.model:
            return
        momentum = min(momentum, (1 + self.iteration) / (10 + self.iteration))
        with torch.no_grad():
            pairs = zip(self.average.state_dict().values(), self.model.state_dict().values(), strict=True)
            for mean, current in pairs:
                if mean.is_floating_point():
                    mean.lerp_(current, 1 - momentum)
                else:
                    mean.copy_(current)

    def save(self, path: Path, config: TrainConfig, data: str) -> None:
        """Write everything in one piece.

        Args:
            data: fingerprint of the training pictures; a run resumes only on the same ones.
        """
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        if self.average is not self.model:
            tensors |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        tensors |= {f"objective.{name}": tensor for name, tensor in self.objective.state_dict().items()}
        for number, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": tensor for name, tensor in moments.items()}
        info = {
            "kind": "training state",
            "config": asdict(config),
            "data": data,
            "iteration": self.iteration,
            "seconds": self.seconds,
            "precision": self.precision,
            "scale_start": self.alarm.start.tolist(),
            "scale_low": self.alarm.low.tolist(),
        }
        write_tensors(path, tensors, info)

    def restore(self, path: Path, config: TrainConfig, data: str) -> None:
        """Go back to a saved state of the same settings and pictures."""
        tensors, info, _ = read_tensors(path, "training state")
        _same_settings(path, info["config"], config)
        if info["data"] != data:
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
        self.precision = info.get("precision", "")  # chosen anew in a run that is older than the choice
        self.alarm = ScaleAlarm(np.asarray(info["scale_start"]), np.asarray(info["scale_low"], np.int64))


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
