"""What is seen of a person, pixel by pixel, in coordinates that are glued to the body.

Screen pixels are rotated back to the body, so a logo on the chest stays there whichever way the person turns.
"""

from dataclasses import dataclass

import numpy as np

from dare.synthetic.arrays import Floats, Mask
from dare.synthetic.look import Look
from dare.synthetic.noise import value_noise
from dare.synthetic.pose import Pose
from dare.synthetic.raster import Canvas, Part
from dare.synthetic.view import View

FOLDS_SEED = 11


@dataclass(frozen=True, slots=True)
class Surface:
    """Visible pixels, (N,) each.

    Attributes:
        part: number of the part.
        x, y, z: metres to the person's left, up from the standing foot's sole, forwards.
        chest: metres forwards of the leaning torso's middle.
        rise: y as a share of stature.
        along: from 0 to 1 along a limb.
        normal_x, normal_y: of the surface, on the screen.
        normal_sideways: of the surface, to the person's left.
        folds: what folds of cloth do to brightness, near 1.
    """

    part: np.ndarray[tuple[int], np.dtype[np.int8]]
    x: Floats
    y: Floats
    z: Floats
    chest: Floats
    rise: Floats
    along: Floats
    normal_x: Floats
    normal_y: Floats
    normal_sideways: Floats
    folds: Floats

    def shows(self, *parts: Part) -> Mask:
        """(N,), the pixels of any of these parts."""
        wanted = np.zeros(len(Part), np.bool_)
        wanted[list(parts)] = True
        result: Mask = wanted[self.part]
        return result


def surface(canvas: Canvas, visible: Mask, view: View, look: Look, joints: Pose, phase: float) -> Surface:
    """What the canvas holds, where something is visible on it."""
    rows, columns = np.nonzero(visible)
    scale = 1 / view.pixels_per_metre
    right = (columns.astype(np.float32) + np.float32(0.5 - view.ground[0])) * np.float32(scale)
    up = (np.float32(view.ground[1] - 0.5) - rows.astype(np.float32)) * np.float32(scale)
    near = canvas.depth[visible] * np.float32(scale)
    normal_x, normal_y = canvas.normal_x[visible], canvas.normal_y[visible]
    normal_near = np.sqrt(np.maximum(1 - normal_x * normal_x - normal_y * normal_y, 0))
    a, b, c = view.rotation  # rows to the screen, so columns back to the body
    x, above, z = (right * a[axis] + up * b[axis] + near * c[axis] for axis in range(3))
    y: Floats = above - np.float32(joints.lift)
    part = canvas.part[visible]
    cloth = (part != Part.SKIN) & (part != Part.HAND)
    folds = value_noise(x * 14 + np.float32(31 + phase), above * 9 + 7, FOLDS_SEED) * np.float32(0.16) + np.float32(
        0.92
    )
    return Surface(
        part=part,
        x=x,
        y=y,
        z=z,
        chest=z - np.float32(joints.forward * 0.5),
        rise=y * np.float32(1 / look.body.stature),
        along=canvas.along[visible],
        normal_x=normal_x,
        normal_y=normal_y,
        normal_sideways=normal_x * a[0] - normal_y * b[0] + normal_near * c[0],
        folds=np.where(cloth, folds, np.float32(1)),
    )
