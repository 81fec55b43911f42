"""What makes up a person, the same in every picture of them: build, clothes, hair and bag, drawn at random.

Easy people wear a vivid outfit that hardly anybody else has. Hard people wear one of a few common pairs of
colours and differ in what deeper stages can see: patterns, logos, sleeves, hems, bags, hair, build and gait.
"""

import functools

from numpy.random import Generator

from dare.synthetic.chance import Purpose, happens, pick, side, stream
from dare.synthetic.colours import HAIR, PALETTE, SKIN, Colour, brightened, evenly, two_tones, varied
from dare.synthetic.knobs import Knobs

VIVID = evenly("sky blue teal green lime yellow orange red maroon pink magenta purple cream olive")
BELOW_VIVID = evenly("black charcoal grey white navy jeans blue olive red brown beige khaki green purple")

# Some pairs are each other's swap, so that colours without their place do not tell them apart.
OUTFITS = (
    ("black", "jeans"),
    ("grey", "black"),
    ("white", "jeans"),
    ("navy", "khaki"),
    ("black", "black"),
    ("white", "black"),
    ("jeans", "black"),
    ("khaki", "navy"),
    ("grey", "jeans"),
    ("black", "grey"),
)

# Kinds and how often each is seen.
ARMS = {"swinging": 0.75, "in pockets": 0.15, "phone": 0.10}
PATTERNS = {
    "plain": 0.22,
    "stripes across": 0.12,
    "stripes down": 0.09,
    "checks": 0.09,
    "dots": 0.09,
    "camouflage": 0.09,
    "diagonals": 0.08,
    "band": 0.09,
    "yoke": 0.07,
    "wide stripes": 0.06,
}
LOGOS = {"none": 0.40, "square": 0.12, "disc": 0.12, "cross": 0.12, "bars": 0.12, "triangle": 0.12}
OPENINGS = {"closed": 0.45, "zip": 0.20, "open": 0.25, "buttons": 0.10}
SLEEVES = {"long": 0.55, "short": 0.30, "three-quarter": 0.10, "none": 0.05}
BOTTOMS = {"trousers": 0.60, "shorts": 0.16, "skirt": 0.14, "cropped": 0.10}
BOTTOM_PATTERNS = {"plain": 0.60, "checks": 0.08, "stripes down": 0.08, "faded": 0.14, "knee patch": 0.10}
HAIRCUTS = {
    "short": 0.36,
    "long": 0.16,
    "ponytail": 0.09,
    "bun": 0.06,
    "bald": 0.05,
    "bob": 0.08,
    "cap": 0.09,
    "hood": 0.06,
    "afro": 0.05,
}
BAGS = {"none": 0.42, "backpack": 0.24, "shoulder bag": 0.14, "handbag": 0.12, "case": 0.08}

LOGO_COLOURS = evenly("white red yellow black sky green")
INNER_COLOURS = evenly("white grey black sky maroon cream")
SIDE_STRIPES = evenly("white red black yellow")
SOCKS = evenly("white black grey")
SHOES = evenly("black black white brown grey red navy")
HATS = evenly("black white red navy khaki")
BAG_COLOURS = {
    "black": 0.26,
    "charcoal": 0.14,
    "navy": 0.14,
    "red": 0.10,
    "brown": 0.14,
    "green": 0.08,
    "beige": 0.08,
    "pink": 0.06,
}


@functools.lru_cache(maxsize=64)  # a person's pictures are drawn one after the other
def draw_look(knobs: Knobs, seed: int, person: int) -> "Look":
    """The look of a person, labelled or not; it depends on nothing but the arguments."""
    return Look(knobs, stream(seed, Purpose.LOOK, person))


class Look:
    """Everything that makes up a person; `easy` says that the outfit alone is telling.

    Attributes of looks and their parts are drawn in the order in which they stand: another order is another person.
    """

    def __init__(self, knobs: Knobs, rng: Generator) -> None:
        self.easy = happens(rng, knobs.easy_share)
        if self.easy:
            above, below = varied(pick(rng, VIVID), rng, 12), varied(pick(rng, BELOW_VIVID), rng, 10)
        else:
            names = OUTFITS[int(rng.integers(knobs.outfits))]
            above, below = (varied(PALETTE[name], rng, knobs.outfit_noise) for name in names)
        self.body = Body(rng)
        self.top = Top(rng, above, knobs.detail)
        self.bottom = Bottom(rng, below, knobs.detail)
        self.head = Head(rng)
        self.bag = Bag(rng)


