"""Where the joints of a walking person are; lengths are shares of stature unless said otherwise."""

import math
from dataclasses import dataclass

from dare.synthetic.look import Look
from dare.synthetic.view import Point, moved

HIP_HEIGHT = 0.505
"""For legs of average length."""


@dataclass(frozen=True, slots=True)
class Side:
    """The joints of the left or the right, in metres."""

    hip: Point
    knee: Point
    ankle: Point
    toe: Point
    shoulder: Point
    elbow: Point
    wrist: Point
    hand: Point


@dataclass(frozen=True, slots=True)
class Pose:
    """All joints in metres.

    Attributes:
        lift: how far the standing foot has raised the body.
        hip_height, shoulder_height: above the ground.
        forward: how far the shoulders are in front of the hips.
    """

    left: Side
    right: Side
    neck: Point
    head: Point
    lift: float
    hip_height: float
    shoulder_height: float
    forward: float


def pose(look: Look, phase: float) -> Pose:
    """The pose at a moment of the stride; phase in radians, two steps take a full turn."""
    body = look.body
    hips = HIP_HEIGHT * body.stature * body.legs
    legs = {sign: _leg(look, hips, sign, phase if sign > 0 else phase + math.pi) for sign in (1, -1)}
    lift = 0.035 * body.stature - min(ankle[1] for _, _, ankle, _ in legs.values())
    shoulders = hips + lift + 0.315 * body.stature
    forward = body.lean * 0.315 * body.stature * 3
    sides = []
    for sign, leg in legs.items():
        hip, knee, ankle, toe = (moved(joint, (0, lift, 0)) for joint in leg)
        swing = -0.8 * body.stride * math.sin(phase) * sign  # arms go against the legs
        sides.append(Side(hip, knee, ankle, toe, *_arm(look, shoulders, forward, sign, swing)))
    stature = body.stature
    neck = (0.0, shoulders + 0.01 * stature, forward)
    head = (0.0, shoulders + 0.105 * stature, forward + 0.012 * stature)
    return Pose(sides[0], sides[1], neck, head, lift, hips + lift, shoulders, forward)


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
