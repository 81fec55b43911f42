"""How images become the input of a network that others trained: by a known family's name, or by a small file."""

import json
import math
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

from dare.images.reading import IMAGENET_MEAN, IMAGENET_STD, Preparation

ENDING = ".preparation.json"
"""In place of a network's suffix: the file beside it that says how its images are prepared."""


class ForeignError(ValueError):
    """A network of others that can't be used as it is; says which file, why, and what to do."""


@dataclass(frozen=True, slots=True)
class ForeignPreparation:
    """What a network of others takes, and how its vectors are compared. Channels stand in its own order.

    Attributes:
        colours: "RGB" or "BGR", the order of its channels.
        white: the value of a white pixel before mean and deviation: 255 for pixel values as they are, 1 for shares.
        mean, std: of its channels, on the scale that `white` sets.
        unit_length: whether vectors are scaled to length 1, so that Euclidean distances rank as cosine does.
        height, width: in pixels; None where the graph says them.
    """

    colours: str
    white: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    unit_length: bool
    height: int | None = None
    width: int | None = None

    def __post_init__(self) -> None:
        if self.colours not in ("RGB", "BGR"):
            raise ValueError(f"colours must be RGB or BGR, got {self.colours!r}")
        if not _is_number(self.white) or self.white <= 0:
            raise ValueError(f"white must be a positive number, 255 or 1 as a rule, got {self.white!r}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if not isinstance(values, tuple) or len(values) != 3 or not all(map(_is_number, values)):
                raise ValueError(f"{name} must be three numbers, got {values!r}")
        if min(self.std) <= 0:
            raise ValueError(f"standard deviations must be positive, got {self.std}")
        if not isinstance(self.unit_length, bool):
            raise ValueError(f"unit_length must be true or false, got {self.unit_length!r}")
        sides = (self.height, self.width)
        if sides != (None, None) and not all(isinstance(side, int) and not isinstance(side, bool) for side in sides):
            raise ValueError(f"height and width must be two whole numbers, or both be left out, got {sides}")

    def at(self, height: int, width: int) -> Preparation:
        """The same for RGB images of this size; the network's own order of channels is its runner's business."""
        mean, std = (tuple(value / self.white for value in values) for values in (self.mean, self.std))
        turned = slice(None, None, -1 if self.colours == "BGR" else 1)
        return Preparation(height, width, mean[turned], std[turned])  # type: ignore[arg-type]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


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
                f"{model} does not say how images are prepared for it; give --preparation {', '.join(FAMILIES)} or a "
                f"JSON file, or put such a file beside it as {beside.name}"
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
        content = json.loads(file.read_bytes())
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ForeignError(
            f"no preparation {file} ({reason}); expected {', '.join(FAMILIES)}, or a JSON file"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ForeignError(f"{file} is not JSON; expected {_words()}") from error
    if isinstance(content, str) and content in FAMILIES:
        return FAMILIES[content]
    every = {field.name: field.default is MISSING for field in fields(ForeignPreparation)}
    needed = {name for name, is_needed in every.items() if is_needed}
    if not isinstance(content, dict) or not needed <= content.keys() <= every.keys():
        got = sorted(content) if isinstance(content, dict) else repr(content)[:80]
        raise ForeignError(f"{file} is not a preparation: expected {_words()}, got {got}")
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in content.items()}
    try:
        return ForeignPreparation(**values)
    except (TypeError, ValueError) as error:
        raise ForeignError(f"{file} is not a preparation: {error}") from error


def _words() -> str:
    *others, height, width = (field.name for field in fields(ForeignPreparation))
    names = f"{', '.join(others)}, and {height} and {width} if the graph does not say them"
    return f'a name such as "torchreid", or an object with {names}'
