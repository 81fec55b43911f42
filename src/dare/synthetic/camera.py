"""Six cameras: where they hang, what they look at, and what they make of colour and sharpness."""

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from dare.synthetic.chance import Purpose, grain, stream, value_noise
from dare.synthetic.colours import Colour
from dare.synthetic.figure import Light
from dare.synthetic.knobs import Knobs
from dare.synthetic.raster import Floats, Mask

SIDE = 320
"""Pixels along each side of a camera's scenery. Every box shows a random piece of it, so the background tells which
camera it was and nothing about the person."""

HEIGHT, WIDTH = 128, 64

CURVE_STEPS = 4
"""Entries of a tone curve per grey level, so that darkness keeps its steps."""


@dataclass(frozen=True, slots=True)
class Site:
    """What a camera is like before knobs and seed.

    Attributes:
        pitch: degrees that it looks down.
        headings: degrees of the two ways along which people pass it; 0 comes towards the camera.
        exposure, gamma: natural logarithms of the gain and of the exponent of the tone curve.
        contrast, saturation: what is added to 1.
        fog: grey levels added.
        blur: radius in pixels.
        shrink: how many times smaller the sensor sees a person.
        noise: grey levels, a standard deviation.
        quality: of its JPEG files, from 1 to 95.
        ambient: share of the light that comes from everywhere.
        ground, wall: colours of its scenery.
        horizon: where the ground begins, as a share of the height from the top.
    """

    pitch: float
    headings: tuple[float, float]
    exposure: float
    gamma: float
    contrast: float
    saturation: float
    fog: float
    blur: float
    shrink: float
    noise: float
    quality: int
    ambient: float
    ground: Colour
    wall: Colour
    horizon: float


# One row per camera, in the order of the attributes.
SITES = (
    Site(8, (0, 180), 0, 0, 0, 0, 0, 0, 1, 2, 90, 0.62, (150, 148, 142), (120, 130, 110), 0.42),
    Site(14, (60, -120), -0.22, 0.12, -0.15, -0.2, 6, 0.5, 1.25, 4, 75, 0.5, (118, 122, 112), (160, 140, 120), 0.36),
    Site(22, (-80, 100), 0.14, -0.12, 0.12, 0.15, 0, 0.3, 1, 2.5, 85, 0.45, (165, 150, 130), (100, 100, 112), 0.2),
    Site(6, (25, -155), -0.06, 0.05, -0.25, -0.35, 22, 0.7, 1.5, 4, 65, 0.75, (110, 130, 92), (148, 152, 160), 0.45),
    Site(17, (150, -30), 0.08, -0.05, 0.08, 0.05, 0, 0.2, 1.1, 3, 80, 0.6, (132, 134, 146), (90, 116, 84), 0.3),
    Site(27, (-50, 130), -0.22, 0.14, -0.1, -0.15, 4, 0.9, 1.7, 7, 60, 0.55, (92, 90, 92), (120, 104, 100), 0.12),
)


class Camera:
    """A camera at its site under some knobs and a seed.

    Attributes:
        site: what it is like before these.
        strength, softness: `camera_strength` and `softness` of the knobs.
        tint: gain per channel.
        curve: (256 * 2 * CURVE_STEPS,), the level that each exposed level becomes.
        light: what falls on people.
        scenery: (SIDE, SIDE, 3), read only.
    """

    def __init__(self, knobs: Knobs, seed: int, number: int) -> None:
        site, strength = SITES[number - 1], knobs.camera_strength
        self.site, self.strength, self.softness = site, strength, knobs.softness
        rng = stream(seed, Purpose.CAMERA, number)
        channels = [math.exp(strength * min(max(rng.normal(0, 0.07), -0.11), 0.11)) for _ in range(3)]
        gain = math.exp(strength * site.exposure) * 3 / sum(channels)
        self.tint = [gain * channel for channel in channels]
        self.curve = _curve(1 + strength * site.contrast, strength * site.fog, math.exp(strength * site.gamma))
        side = rng.uniform(-1, 1)
        x, y, z = 0.7 * math.sin(side), 0.55, 0.6 * math.cos(side)
        length = math.hypot(x, y, z)
        self.light = Light((x / length, y / length, z / length), site.ambient)
        self.scenery = _draw_scenery(number - 1, site, knobs.background_contrast, rng)

    def develop(self, scene: Floats, rng: Generator) -> NDArray[np.uint8]:
        """What the camera stores of a scene, (HEIGHT, WIDTH, 3)."""
        spread = 0.05 * self.strength  # of the logarithm of a frame's gain
        gain = math.exp(rng.normal(0, spread))
        tint = [gain * level * math.exp(rng.normal(0, 0.24 * spread)) for level in self.tint]
        across = np.linspace(-1, 1, WIDTH, dtype=np.float32)[None, :, None] * np.float32(rng.normal(0, 0.08))
        down = np.linspace(-1, 1, HEIGHT, dtype=np.float32)[:, None, None] * np.float32(rng.normal(0, 0.06))
        exposed = scene * np.array(tint, np.float32) * (1 + across + down)
        grey = ((exposed[:, :, 0] + exposed[:, :, 1] + exposed[:, :, 2]) * np.float32(1 / 3))[:, :, None]
        exposed = grey + (exposed - grey) * np.float32(1 + self.strength * self.site.saturation)
        steps = np.clip(exposed * CURVE_STEPS, 0, len(self.curve) - 1).astype(np.int16)
        picture = self._softened(Image.fromarray(self.curve[steps]), rng)
        noisy = np.asarray(picture, np.float32) + grain(rng, (HEIGHT, WIDTH, 3)) * np.float32(self.site.noise)
        return np.clip(noisy, 0, 255).astype(np.uint8)

    def _softened(self, picture: Image.Image, rng: Generator) -> Image.Image:
        shrink = 1 + (self.site.shrink - 1) * self.softness
        shrink *= math.exp(rng.normal(0, 0.12 * self.softness))
        if shrink > 1.08:
            size = max(8, int(WIDTH / shrink)), max(16, int(HEIGHT / shrink))
            small = picture.resize(size, Image.Resampling.BILINEAR)
            picture = small.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        radius = self.site.blur * self.softness * rng.uniform(0.5, 1.3)
        return picture.filter(ImageFilter.GaussianBlur(radius)) if radius > 0.25 else picture


