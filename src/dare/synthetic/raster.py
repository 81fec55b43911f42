"""Round shapes seen by a camera, on a canvas that remembers which surface is nearest at each pixel, and its normal.

Points of the body are (x, y, z) in metres: to the person's left, upwards, forwards, from the ground below the hips.
Screen points are (x, y, depth) in pixels: x to the right, y downwards, depth towards the camera. Every shape is
solved exactly per pixel of its bounding box; nothing is approximated by triangles. Sums of products are written out,
because matrix libraries round differently on different machines.
"""

import enum
import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
"""float32 throughout; type checkers lose the width wherever a Python number joins in."""

Mask = NDArray[np.bool_]
"""True where something is."""

Point = tuple[float, float, float]

NOTHING = -1


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


class Part(enum.IntEnum):
    """What a pixel shows."""

    SKIN = 0
    HAIR = 1
    TORSO = 2
    UPPER_ARM = 3
    FOREARM = 4
    HAND = 5
    THIGH = 6
    SHIN = 7
    SHOE = 8
    SKIRT = 9
    COAT = 10
    HOOD = 11
    HAT = 12
    BAG = 13
    BAG_POCKET = 14


class Canvas:
    """The nearest surface per pixel: part, depth, normal (on the screen, y downwards) and place along a limb."""

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.part = np.full((height, width), NOTHING, np.int8)
        self.depth: Floats = np.full((height, width), -1e9, np.float32)
        self.normal_x: Floats = np.zeros((height, width), np.float32)
        self.normal_y: Floats = np.zeros((height, width), np.float32)
        self.along: Floats = np.zeros((height, width), np.float32)


@dataclass(frozen=True, slots=True)
class Profile:
    """A tube around the body's upright axis, in metres; heights ascend, one entry of the others for each.

    Attributes:
        heights: above the ground.
        half_widths, half_depths: of the ellipse at each height, sideways and forwards.
        forward: how far in front of the axis the ellipse lies.
    """

    heights: tuple[float, ...]
    half_widths: tuple[float, ...]
    half_depths: tuple[float, ...]
    forward: tuple[float, ...]


def cone(canvas: Canvas, part: Part, start: Point, end: Point, start_radius: float, end_radius: float) -> None:
    """A limb: a cone with round ends, foreshortened as its ends' depths say. Its `along` goes from 0 to 1."""
    reach = max(start_radius, end_radius)
    box = _box(
        canvas,
        (min(start[0], end[0]) - reach, max(start[0], end[0]) + reach),
        (min(start[1], end[1]) - reach, max(start[1], end[1]) + reach),
    )
    x, y = _pixels(box, start[0], start[1])
    run_x, run_y, run_depth = end[0] - start[0], end[1] - start[1], end[2] - start[2]
    length = run_x * run_x + run_y * run_y + 1e-3  # a limb that points at the camera has none
    along = np.clip(x * (run_x / length) + y * (run_y / length), 0, 1)
    radius = along * (end_radius - start_radius) + start_radius
    off_x, off_y = x - along * run_x, y - along * run_y
    bulge = radius * radius - off_x * off_x - off_y * off_y
    depth = along * run_depth + start[2] + np.sqrt(np.maximum(bulge, 0))
    _put(canvas, box, bulge > 0, part, depth, off_x / radius, off_y / radius, along)


def ellipsoid(canvas: Canvas, part: Part, view: View, centre: Point, radii: Point) -> None:
    """A head, hat or bag: radii in pixels sideways, upwards and forwards of the body."""
    rows = view.rotation
    half_width, half_height = (
        math.sqrt(sum((t * r) ** 2 for t, r in zip(row, radii, strict=True))) for row in rows[:2]
    )
    box = _box(
        canvas,
        (centre[0] - half_width, centre[0] + half_width),
        (centre[1] - half_height, centre[1] + half_height),
    )
    u, down = _pixels(box, centre[0], centre[1])
    v = -down
    # The surface is where (u, v, w) M (u, v, w) = 1, with w towards the camera.
    (uu, uv, uw), (_, vv, vw), (_, _, ww) = (
        tuple(sum(a * b / r**2 for a, b, r in zip(one, other, radii, strict=True)) for other in rows) for one in rows
    )
    half_linear = uw * u + vw * v
    constant = uu * u * u + 2 * uv * u * v + vv * v * v - 1
    inside = half_linear * half_linear - ww * constant
    w = (np.sqrt(np.maximum(inside, 0)) - half_linear) / ww
    normal_x = uu * u + uv * v + uw * w
    normal_y = uv * u + vv * v + vw * w
    normal_w = uw * u + vw * v + ww * w
    scale = 1 / np.sqrt(normal_x * normal_x + normal_y * normal_y + normal_w * normal_w + 1e-12)
    _put(canvas, box, inside > 0, part, w + centre[2], normal_x * scale, -normal_y * scale, np.float32(0))