class Body:
    """Stature in metres; lengths and widths as multiples of the average; gait in radians."""

    def __init__(self, rng: Generator) -> None:
        self.stature = _normal(rng, 1.72, 0.08, 1.45, 2.0)
        self.build = _normal(rng, 1, 0.12, 0.78, 1.35)
        self.shoulders = _normal(rng, 1, 0.07, 0.85, 1.18)
        self.hips = _normal(rng, 1, 0.07, 0.85, 1.2)
        self.legs = _normal(rng, 1, 0.03, 0.93, 1.07)
        self.belly = _normal(rng, 0, 0.035, 0, 0.1)
        self.stride = rng.uniform(0.3, 0.55)
        self.lean = _normal(rng, 0.03, 0.03, -0.06, 0.12)
        self.arms = pick(rng, ARMS)


def _normal(rng: Generator, mean: float, deviation: float, low: float, high: float) -> float:
    return min(max(rng.normal(mean, deviation), low), high)


class Top:
    """What is worn above; `hem` is a share of stature, `opening_width` too."""

    def __init__(self, rng: Generator, colour: Colour, detail: float) -> None:
        self.colour = colour
        self.pattern = Pattern(rng, colour, detail)
        self.chest_logo, self.back_logo = Logo(rng), Logo(rng)
        self.opening = pick(rng, OPENINGS)
        self.opening_width = rng.uniform(0.03, 0.075)
        self.inner_colour = pick(rng, INNER_COLOURS)
        self.sleeves = pick(rng, SLEEVES)
        self.sleeve_colour = two_tones(colour, rng, detail)[int(rng.integers(2))] if happens(rng, 0.3) else None
        self.cuff_colour = self.pattern.band_colour if happens(rng, 0.2) else None
        self.hem = rng.uniform(0.455, 0.53)
        self.coat = happens(rng, 0.12)


class Pattern:
    """Of a top: periods in metres, `level` and `width` of a yoke or band as shares of stature."""

    def __init__(self, rng: Generator, colour: Colour, detail: float) -> None:
        band = brightened(colour, side(rng) * rng.uniform(45, 80) * detail)
        self.kind = pick(rng, PATTERNS)
        self.tones = two_tones(colour, rng, detail)
        self.band_colour = varied(band, rng, 10 * detail)
        self.period = rng.uniform(0.055, 0.13)
        self.phase = rng.random()
        self.seed = int(rng.integers(1 << 20))
        self.level = rng.uniform(0.60, 0.74)
        self.width = rng.uniform(0.03, 0.06)


class Logo:
    """On chest or back: half size and sideways shift in metres, height as a share of stature."""

    def __init__(self, rng: Generator) -> None:
        self.kind = pick(rng, LOGOS)
        self.colour = pick(rng, LOGO_COLOURS)
        self.half_size = rng.uniform(0.035, 0.085)
        self.sideways = 0.07 * int(rng.integers(-1, 2))
        self.height = rng.uniform(0.66, 0.75)


class Bottom:
    """What is worn below, shoes included; `width` is a multiple of the leg's."""

    def __init__(self, rng: Generator, colour: Colour, detail: float) -> None:
        self.kind = pick(rng, BOTTOMS)
        self.colour = colour
        self.pattern = pick(rng, BOTTOM_PATTERNS)
        self.tones = two_tones(colour, rng, detail)
        self.width = rng.uniform(0.9, 1.2)
        self.side_stripe = pick(rng, SIDE_STRIPES) if happens(rng, 0.2) else None
        self.tights = PALETTE["black"] if happens(rng, 0.4) else None
        self.socks = pick(rng, SOCKS)
        self.shoes = varied(pick(rng, SHOES), rng, 5)
        self.soles = PALETTE["white"] if happens(rng, 0.35) else None


class Head:
    """Skin (hands and legs too), hair and hat."""

    def __init__(self, rng: Generator) -> None:
        self.skin = varied(SKIN[int(rng.integers(len(SKIN)))], rng, 4)
        self.haircut = pick(rng, HAIRCUTS)
        self.hair = varied(pick(rng, HAIR), rng, 4)
        self.hat = pick(rng, HATS)


class Bag:
    """`size` is a multiple of the usual; `side` is 1 for the person's left and -1 for the right."""

    def __init__(self, rng: Generator) -> None:
        self.colour = varied(PALETTE[pick(rng, BAG_COLOURS)], rng, 6)
        self.kind = pick(rng, BAGS)
        self.pocket_colour = brightened(self.colour, 45 * side(rng))
        self.size = rng.uniform(0.85, 1.2)
        self.side = side(rng)
