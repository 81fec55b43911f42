"""Drawing people at random: build, clothes, hair and bag.

Easy people wear a vivid outfit that hardly anybody else has. Hard people wear one of a few common pairs of
colours and differ in what deeper stages can see: patterns, logos, sleeves, hems, bags, hair, build and gait.
"""

import functools

from numpy.random import Generator

from dare.synthetic.chance import Purpose, happens, pick, side, stream
from dare.synthetic.knobs import Knobs
from dare.synthetic.look import (
    HAIR,
    PALETTE,
    SKIN,
    Bag,
    Body,
    Bottom,
    Colour,
    Head,
    Logo,
    Look,
    Pattern,
    Top,
    brightened,
    evenly,
    two_tones,
    varied,
)

VIVID = evenly("sky blue teal green lime yellow orange red maroon pink magenta purple cream olive")
BELOW_VIVID = evenly("black charcoal grey white navy jeans blue olive red brown beige khaki green purple")

# Some pairs are each other's swap, so that the colours alone, without their place, do not tell them apart.
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
    PALETTE[name]: share
    for name, share in {
        "black": 0.26,
        "charcoal": 0.14,
        "navy": 0.14,
        "red": 0.10,
        "brown": 0.14,
        "green": 0.08,
        "beige": 0.08,
        "pink": 0.06,
    }.items()
}


@functools.lru_cache(maxsize=64)  # a person's pictures are drawn one after the other
def draw_look(knobs: Knobs, seed: int, person: int) -> Look:
    """The look of a person, labelled or not; it depends on the arguments alone."""
    rng = stream(seed, Purpose.LOOK, person)
    easy = happens(rng, knobs.easy_share)
    if easy:
        above, below = varied(pick(rng, VIVID), rng, 12), varied(pick(rng, BELOW_VIVID), rng, 10)
    else:
        names = OUTFITS[int(rng.integers(knobs.outfits))]
        above, below = (varied(PALETTE[name], rng, knobs.outfit_noise) for name in names)
    return Look(
        easy,
        _draw_body(rng),
        _draw_top(rng, above, knobs.detail),
        _draw_bottom(rng, below, knobs.detail),
        _draw_head(rng),
        _draw_bag(rng),
    )


def _draw_body(rng: Generator) -> Body:
    return Body(
        stature=_normal(rng, 1.72, 0.08, 1.45, 2.0),
        build=_normal(rng, 1, 0.12, 0.78, 1.35),
        shoulders=_normal(rng, 1, 0.07, 0.85, 1.18),
        hips=_normal(rng, 1, 0.07, 0.85, 1.2),
        legs=_normal(rng, 1, 0.03, 0.93, 1.07),
        belly=_normal(rng, 0, 0.035, 0, 0.1),
        stride=rng.uniform(0.3, 0.55),
        lean=_normal(rng, 0.03, 0.03, -0.06, 0.12),
        arms=pick(rng, ARMS),
    )


def _normal(rng: Generator, mean: float, deviation: float, low: float, high: float) -> float:
    return min(max(rng.normal(mean, deviation), low), high)


def _draw_top(rng: Generator, colour: Colour, detail: float) -> Top:
    pattern = _draw_pattern(rng, colour, detail)
    return Top(
        colour=colour,
        pattern=pattern,
        chest_logo=_draw_logo(rng),
        back_logo=_draw_logo(rng),
        opening=pick(rng, OPENINGS),
        opening_width=rng.uniform(0.03, 0.075),
        inner_colour=pick(rng, INNER_COLOURS),
        sleeves=pick(rng, SLEEVES),
        sleeve_colour=two_tones(colour, rng, detail)[int(rng.integers(2))] if happens(rng, 0.3) else None,
        cuff_colour=pattern.band_colour if happens(rng, 0.2) else None,
        hem=rng.uniform(0.455, 0.53),
        coat=happens(rng, 0.12),
    )


def _draw_pattern(rng: Generator, colour: Colour, detail: float) -> Pattern:
    band = brightened(colour, side(rng) * rng.uniform(45, 80) * detail)
    return Pattern(
        kind=pick(rng, PATTERNS),
        tones=two_tones(colour, rng, detail),
        band_colour=varied(band, rng, 10 * detail),
        period=rng.uniform(0.055, 0.13),
        phase=rng.random(),
        seed=int(rng.integers(1 << 20)),
        level=rng.uniform(0.60, 0.74),
        width=rng.uniform(0.03, 0.06),
    )


def _draw_logo(rng: Generator) -> Logo:
    return Logo(
        kind=pick(rng, LOGOS),
        colour=pick(rng, LOGO_COLOURS),
        half_size=rng.uniform(0.035, 0.085),
        sideways=0.07 * int(rng.integers(-1, 2)),
        height=rng.uniform(0.66, 0.75),
    )


def _draw_bottom(rng: Generator, colour: Colour, detail: float) -> Bottom:
    return Bottom(
        kind=pick(rng, BOTTOMS),
        colour=colour,
        pattern=pick(rng, BOTTOM_PATTERNS),
        tones=two_tones(colour, rng, detail),
        width=rng.uniform(0.9, 1.2),
        side_stripe=pick(rng, SIDE_STRIPES) if happens(rng, 0.2) else None,
        tights=PALETTE["black"] if happens(rng, 0.4) else None,
        socks=pick(rng, SOCKS),
        shoes=varied(pick(rng, SHOES), rng, 5),
        soles=PALETTE["white"] if happens(rng, 0.35) else None,
    )


def _draw_head(rng: Generator) -> Head:
    return Head(
        skin=varied(SKIN[int(rng.integers(len(SKIN)))], rng, 4),
        haircut=pick(rng, HAIRCUTS),
        hair=varied(pick(rng, HAIR), rng, 4),
        hat=pick(rng, HATS),
    )


def _draw_bag(rng: Generator) -> Bag:
    colour = varied(pick(rng, BAG_COLOURS), rng, 6)
    return Bag(
        kind=pick(rng, BAGS),
        colour=colour,
        pocket_colour=brightened(colour, 45 * side(rng)),
        size=rng.uniform(0.85, 1.2),
        side=side(rng),
    )
