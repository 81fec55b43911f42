"""The visible pixels of a person and their colours: cloth with its pattern, logos, openings, skin, shoes, straps.

Screen pixels are rotated back to the body, so a logo on the chest stays there whichever way the person turns.
Edges of patterns are thresholds on coordinates, so these come from sums, products and square roots only: they are
the same on every machine, sines and arc tangents aren't.
"""

from collections.abc import Callable

import numpy as np

from dare.synthetic.chance import value_noise
from dare.synthetic.colours import Colour, brightened
from dare.synthetic.look import Logo, Look, Pattern
from dare.synthetic.raster import Canvas, Floats, Mask, Part, View

FOLDS_SEED = 11

SLEEVE = (Part.UPPER_ARM, Part.FOREARM)
LEG = (Part.THIGH, Part.SHIN)


class Surface:
    """The visible pixels of a canvas, (N,) each.

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

    def __init__(
        self, canvas: Canvas, visible: Mask, view: View, look: Look, lift: float, forward: float, phase: float
    ) -> None:
        """`lift` of the body and `forward` of its shoulders are in metres."""
        rows, columns = np.nonzero(visible)
        scale = 1 / view.pixels_per_metre
        right = (columns.astype(np.float32) + np.float32(0.5 - view.ground[0])) * np.float32(scale)
        up = (np.float32(view.ground[1] - 0.5) - rows.astype(np.float32)) * np.float32(scale)
        near = canvas.depth[visible] * np.float32(scale)
        self.normal_x, self.normal_y = canvas.normal_x[visible], canvas.normal_y[visible]
        normal_near = np.sqrt(np.maximum(1 - self.normal_x * self.normal_x - self.normal_y * self.normal_y, 0))
        a, b, c = view.rotation  # rows to the screen, so columns back to the body
        self.x, above, self.z = (right * a[axis] + up * b[axis] + near * c[axis] for axis in range(3))
        self.y: Floats = above - np.float32(lift)
        self.chest = self.z - np.float32(forward * 0.5)
        self.rise = self.y * np.float32(1 / look.body.stature)
        self.part, self.along = canvas.part[visible], canvas.along[visible]
        self.normal_sideways = self.normal_x * a[0] - self.normal_y * b[0] + normal_near * c[0]
        rough = value_noise(self.x * 14 + np.float32(31 + phase), above * 9 + 7, FOLDS_SEED)
        cloth = (self.part != Part.SKIN) & (self.part != Part.HAND)
        self.folds = np.where(cloth, rough * np.float32(0.16) + np.float32(0.92), np.float32(1))

    def shows(self, *parts: Part) -> Mask:
        """(N,), the pixels of any of these parts."""
        return np.isin(self.part, parts)


def paint(seen: Surface, look: Look) -> Floats:
    """The colour of every visible pixel before light falls on it, (N, 3). Later layers cover earlier ones."""
    colours = _base(look)[seen.part]
    torso = seen.shows(Part.TORSO)
    _paint_top(colours, seen, look, torso)
    _paint_opening(colours, seen, look, torso)
    for logo, facing in ((look.top.chest_logo, 1), (look.top.back_logo, -1)):
        if logo.kind != "none":
            _paint_logo(colours, seen, look, torso, logo, facing)
    _paint_sleeves(colours, seen, look)
    _paint_bottom(colours, seen, look, torso)
    _paint_straps(colours, seen, look, torso)
    eyes = seen.shows(Part.SKIN) & (seen.chest > 0) & (np.abs(seen.rise - 0.935) < 0.006)
    red, green, blue = look.head.skin
    colours[eyes] = 0.62 * red, 0.62 * green, 0.62 * blue
    return colours


def _base(look: Look) -> Floats:
    """One colour per part, (P, 3)."""
    sleeve = look.top.sleeve_colour or look.top.colour
    base: dict[Part, Colour] = {
        Part.SKIN: look.head.skin,
        Part.HAIR: look.head.hair,
        Part.TORSO: look.top.colour,
        Part.UPPER_ARM: sleeve,
        Part.FOREARM: sleeve,
        Part.HAND: look.head.skin,
        Part.THIGH: look.bottom.colour,
        Part.SHIN: look.bottom.colour,
        Part.SHOE: look.bottom.shoes,
        Part.SKIRT: look.bottom.colour,
        Part.COAT: look.top.colour,
        Part.HOOD: sleeve,
        Part.HAT: look.head.hat,
        Part.BAG: look.bag.colour,
        Part.BAG_POCKET: look.bag.pocket_colour,
    }
    return np.array([base[part] for part in Part], np.float32)


def _paint_top(colours: Floats, seen: Surface, look: Look, torso: Mask) -> None:
    pattern = look.top.pattern
    if pattern.kind == "plain":
        return
    cloth = torso | seen.shows(Part.COAT)
    arms = np.zeros_like(torso)
    if look.top.sleeve_colour is None and pattern.kind not in ("band", "yoke"):
        arms = seen.shows(*SLEEVE)
        cloth |= arms
    around = _angle(seen.x[cloth], seen.chest[cloth]) * np.float32(0.085 * look.body.stature)
    around = np.where(arms[cloth], seen.z[cloth], around)
    if pattern.kind == "band":
        band = np.abs(seen.rise[cloth] - pattern.level) < 0.8 * pattern.width
        colours[cloth] = np.where(band[:, None], np.array(pattern.band_colour, np.float32), colours[cloth])
        return
    light = _is_light(around, seen.y[cloth], look.body.stature, pattern)
    dark_tone, light_tone = np.array(pattern.tones, np.float32)
    colours[cloth] = np.where(light[:, None], light_tone, dark_tone)


def _angle(x: Floats, z: Floats) -> Floats:
    """The direction of (x, z) in radians from z, right to 0.004: the arc tangent from exact operations only.

    Source: Rajan et al., "Efficient Approximations for the Arctangent Function", IEEE Signal Processing
    Magazine, 2006, equation 9.
    """
    wide, deep = np.abs(x), np.abs(z)
    steep = wide > deep
    ratio = np.minimum(wide, deep) / (np.maximum(wide, deep) + np.float32(1e-9))
    octant = ratio * (np.float32(np.pi / 4 + 0.273) - np.float32(0.273) * ratio)
    quadrant = np.where(steep, np.float32(np.pi / 2) - octant, octant)
    result: Floats = np.copysign(np.where(z < 0, np.float32(np.pi) - quadrant, quadrant), x)
    return result


def _stripes(coordinate: Floats, period: float, phase: float = 0.0) -> Mask:
    return _within_period(coordinate, period, phase) < 0.5


def _within_period(coordinate: Floats, period: float, phase: float) -> Floats:
    """From 0 to 1 within each period."""
    turns = coordinate * np.float32(1 / period) + np.float32(phase)
    result: Floats = turns - np.floor(turns)
    return result


def _is_light(around: Floats, y: Floats, stature: float, pattern: Pattern) -> Mask:
    """Where the lighter of the two tones is, about half of the cloth, by metres around the body and up."""
    light: Mask
    period, phase = pattern.period, pattern.phase
    match pattern.kind:
        case "stripes across":
            light = _stripes(y, period, phase)
        case "wide stripes":
            light = _stripes(y, 0.24, phase)
        case "stripes down":
            light = _stripes(around, 0.8 * period, phase)
        case "diagonals":
            light = _stripes(around + y, period, phase)
        case "checks":
            light = _stripes(around, period, phase) ^ _stripes(y, period, phase)
        case "dots":
            across, down = _within_period(around, period, phase) - 0.5, _within_period(y, period, phase) - 0.5
            light = across * across + down * down < 0.5 / np.pi
        case "camouflage":
            scale = np.float32(1.1 / period)
            light = value_noise(around * scale + 50, y * scale + 50, pattern.seed) > 0.5
        case _:  # a yoke
            light = y > (pattern.level + 0.02) * stature
    return light


def _paint_opening(colours: Floats, seen: Surface, look: Look, torso: Mask) -> None:
    top = look.top
    if top.opening == "closed":
        return
    front = torso & (seen.chest > 0)
    aside = np.abs(seen.x)
    if top.opening == "open":
        half_width = 0.55 * top.opening_width * look.body.stature * (1.2 * seen.rise)
        colours[front & (aside < half_width)] = top.inner_colour
    elif top.opening == "zip":
        colours[front & (aside < 0.011)] = brightened(top.colour, 70)
    else:
        spots = _within_period(seen.y, 0.09, 0.0) < 0.39
        colours[front & (aside < 0.013) & spots] = brightened(top.colour, -70)


def _paint_logo(colours: Floats, seen: Surface, look: Look, torso: Mask, logo: Logo, facing: int) -> None:
    x = (seen.x * facing - logo.sideways * look.body.stature / 1.7) * (1 / logo.half_size)
    y = (seen.rise - logo.height) * (look.body.stature / logo.half_size)
    colours[torso & LOGO_SHAPES[logo.kind](x, y) & (seen.z * facing > 0)] = logo.colour


# Within about one unit around the middle, y upwards.
LOGO_SHAPES: dict[str, Callable[[Floats, Floats], Mask]] = {
    "square": lambda x, y: (np.abs(x) < 0.9) & (np.abs(y) < 0.9),
    "disc": lambda x, y: x * x + y * y < 1,
    "cross": lambda x, y: ((np.abs(x) < 0.35) & (np.abs(y) < 1.1)) | ((np.abs(y) < 0.35) & (np.abs(x) < 1.1)),
    "bars": lambda x, y: (np.abs(x) < 1.3) & (np.abs(y) < 1.0) & (_within_period(y, 1 / 1.5, 0.0) < 0.55),
    "triangle": lambda x, y: (y > -0.8) & (np.abs(x) < 0.6 * (1 - y)),
}


def _paint_sleeves(colours: Floats, seen: Surface, look: Look) -> None:
    upper, fore = seen.shows(Part.UPPER_ARM), seen.shows(Part.FOREARM)
    top = look.top
    if top.sleeves == "short":
        colours[(upper & (seen.along > 0.62)) | fore] = look.head.skin
    elif top.sleeves == "none":
        colours[(upper & (seen.along > 0.08)) | fore] = look.head.skin
    elif top.sleeves == "three-quarter":
        colours[fore & (seen.along > 0.35)] = look.head.skin
    elif top.cuff_colour is not None:
        colours[fore & (seen.along > 0.72)] = top.cuff_colour


def _paint_bottom(colours: Floats, seen: Surface, look: Look, torso: Mask) -> None:
    bottom = look.bottom
    legs, thigh, shin = seen.shows(*LEG), seen.shows(Part.THIGH), seen.shows(Part.SHIN)
    seat = torso & (seen.rise < look.top.hem) & (not look.top.coat)
    colours[seat] = bottom.colour
    _paint_bottom_pattern(colours, seen, look, legs | seat | seen.shows(Part.SKIRT), legs)
    if bottom.side_stripe is not None and bottom.kind in ("trousers", "cropped"):
        colours[legs & (np.abs(seen.normal_sideways) > 0.8)] = bottom.side_stripe
    bare = look.head.skin if bottom.tights is None or bottom.kind != "skirt" else bottom.tights
    if bottom.kind == "shorts":
        colours[shin | (thigh & (seen.along > 0.8))] = bare
    elif bottom.kind == "skirt":
        colours[legs] = bare
    elif bottom.kind == "cropped":
        colours[shin & (seen.along > 0.55)] = bare
    if bottom.kind != "trousers":
        colours[shin & (seen.along > 0.86)] = bottom.socks
    if bottom.soles is not None:
        colours[seen.shows(Part.SHOE) & (seen.normal_y > 0.55)] = bottom.soles


def _paint_bottom_pattern(colours: Floats, seen: Surface, look: Look, cloth: Mask, legs: Mask) -> None:
    pattern = look.bottom.pattern
    dark_tone, light_tone = np.array(look.bottom.tones, np.float32)
    if pattern in ("checks", "stripes down"):
        around = _angle(seen.x[cloth], seen.z[cloth]) * np.float32(0.08 * look.body.stature)
        light = _stripes(np.where(legs[cloth], seen.z[cloth], around), 0.05, 0.3)
        if pattern == "checks":
            light ^= _stripes(seen.y[cloth], 0.09)
        colours[cloth] = np.where(light[:, None], light_tone, dark_tone)
    elif pattern == "faded":
        # Palest on the thighs, darkest at the ankles.
        paler = 22 * np.cos((seen.rise[cloth] - np.float32(0.37)) * 11)
        colours[cloth] += paler[:, None]
    elif pattern == "knee patch":
        colours[legs & (np.abs(seen.rise - 0.265) < 0.03)] = look.bottom.tones[1]


def _paint_straps(colours: Floats, seen: Surface, look: Look, torso: Mask) -> None:
    bag, stature = look.bag, look.body.stature
    if bag.kind == "backpack":
        straps = (np.abs(np.abs(seen.x) - 0.048 * stature) < 0.016) & (seen.rise > 0.63)
        colours[torso & straps & (seen.chest > 0)] = bag.colour
    elif bag.kind == "shoulder bag":
        across = np.abs(seen.x * bag.side + (seen.rise - 0.66) * (0.55 * stature)) < 0.022
        colours[torso & across] = bag.colour
