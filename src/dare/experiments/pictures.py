"""A data set's picture in a drawing, with a frame that says whether it is the right person."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dare.experiments.plots import GREEN, RED
from dare.images.reading import GREY as UNREADABLE
from dare.images.reading import UnreadableImageError, read_resized

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT, WIDTH = 128, 64


def draw_picture(axes: "Axes", path: Path, right: bool | None) -> None:
    """A solid green frame where the person is right, a dashed orange one where not, none around a query (None).

    A grey box stands for a picture that cannot be read.
    """
    try:
        picture = read_resized(path, HEIGHT, WIDTH)
    except UnreadableImageError:
        picture = np.full((HEIGHT, WIDTH, 3), UNREADABLE, np.uint8)
    axes.imshow(picture)
    axes.set_axis_on()
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(right is not None)
    axes.spines[:].set(
        linewidth=3, color=GREEN if right else RED, linestyle="-" if right else (0, (3, 2)), capstyle="butt"
    )
