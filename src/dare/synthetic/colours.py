"""Colours of people and their clothes: red, green and blue from 0 to 255."""

from numpy.random import Generator

Colour = tuple[float, float, float]

PALETTE: dict[str, Colour] = {
    "black": (34, 34, 38),
    "charcoal": (62, 62, 66),
    "grey": (120, 120, 122),
    "white": (222, 222, 220),
    "navy": (38, 46, 84),
    "jeans": (66, 86, 128),
    "sky": (120, 165, 215),
    "blue": (40, 80, 190),
    "teal": (30, 130, 135),
    "green": (40, 140, 60),
    "olive": (92, 96, 58),
    "lime": (160, 205, 60),
    "yellow": (225, 200, 50),
    "orange": (230, 125, 40),
    "red": (190, 40, 42),
    "maroon": (105, 34, 44),
    "pink": (228, 140, 170),
    "magenta": (190, 50, 140),
    "purple": (105, 60, 150),
    "brown": (98, 68, 48),
    "beige": (196, 176, 140),
    "khaki": (150, 132, 96),
    "cream": (232, 220, 190),
}

SKIN: tuple[Colour, ...] = ((232, 196, 170), (214, 170, 138), (186, 138, 104), (140, 98, 70), (98, 66, 48))

HAIR: dict[Colour, float] = {
    (24, 20, 20): 0.35,
    (52, 36, 28): 0.25,
    (92, 62, 38): 0.18,
    (170, 132, 80): 0.10,
    (130, 126, 124): 0.06,
    (120, 52, 30): 0.06,
}
"""Colour -> share of people."""


def evenly(names: str) -> dict[Colour, float]:
    """The named colours, equally often; a name that comes twice, twice as often."""
    words = names.split()
    return {PALETTE[name]: words.count(name) / len(words) for name in words}


def varied(colour: Colour, rng: Generator, spread: float) -> Colour:
    """The colour as this person happens to have it: each channel and all of them together are a little off."""
    brighter = rng.normal(0, spread)
    red, green, blue = (_within(level + rng.normal(0, spread) + brighter, 8, 245) for level in colour)
    return red, green, blue


def brightened(colour: Colour, by: float) -> Colour:
    """All channels raised by some levels, and kept within what cloth can be."""
    red, green, blue = (_within(level + by, 5, 250) for level in colour)
    return red, green, blue


def two_tones(colour: Colour, rng: Generator, contrast: float) -> tuple[Colour, Colour]:
    """A darker and a lighter tone whose mean is the colour, so that a colour histogram does not show the pattern.

    Near black and white both tones are moved just far enough to stay within range.
    """
    apart = rng.uniform(28, 48) * contrast * (1 + 0.006 * sum(colour) / 3)
    dark, light = min(colour) - apart / 2, max(colour) + apart / 2
    moved = max(0.0, 10 - dark) - max(0.0, light - 246)
    return brightened(colour, moved - apart / 2), brightened(colour, moved + apart / 2)


def _within(level: float, low: float, high: float) -> float:
    return min(max(level, low), high)