@functools.lru_cache(maxsize=len(SITES))  # scenery takes as long to draw as several people
def open_camera(knobs: Knobs, seed: int, number: int) -> Camera:
    """A camera by its number in file names, from 1 to 6."""
    return Camera(knobs, seed, number)


def _curve(contrast: float, fog: float, gamma: float) -> NDArray[np.uint8]:
    """Exposed level, in steps -> stored level: contrast around 110, fog, gamma."""
    levels = ((step / CURVE_STEPS - 110) * contrast + 110 + fog for step in range(2 * 256 * CURVE_STEPS))
    return np.array([int(255 * (min(max(level, 0), 255) / 255) ** gamma) for level in levels], np.uint8)


def _draw_scenery(camera: int, site: Site, contrast: float, rng: Generator) -> Floats:
    """A place as (SIDE, SIDE, 3) levels from 0 to 255, of some contrast around its mean colour.

    Args:
        camera: from 0; decides about the paving.
    """
    line = SIDE * site.horizon
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    on_ground = rows > line
    place = np.where(on_ground[:, :, None], np.array(site.ground, np.float32), np.array(site.wall, np.float32))
    rough = sum(
        share * value_noise(columns / size, rows / size, 9 * camera + layer)
        for layer, (size, share) in enumerate(((24, 0.5), (7, 0.3), (2.5, 0.2)), start=1)
    )
    place *= (0.78 + 0.44 * np.asarray(rough))[:, :, None]
    place[_joints(camera, line, rows, columns) & on_ground] *= 0.79
    for _ in range(26):
        _add_clutter(place, line, rng)
    for _ in range(10):
        _add_pole(place, line, rng)
    mean = np.float32(place.mean(dtype=np.float64))
    result: Floats = np.clip(mean + (place - mean) * np.float32(contrast), 0, 255)
    result.setflags(write=False)
    return result


def _joints(camera: int, line: float, rows: Floats, columns: Floats) -> Mask:
    """The lines between paving stones: receding, slanted or none."""
    if camera % 3 == 0:
        depth = np.maximum(rows - line, 0) + 8
        # One logarithm per row, and rounded: its last bit differs between machines.
        logarithms = [round(math.log(max(row - line, 0) + 8), 4) for row in range(SIDE)]
        across = np.array([(9 * value) % 1 < 0.09 for value in logarithms])[:, None]
        towards = _fraction((columns - SIDE / 2) / depth * 3.5) < 0.06
        return across | towards
    if camera % 3 == 1:
        slanted: Mask = _fraction((columns + rows * 0.4) / 38) < 0.05
        return slanted
    return np.zeros(rows.shape, np.bool_)


def _fraction(values: Floats) -> Floats:
    result: Floats = values - np.floor(values)
    return result


def _add_clutter(place: Floats, line: float, rng: Generator) -> None:
    """A window, poster or parked thing near the horizon."""
    left, width = int(rng.integers(0, SIDE - 10)), int(rng.integers(4, 46))
    height = int(rng.integers(16, 90))
    top = max(0, int(line) - int(rng.integers(-10, 100)))
    grey = rng.uniform(30, 220)
    colour = [min(max(grey + rng.normal(0, 24), 10), 245) for _ in range(3)]
    patch = place[top : top + height, left : left + width]
    patch *= 0.35
    patch += np.array(colour, np.float32) * np.float32(0.65)


def _add_pole(place: Floats, line: float, rng: Generator) -> None:
    left, width = int(rng.integers(0, SIDE - 4)), int(rng.integers(2, 6))
    foot = int(line) + int(rng.integers(10, 120))
    place[int(0.3 * line) : foot, left : left + width] *= np.float32(rng.uniform(0.45, 1.3))
