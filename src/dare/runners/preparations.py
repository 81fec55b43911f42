"""How images become the input of a network that others trained: by a known family's name, or by a small file."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from dare.files import said
from dare.images.preparation import IMAGENET_MEAN, IMAGENET_STD, Preparation

ENDING = ".preparation.json"
"""In place of a network's suffix: the file beside it that says how its images are prepared."""


class ForeignError(ValueError):
    """A network of others that can't be used as it is; says which file, why, and what to do."""


Positive = Annotated[float, Field(gt=0)]
Side = Annotated[int, Field(ge=8, le=2048)]


@dataclass(frozen=True, slots=True, config=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))
class ForeignPreparation:
    """What a network of others takes, and how its vectors are compared. Channels stand in its own order.

    Attributes:
        colours: the order of its channels.
        white: the value of a white pixel before mean and deviation: 255 for pixel values as they are, 1 for shares.
        mean, std: of its channels, on the scale that `white` sets.
        unit_length: whether vectors are scaled to length 1, so that Euclidean distances rank as cosine does.
        height, width: in pixels; both None where the graph says them.
    """

    colours: Literal["RGB", "BGR"]
    white: Positive
    mean: tuple[float, float, float]
    std: tuple[Positive, Positive, Positive]
    unit_length: bool
    height: Side | None = None
    width: Side | None = None

    def __post_init__(self) -> None:
        if (self.height is None) != (self.width is None):
            raise ValueError(f"expected height and width, or neither, got {self.height} and {self.width}")

    def at(self, height: int, width: int) -> Preparation:
        """The same for RGB images of this size; the network's own order of channels is its runner's business."""
        mean, std = (tuple(value / self.white for value in values) for values in (self.mean, self.std))
        turned = slice(None, None, -1 if self.colours == "BGR" else 1)
        return Preparation(height, width, mean[turned], std[turned])  # type: ignore[arg-type]


_UNCHANGED: dict[str, Any] = {"white": 255.0, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "unit_length": True}

FAMILIES = {
    # Mean and deviation stand in the graph. Published scores are by cosine.
    # Source: Open Model Zoo, person-reidentification-retail-0277 to -0288.
    "openvino-retail": ForeignPreparation(colours="BGR", **_UNCHANGED),
    # Source: torchreid, data/transforms.py. Trackers, and half a point of rank-1, prefer cosine.
    "torchreid": ForeignPreparation("RGB", 1.0, IMAGENET_MEAN, IMAGENET_STD, unit_length=True),
    # The exported graph begins with `preprocess_image`, so it takes pixel values as they are.
    # Source: fast-reid, tools/deploy/onnx_inference.py and fastreid/modeling/meta_arch/baseline.py.
    "fast-reid": ForeignPreparation(colours="RGB", **_UNCHANGED),
}
"""Whose networks take what."""


def preparation_of(model: Path, given: str | Path | None, family: str | None) -> ForeignPreparation:
    """How a network's images are prepared: as is said, else as the file beside it says, else as its family's are.

    Args:
        given: a name in `FAMILIES`, or a file.
        family: what the network itself says it belongs to.

    Raises:
        ForeignError: nobody knows, what is given contradicts what is known, or a file that is no preparation.
    """
    beside = model.with_suffix(ENDING)
    known = read_preparation(beside) if beside.exists() else FAMILIES[family] if family else None
    if given is None:
        if known is None:
            raise ForeignError(
                f"{model} doesn't say how images are prepared for it; put a JSON file beside it as {beside.name}, with "
                f"what it takes or one of {', '.join(FAMILIES)}, or give that to --preparation where a command has it"
            )
        return known
    said = FAMILIES.get(str(given)) or read_preparation(Path(given))
    if known is not None and replace(said, height=known.height, width=known.width) != known:
        where = beside.name if beside.exists() else "the network itself"
        raise ForeignError(
            f"{given} is not how images are prepared for {model}, as {where} says; leave it out, or put what each "
            f"network takes into a file beside it, such as {beside.name}"
        )
    return said


def read_preparation(file: Path) -> ForeignPreparation:
    """Read a preparation from a JSON file: a name in `FAMILIES`, or an object with attributes of `ForeignPreparation`.

    Raises:
        ForeignError: not there, or something else.
    """
    try:
        content = file.read_bytes()
        return FAMILIES.get(content.decode().strip().strip('"')) or _SCHEMA.validate_json(content)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ForeignError(
            f"no preparation {file} ({reason}); expected {', '.join(FAMILIES)}, or a JSON file"
        ) from error
    except UnicodeDecodeError as error:
        raise ForeignError(f"{file} isn't a preparation: it isn't valid UTF-8 text") from error
    except ValidationError as error:
        raise ForeignError(
            f'{said(error, file)}; a preparation is a name such as "torchreid", or an object with {_NAMES}'
        ) from error


_SCHEMA = TypeAdapter(ForeignPreparation)
_NAMES = ", ".join(field.name for field in fields(ForeignPreparation))
