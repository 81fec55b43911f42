"""A person on a canvas: the joints of somebody walking, some thirty round shapes around them, coloured where seen."""

import math
from dataclasses import dataclass

import numpy as np

from dare.synthetic.clothing import Surface, paint
from dare.synthetic.look import Look
from dare.synthetic.raster import NOTHING, Canvas, Floats, Part, Point, Profile, View, cone, ellipsoid, moved, tube

HIP_HEIGHT = 0.505
"""As a share of stature, for legs of average length."""

FINE = 2
"""Shapes are drawn at twice the picture's resolution and averaged."""


@dataclass(frozen=True, slots=True)
class Light:
    """Where light comes from (right, up, towards the camera; length 1) and how much comes from everywhere."""

    direction: Point
    ambient: float


@dataclass(frozen=True, slots=True)
class Layer:
    """A cut-out: colour (H, W, 3) already multiplied by opacity (H, W, 1), which is from 0 to 1."""

    colour: Floats
    opacity: Floats

    def over(self, picture: Floats) -> Floats:
        """The picture with this in front of it, (H, W, 3)."""
        return picture * (1 - self.opacity) + self.colour


@dataclass(frozen=True, slots=True)
class _Side:
    """The joints of the left or the right side, in metres."""

    hip: Point
    knee: Point
    ankle: Point
    toe: Point
    shoulder: Point
    elbow: Point
    wrist: Point
    hand: Point


class _Pose:
    """The pose at a moment of the stride; phase in radians, two steps take a full turn. Factors are of stature.

    Attributes, in metres:
        left, right, neck, head: joints.
        lift: how far the standing foot has raised the body.
        hip_height: above the ground.
        forward: how far the shoulders are in front of the hips.
    """

    def __init__(self, look: Look, phase: float) -> None:
        body, stature = look.body, look.body.stature
        hips = HIP_HEIGHT * stature * body.legs
        legs = {sign: _leg(look, hips, sign, phase if sign > 0 else phase + math.pi) for sign in (1, -1)}
        self.lift = 0.035 * stature - min(ankle[1] for _, _, ankle, _ in legs.values())
        self.hip_height = hips + self.lift
        self.forward = body.lean * 0.315 * stature * 3
        shoulders = hips + self.lift + 0.315 * stature
        sides = []
        for sign, leg in legs.items():
            hip, knee, ankle, toe = (moved(joint, (0, self.lift, 0)) for joint in leg)
            swing = -0.8 * body.stride * math.sin(phase) * sign  # arms go against the legs
            sides.append(_Side(hip, knee, ankle, toe, *_arm(look, shoulders, self.forward, sign, swing)))
        self.left, self.right = sides
        self.neck = (0.0, shoulders + 0.01 * stature, self.forward)
        self.head = (0.0, shoulders + 0.105 * stature, self.forward + 0.012 * stature)


def draw_figure(look: Look, view: View, phase: float, light: Light, height: int, width: int) -> Layer:
    """A person as a cut-out of height x width pixels.

    Args:
        view: in pixels of the fine canvas, `FINE` times as large.
        phase: of the stride, in radians.
    """
    canvas = Canvas(height * FINE, width * FINE)
    joints = _Pose(look, phase)
    for side in (joints.left, joints.right):
        _draw_limbs(canvas, look, view, side)
    _draw_torso(canvas, look, view, joints)
    _draw_head(canvas, look, view, joints)
    _draw_bag(canvas, look, view, joints)

    visible = canvas.part != NOTHING
    seen = Surface(canvas, visible, view, look, joints.lift, joints.forward, phase)
    lit = paint(seen, look) * _brightness(seen.normal_x, seen.normal_y, light)[:, None] * seen.folds[:, None]
    colour = np.zeros((*visible.shape, 3), np.float32)
    colour[visible] = lit
    return Layer(_halved(colour), _halved(visible[:, :, None].astype(np.float32)))


def _brightness(normal_x: Floats, normal_y: Floats, light: Light) -> Floats:
    """Lambert's law on top of the ambient light; normals point downwards on the screen, light upwards."""
    right, up, near = light.direction
    normal_near = np.sqrt(np.maximum(1 - normal_x * normal_x - normal_y * normal_y, 0))
    lambert = np.maximum(normal_x * right - normal_y * up + normal_near * near, 0)
    result: Floats = light.ambient + (1 - light.ambient) * lambert
    return result


def _halved(fine: Floats) -> Floats:
    """Averages over 2 x 2 pixels."""
    result: Floats = (fine[0::2, 0::2] + fine[1::2, 0::2] + fine[0::2, 1::2] + fine[1::2, 1::2]) * np.float32(0.25)
    return result


