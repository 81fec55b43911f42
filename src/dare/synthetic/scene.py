"""One detection box: a person in front of a piece of scenery, with whatever else got into the picture."""

import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from dare.synthetic.camera import HEIGHT, SIDE, WIDTH, Camera, open_camera
from dare.synthetic.chance import Purpose, happens, side, stream
from dare.synthetic.figure import FINE, Layer, draw_figure
from dare.synthetic.knobs import CAMERAS, Knobs
from dare.synthetic.look import draw_look
from dare.synthetic.raster import Floats, View

BYSTANDERS = range(20_000, 20_500)
"""Numbers of the people who are only ever seen beside somebody else; no label is that large."""

JUNK_ERROR = 3.5
"""How many times worse than usual a junk box is placed."""


def draw_picture(
    knobs: Knobs, seed: int, person: int, camera: int, frame: int, *, badly_placed: bool = False
) -> NDArray[np.uint8]:
    """One picture of a person, (128, 64, 3), before it is compressed; pictures can be drawn in any order.

    Args:
        seed: from 0.
        person, camera, frame: from 1, as in the names of the files: 0002_c1s1_000222_02 is the second frame of
            person 2 passing camera 1.
        badly_placed: show half a person, or hardly anyone.

    Returns:
        The same pixels on every call; between machines they may differ by 2 grey levels.
    """
    for name, value, low, high in (
        ("seed", seed, 0, math.inf),
        ("person", person, 1, math.inf),
        ("camera", camera, 1, CAMERAS),
        ("frame", frame, 1, math.inf),
    ):
        if not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"{name} must be a whole number from {low} to {high}, got {value!r}; change {name}")
    device, look = open_camera(knobs, seed, camera), draw_look(knobs, seed, person)
    passage = stream(seed, Purpose.PASSAGE, person, camera)
    heading = math.radians(device.site.headings[int(passage.integers(2))]) + passage.normal(0, 0.3)
    rng = stream(seed, Purpose.JUNK if badly_placed else Purpose.FRAME, person, camera, frame)

    error = knobs.box_error * (JUNK_ERROR if badly_placed else 1)
    view = _look_at(device, heading, look.body.stature, error, happens(rng, 0.08 * knobs.box_error), rng)
    figure = draw_figure(look, view, rng.uniform(0, 2 * math.pi), device.light, HEIGHT, WIDTH)
    scene = _behind(device, view, rng)
    layers = [figure]
    if happens(rng, knobs.bystander_rate):
        bystander, in_front = _draw_bystander(knobs, seed, device, view, rng)
        layers.insert(in_front, bystander)
    for layer in layers:
        scene = layer.over(scene)
    if happens(rng, knobs.occluder_rate):
        _occlude(scene, rng)
    return device.develop(scene, rng)


def draw_background(knobs: Knobs, seed: int, camera: int, number: int) -> NDArray[np.uint8]:
    """A box with nobody in it, (128, 64, 3)."""
    device = open_camera(knobs, seed, camera)
    rng = stream(seed, Purpose.BACKGROUND_BOX, camera, number)
    zoom = rng.uniform(0.6, 1.6)
    top, left = (int(rng.integers(0, SIDE - int(length * zoom))) for length in (HEIGHT, WIDTH))
    return device.develop(_piece(device.scenery, top, left, zoom), rng)


def _look_at(device: Camera, heading: float, stature: float, error: float, gross: bool, rng: Generator) -> View:
    """How the detector has framed a person: about centred, 90 % as high as the box."""
    height, width = HEIGHT * FINE, WIDTH * FINE
    scale = math.exp(rng.normal(0, 0.045 * error))
    right, down = rng.normal(0, 0.045 * error) * width, rng.normal(0, 0.022 * error) * height
    if gross:
        scale *= 0.82 if side(rng) < 0 else 1.22
        down += rng.normal(0, 0.05) * height
    pitch = math.radians(device.site.pitch) + rng.normal(0, 0.03)
    seen_height = stature * math.cos(pitch) + 0.16 * math.sin(pitch)
    return View(
        yaw=heading + rng.normal(0, 0.16),
        pitch=pitch,
        ground=(width / 2 + right, height * (0.955 + 0.42 * (scale - 1)) + down),
        pixels_per_metre=0.90 * height / seen_height * scale,
    )


def _behind(device: Camera, view: View, rng: Generator) -> Floats:
    """A piece of scenery with the person's shadow on it, (HEIGHT, WIDTH, 3)."""
    zoom = rng.uniform(0.9, 1.25)
    top = int(0.33 * SIDE - 20 + rng.normal(0, 16))
    top = min(max(top, 0), SIDE - int(HEIGHT * zoom))
    piece = _piece(device.scenery, top, int(rng.integers(0, SIDE - int(WIDTH * zoom))), zoom)
    down = (np.arange(HEIGHT, dtype=np.float32) - np.float32(view.ground[1] / FINE))[:, None] / 4
    across = (np.arange(WIDTH, dtype=np.float32) - np.float32(view.ground[0] / FINE + 3))[None] / 15
    shadow = np.exp(-(down * down)) * np.exp(-(across * across))
    result: Floats = piece * (1 - np.float32(0.45) * shadow)[:, :, None]
    return result


def _piece(scenery: Floats, top: int, left: int, zoom: float) -> Floats:
    """HEIGHT x WIDTH pixels of a place, each `zoom` of its pixels apart."""
    rows = top + (np.arange(HEIGHT) * zoom).astype(np.intp)
    columns = left + (np.arange(WIDTH) * zoom).astype(np.intp)
    return scenery[rows[:, None], columns]


def _draw_bystander(knobs: Knobs, seed: int, device: Camera, view: View, rng: Generator) -> tuple[Layer, bool]:
    """Somebody half beside the person, and whether they are nearer to the camera."""
    number = BYSTANDERS[int(rng.integers(len(BYSTANDERS)))]
    aside = side(rng) * rng.uniform(0.32, 0.55) * WIDTH * FINE
    in_front = happens(rng, 0.4)
    beside = View(
        yaw=view.yaw + rng.normal(0, 1.0),
        pitch=view.pitch,
        ground=(view.ground[0] + aside, view.ground[1] + (10 if in_front else -14)),
        pixels_per_metre=view.pixels_per_metre * (1.03 if in_front else 0.93),
    )
    phase = rng.uniform(0, 2 * math.pi)
    return draw_figure(draw_look(knobs, seed, number), beside, phase, device.light, HEIGHT, WIDTH), in_front


def _occlude(scene: Floats, rng: Generator) -> None:
    """Put a low wall, a pole, the edge of a wall or a railing in front of everything."""
    grey = rng.uniform(40, 200)
    colour = np.array([min(max(grey + rng.normal(0, 16), 10), 240) for _ in range(3)], np.float32)
    kind, place = int(rng.integers(4)), rng.random()
    if kind == 0:
        low_wall = scene[int((0.62 + 0.23 * place) * HEIGHT) :]
        low_wall[:] = low_wall * np.float32(0.1) + colour * np.float32(0.9)
    elif kind == 1:
        left = int((0.1 + 0.8 * place) * WIDTH)
        scene[:, left : left + int(rng.integers(3, 9))] = colour
    elif kind == 2:
        width = int(0.3 * place * WIDTH)
        scene[:, slice(width) if side(rng) < 0 else slice(WIDTH - width, None)] = colour
    else:
        for top in range(int(0.6 * HEIGHT), HEIGHT, 7):
            scene[top : top + 2] = colour
