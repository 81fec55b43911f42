"""Files of what was measured of a network's exits: times, and plans of who leaves where."""

import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass

from dare.anytime.budgets import conditional
from dare.anytime.confidence import Allowed
from dare.anytime.costs import ExitTimes
from dare.datasets.kinds import RECORD, kind_of, misplaced
from dare.files import CHANGED, replacing, said, sealed, unsealed
from dare.retrieval.distances import another_model

T = TypeVar("T")

FORMAT: Literal[1] = 1

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, validate_by_name=True, validate_by_alias=True)

Confidence = Literal["margin", "nearness", "agreement"]


class MeasurementError(ValueError):
    """A file of measurements that cannot be used; says what is wrong with it."""


def read_record(kind: type[T], path: Path, command: str) -> T:
    """The value of a pydantic dataclass that a file holds.

    Args:
        command: what writes such files.

    Raises:
        MeasurementError: not there, damaged, or something else.
    """
    if kind_of(path) not in (RECORD, None):
        raise MeasurementError(misplaced(path, f"what {command} --out wrote"))
    try:
        content, whole = unsealed(path.read_bytes())
        found = TypeAdapter(kind).validate_json(content)
    except FileNotFoundError:
        raise MeasurementError(f"no file at {path}; {command} writes it, with --out") from None
    except ValidationError as error:
        if error.errors(include_url=False)[0]["type"] == "json_invalid":
            raise MeasurementError(f"{path} isn't JSON, or it is damaged; write it again with {command}") from error
        raise MeasurementError(f"{said(error, path)}; write it again with {command}") from error
    if not whole:
        raise MeasurementError(f"{path} {CHANGED}; write it again with {command}")
    return found


def write_record(path: Path, value: Any) -> None:
    """Write what `read_record` reads, in one piece."""
    with replacing(path) as file:
        file.write(sealed(TypeAdapter(type(value)).dump_json(value, indent=1, by_alias=True)))


@dataclass(frozen=True, config=STRICT)
class _Times:
    """An `ExitTimes`, flat, with its network."""

    model: str
    exits: tuple[str, ...]
    median: tuple[float, ...]
    slow: tuple[float, ...]
    steps: tuple[float, ...]
    longest_block: float
    source: str
    format: Literal[1] = FORMAT

    @model_validator(mode="after")
    def _is_measured(self) -> "_Times":
        self.times()
        return self

    def times(self) -> ExitTimes:
        return ExitTimes(self.median, self.slow, self.steps, self.longest_block, self.source)


def save_times(path: Path, times: ExitTimes, model: str, exits: tuple[str, ...]) -> None:
    """Write times of a network (its digest) and its exits (their names), in one piece."""
    write_record(path, _Times(model, tuple(exits), **asdict(times)))


def load_times(path: Path, model: str, exits: int) -> ExitTimes:
    """Read times of the network with this digest and number of exits.

    Raises:
        MeasurementError: not there, damaged, or of another network.
    """
    found = read_record(_Times, path, "dare calibrate")
    if found.model != model:
        raise MeasurementError(another_model(f"{path} holds times", found.model, model, "measure again"))
    if len(found.median) != exits:
        raise MeasurementError(f"expected times of {exits} exits in {path}, got {len(found.median)}")
    return found.times()


def _reached(value: float) -> float:
    if math.isnan(value):
        raise ValueError("a threshold is a number, got NaN")
    return value


# A threshold that no query reaches is infinite; JSON has no infinity, so it is written as null.
Reached = Annotated[
    float,
    Field(allow_inf_nan=True),
    AfterValidator(_reached),
    BeforeValidator(lambda value: math.inf if value is None else value),
    PlainSerializer(lambda value: None if value == math.inf else max(value, -sys.float_info.max)),
]


@dataclass(frozen=True, config=STRICT)
class PlanFile:
    """What `dare choose-exits` chose.

    Attributes:
        model: digest of the network whose vectors the thresholds are for.
        shares: p (E,), of the queries that leave at each exit; valid for networks of the same kind.
        thresholds: (E - 1,), that give these shares.
        confidence, allowed: the confidence that the thresholds are for, and the entries it was computed from.
        crops: per picture, of the vectors that the thresholds are for.
        about: how the plan was chosen, for people to read.
    """

    model: str
    shares: tuple[float, ...]
    thresholds: tuple[Reached, ...]
    confidence: Confidence
    allowed: Allowed
    crops: Annotated[int, Field(ge=1)]
    about: dict[str, Any]
    format: Literal[1] = FORMAT

    @model_validator(mode="after")
    def _fits(self) -> "PlanFile":
        conditional(self.shares)
        if len(self.shares) != len(self.thresholds) + 1:
            raise ValueError(
                f"expected a threshold for each exit but the last, got {len(self.thresholds)} for "
                f"{len(self.shares)} exits"
            )
        return self


def save_plan(path: Path, plan: PlanFile) -> None:
    """Write a plan, in one piece."""
    write_record(path, plan)


def load_plan(path: Path, exits: int) -> PlanFile:
    """Read a plan for a network with this number of exits.

    Raises:
        MeasurementError: not there, damaged, or for another number of exits.
    """
    plan = read_record(PlanFile, path, "dare choose-exits")
    if len(plan.shares) != exits:
        raise MeasurementError(f"{path} is a plan for {len(plan.shares)} exits, the network has {exits}")
    return plan