def tube(canvas: Canvas, part: Part, view: View, profile: Profile) -> None:
    """A torso, skirt or coat."""
    ground_x, ground_y = view.ground
    scale = view.pixels_per_metre
    tilt, upright = math.sin(view.pitch), math.cos(view.pitch)
    reach = max(profile.half_widths) * scale * 1.15 + 4
    top = ground_y - scale * (profile.heights[-1] * upright + 0.12 * tilt)
    bottom = ground_y - scale * (profile.heights[0] * upright - 0.12 * tilt)
    box = _box(canvas, (ground_x - reach, ground_x + reach), (top, bottom))
    x, y = _pixels(box, ground_x, ground_y)
    u: Floats = x * np.float32(1 / scale)
    # The camera looks down: what it sees of a row lies about 0.08 m before the axis, so a little lower.
    height = (0.08 * tilt - y[:, 0].astype(np.float64) / scale) / upright
    half_width, half_depth, forward = (
        np.interp(height, profile.heights, values).astype(np.float32)[:, None]
        for values in (profile.half_widths, profile.half_depths, profile.forward)
    )
    inverse_width, inverse_depth = 1 / (half_width * half_width), 1 / (half_depth * half_depth)
    turn, ahead = math.sin(view.yaw), math.cos(view.yaw)
    # One ray per pixel meets the ellipse where quadratic w^2 + 2 half_linear w + constant = 0.
    quadratic = turn * turn * inverse_width + ahead * ahead * inverse_depth
    before = u * turn - forward
    half_linear = before * ahead * inverse_depth - u * (ahead * turn) * inverse_width
    constant = u * u * (ahead * ahead) * inverse_width + before * before * inverse_depth - 1
    inside = half_linear * half_linear - quadratic * constant
    seen = (inside > 0) & ((height >= profile.heights[0]) & (height <= profile.heights[-1]))[:, None]
    w = (np.sqrt(np.maximum(inside, 0)) - half_linear) / quadratic
    slope_x = (u * ahead - w * turn) * inverse_width
    slope_z = (before + w * ahead) * inverse_depth
    normal_x = slope_x * ahead + slope_z * turn
    normal_w = slope_z * ahead - slope_x * turn
    unit = 1 / np.sqrt(normal_x * normal_x + normal_w * normal_w + 1e-12)
    depth = (height.astype(np.float32)[:, None] * tilt + w * upright) * scale
    _put(canvas, box, seen, part, depth, normal_x * unit, np.float32(0), np.float32(0))


def _box(canvas: Canvas, across: tuple[float, float], down: tuple[float, float]) -> tuple[slice, slice]:
    """Rows and columns of the canvas around a shape; none if the shape lies outside."""
    top, left = max(math.floor(down[0]), 0), max(math.floor(across[0]), 0)
    bottom, right = min(math.floor(down[1]) + 2, canvas.height), min(math.floor(across[1]) + 2, canvas.width)
    return slice(top, max(top, bottom)), slice(left, max(left, right))


def _pixels(box: tuple[slice, slice], origin_x: float, origin_y: float) -> tuple[Floats, Floats]:
    """Pixel centres as seen from a point: x (1, W) and y (H, 1)."""
    y, x = (
        np.arange(side.start, side.stop, dtype=np.float32) + np.float32(0.5 - origin)
        for side, origin in zip(box, (origin_y, origin_x), strict=True)
    )
    return x[None], y[:, None]


def _put(
    canvas: Canvas,
    box: tuple[slice, slice],
    inside: Mask,
    part: Part,
    depth: Floats,
    normal_x: Floats,
    normal_y: Floats | np.float32,
    along: Floats | np.float32,
) -> None:
    """Keep what is nearer than anything drawn before."""
    nearer = inside & (depth > canvas.depth[box])
    np.copyto(canvas.depth[box], depth, where=nearer)
    np.copyto(canvas.part[box], np.int8(part), where=nearer)
    np.copyto(canvas.normal_x[box], normal_x, where=nearer)
    np.copyto(canvas.normal_y[box], normal_y, where=nearer)
    np.copyto(canvas.along[box], along, where=nearer)
