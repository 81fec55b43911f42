"""Where a person stands before the camera, and what that does to points of the body.

Points of the body are (x, y, z) in metres: to the person's left, upwards, forwards, from the ground below the
hips. Sums of products are written out: matrix libraries round differently on different machines.
"""

import math
from dataclasses import dataclass, field

Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class View:
    """A weak perspective: everything of one person is seen at one scale.

    Attributes:
        yaw: radians; 0 faces the camera, positive turns the person's left side away from it.
        pitch: radians that the camera looks down.
        ground: where the point below the hips lies, x and y in pixels.
        pixels_per_metre: the scale.
        rotation: rows of the matrix from the body to the screen's right, up and towards the camera.
    """

    yaw: float
    pitch: float
    ground: tuple[float, float]
    pixels_per_metre: float
    rotation: tuple[Point, Point, Point] = field(init=False)

    def __post_init__(self) -> None:
        turn, ahead = math.sin(self.yaw), math.cos(self.yaw)
        tilt, upright = math.sin(self.pitch), math.cos(self.pitch)
        rotation = (
            (ahead, 0.0, turn),
            (tilt * turn, upright, -tilt * ahead),
            (-upright * turn, tilt, upright * ahead),
        )
        object.__setattr__(self, "rotation", rotation)

    def on_screen(self, point: Point) -> Point:
        """Body (metres) -> x, y and depth (pixels)."""
        x, y, z = point
        right, up, near = (a * x + b * y + c * z for a, b, c in self.rotation)
        scale = self.pixels_per_metre
        return self.ground[0] + scale * right, self.ground[1] - scale * up, scale * near


def moved(point: Point, by: Point, times: float = 1.0) -> Point:
    """A point plus a multiple of a step."""
    return point[0] + times * by[0], point[1] + times * by[1], point[2] + times * by[2]