def _draw_limbs(canvas: Canvas, look: Look, view: View, side: _Side) -> None:
    pixels = view.pixels_per_metre * look.body.stature
    thick = pixels * (0.55 + 0.45 * look.body.build)
    long_bottom = look.bottom.kind == "trousers"
    thigh = thick * (look.bottom.width if look.bottom.kind in ("trousers", "shorts") else 0.92)
    shin = thick * (look.bottom.width if long_bottom else 0.85)
    arm = thick * (1.0 if look.top.sleeves in ("long", "three-quarter") else 0.88)
    for part, start, end, start_radius, end_radius in (
        (Part.THIGH, side.hip, side.knee, 0.050 * thigh, 0.034 * thigh),
        (Part.SHIN, side.knee, side.ankle, 0.033 * shin, 0.023 * shin),
        (Part.SHOE, side.ankle, side.toe, 0.025 * pixels, 0.019 * pixels),
        (Part.UPPER_ARM, side.shoulder, side.elbow, 0.034 * arm, 0.026 * arm),
        (Part.FOREARM, side.elbow, side.wrist, 0.026 * arm, 0.020 * arm),
        (Part.HAND, side.wrist, side.hand, 0.018 * pixels, 0.018 * pixels),
    ):
        cone(canvas, part, view.on_screen(start), view.on_screen(end), start_radius, end_radius)


def _draw_torso(canvas: Canvas, look: Look, view: View, joints: _Pose) -> None:
    body = look.body
    tall, hips = body.stature, joints.hip_height
    wide, deep = tall * (0.5 + 0.5 * body.build), tall * (0.4 + 0.6 * body.build)
    rises = (-0.035, 0.0, 0.10, 0.22, 0.30, 0.335, 0.345)  # seat, hips, waist, chest, armpits, shoulders, neck
    widths = (
        0.080 * body.hips,
        0.088 * body.hips,
        0.078,
        0.094 * body.shoulders,
        0.100 * body.shoulders,
        0.075 * body.shoulders,
        0.030,
    )
    depths = (0.055, 0.060, 0.056 + body.belly, 0.066, 0.058, 0.045, 0.030)
    forward = [joints.forward * min(max(rise / 0.315, 0.0), 1.0) for rise in rises]
    forward[2] += 0.5 * body.belly * tall
    torso = Profile(
        heights=tuple(hips + rise * tall for rise in rises),
        half_widths=tuple(width * wide for width in widths),
        half_depths=tuple(depth * deep for depth in depths),
        forward=tuple(forward),
    )
    tube(canvas, Part.TORSO, view, torso)
    if look.bottom.kind == "skirt" or look.top.coat:
        skirt = look.bottom.kind == "skirt"
        hanging = Profile(
            heights=(hips - (0.16 if skirt else 0.13) * tall, hips, hips + 0.06 * tall),
            half_widths=(0.125 * wide, 0.098 * wide, 0.080 * wide),
            half_depths=(0.105 * wide, 0.075 * wide, 0.060 * wide),
            forward=(0.0, 0.0, 0.0),
        )
        tube(canvas, Part.SKIRT if skirt else Part.COAT, view, hanging)


def _draw_head(canvas: Canvas, look: Look, view: View, joints: _Pose) -> None:
    tall = look.body.stature
    pixels = view.pixels_per_metre * tall

    def near_head(x: float, y: float, z: float) -> Point:
        return view.on_screen(moved(joints.head, (x, y, z), tall))

    def ball(part: Part, centre: Point, x: float, y: float, z: float) -> None:
        """Radii as multiples of the head's."""
        ellipsoid(canvas, part, view, centre, (0.043 * x * pixels, 0.062 * y * pixels, 0.052 * z * pixels))

    def roll(part: Part, start: Point, end: Point, start_radius: float, end_radius: float) -> None:
        cone(canvas, part, start, end, start_radius * pixels, end_radius * pixels)

    roll(Part.SKIN, view.on_screen(joints.neck), view.on_screen(joints.head), 0.030, 0.030)
    ball(Part.SKIN, view.on_screen(joints.head), 1, 1, 1)
    haircut = look.head.haircut
    if haircut != "bald":
        ball(Part.HAIR, near_head(0, 0.014, -0.014), 1.07, 1.0, 1.05)
    if haircut == "afro":
        ball(Part.HAIR, near_head(0, 0.024, -0.014), 1.35, 1.35, 1.35)
    elif haircut == "bob":
        ball(Part.HAIR, near_head(0, -0.012, -0.018), 1.3, 1.15, 1.1)
    elif haircut == "long":
        roll(Part.HAIR, near_head(0, 0, -0.03), near_head(0, -0.15, -0.05), 0.048, 0.040)
    elif haircut == "ponytail":
        roll(Part.HAIR, near_head(0, 0.03, -0.06), near_head(0, -0.10, -0.085), 0.018, 0.014)
    elif haircut == "bun":
        ball(Part.HAIR, near_head(0, 0.055, -0.045), 0.60, 0.42, 0.50)
    elif haircut == "cap":
        ball(Part.HAT, near_head(0, 0.030, -0.004), 1.12, 0.72, 1.1)
        roll(Part.HAT, near_head(-0.02, 0.022, 0.06), near_head(0.02, 0.022, 0.06), 0.022, 0.022)
    elif haircut == "hood":
        ball(Part.HOOD, near_head(0, 0.008, -0.020), 1.25, 1.15, 1.12)
        left, right = (view.on_screen(moved(joints.neck, (x, 0, -0.02), tall)) for x in (-0.04, 0.04))
        roll(Part.HOOD, left, right, 0.035, 0.035)


def _draw_bag(canvas: Canvas, look: Look, view: View, joints: _Pose) -> None:
    body, bag, tall = look.body, look.bag, look.body.stature
    pixels = view.pixels_per_metre * tall

    def lump(part: Part, centre: Point, x: float, y: float, z: float) -> None:
        size = bag.size * pixels
        ellipsoid(canvas, part, view, view.on_screen(centre), (x * size, y * size, z * size))

    if bag.kind == "backpack":
        back = 0.6 * joints.forward - 0.066 * tall * (0.4 + 0.6 * body.build)
        centre = (0.0, joints.hip_height + 0.20 * tall, back - 0.035 * tall)
        lump(Part.BAG, centre, 0.078, 0.125, 0.055)
        lump(Part.BAG_POCKET, moved(centre, (0, -0.05, -0.03), tall), 0.06, 0.05, 0.04)
    elif bag.kind == "shoulder bag":
        beside = bag.side * 0.115 * tall * (0.5 + 0.5 * body.build)
        lump(Part.BAG, (beside, joints.hip_height + 0.02 * tall, -0.01 * tall), 0.03, 0.065, 0.09)
    elif bag.kind != "none":
        hand = (joints.left if bag.side > 0 else joints.right).hand
        if bag.kind == "handbag":
            lump(Part.BAG, moved(hand, (0, -0.055, 0), tall), 0.025, 0.06, 0.075)
        else:
            lump(Part.BAG, moved(hand, (0, -0.085, 0), tall), 0.03, 0.085, 0.10)


def _leg(look: Look, hips: float, sign: int, phase: float) -> tuple[Point, Point, Point, Point]:
    """Hip, knee, ankle and toe before the body is lifted onto its standing foot."""
    body = look.body
    thigh_angle = body.stride * math.sin(phase)
    bend = 0.12 + 0.975 * body.stride * max(0.0, math.sin(phase - 2.0))
    shin_angle = thigh_angle - bend
    hip = (sign * 0.052 * body.stature * body.hips * (0.6 + 0.4 * body.build), hips, 0.0)
    knee = moved(hip, _hanging(thigh_angle), 0.5 * hips)
    ankle = moved(knee, _hanging(shin_angle), 0.44 * hips)
    foot_angle = 0.6 * shin_angle
    step = (0.12 * sign, 0.6 * math.sin(foot_angle) - 0.21, math.cos(foot_angle))
    return hip, knee, ankle, moved(ankle, step, 0.105 * body.stature)


def _arm(look: Look, shoulders: float, forward: float, sign: int, swing: float) -> tuple[Point, Point, Point, Point]:
    """Shoulder, elbow, wrist and hand."""
    body = look.body
    spread, bend = 0.10 + 0.3 * (body.build - 1), 0.25 + 0.5 * max(0.0, swing)
    inwards = 0.0
    if body.arms == "in pockets":
        swing, bend, spread, inwards = -0.25, 0.55, 0.22, 0.2
    if body.arms == "phone" and sign < 0:
        swing, bend = 0.45, 1.9
    if look.bag.kind in ("handbag", "case") and sign == look.bag.side:
        swing, bend = 0.3 * swing, 0.1  # a loaded arm hangs
    stature = body.stature
    width = 0.101 * stature * body.shoulders * (0.7 + 0.3 * body.build)
    shoulder = (sign * width, shoulders - 0.016 * stature, forward)
    elbow = moved(shoulder, moved(_hanging(swing), (sign * math.sin(spread), 0, 0)), 0.172 * stature)
    wrist = moved(elbow, moved(_hanging(swing + bend), (-sign * inwards, 0, 0)), 0.150 * stature)
    return shoulder, elbow, wrist, moved(wrist, _hanging(swing + bend), 0.045 * stature)


def _hanging(angle: float) -> Point:
    """A step of length 1 downwards, swung forwards by an angle."""
    return 0.0, -math.cos(angle), math.sin(angle)
