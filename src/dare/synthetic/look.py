"""What makes up a person, the same in every picture of them."""

from dataclasses import dataclass

from dare.synthetic.colours import Colour


@dataclass(frozen=True, slots=True)
class Body:
    """Stature in metres; lengths and widths as multiples of the average; gait in radians."""

    stature: float
    build: float
    shoulders: float
    hips: float
    legs: float
    belly: float
    stride: float
    lean: float
    arms: str


@dataclass(frozen=True, slots=True)
class Pattern:
    """Of a top: periods in metres, `level` and `width` of a yoke or band as shares of stature."""

    kind: str
    tones: tuple[Colour, Colour]
    band_colour: Colour
    period: float
    phase: float
    seed: int
    level: float
    width: float


@dataclass(frozen=True, slots=True)
class Logo:
    """On chest or back: half size and sideways shift in metres, height as a share of stature."""

    kind: str
    colour: Colour
    half_size: float
    sideways: float
    height: float


@dataclass(frozen=True, slots=True)
class Top:
    """What is worn above; `hem` is a share of stature, `opening_width` too."""

    colour: Colour
    pattern: Pattern
    chest_logo: Logo
    back_logo: Logo
    opening: str
    opening_width: float
    inner_colour: Colour
    sleeves: str
    sleeve_colour: Colour | None
    cuff_colour: Colour | None
    hem: float
    coat: bool


@dataclass(frozen=True, slots=True)
class Bottom:
    """What is worn below, shoes included; `width` is a multiple of the leg's."""

    kind: str
    colour: Colour
    pattern: str
    tones: tuple[Colour, Colour]
    width: float
    side_stripe: Colour | None
    tights: Colour | None
    socks: Colour
    shoes: Colour
    soles: Colour | None


@dataclass(frozen=True, slots=True)
class Head:
    """Skin (hands and legs too), hair and hat."""

    skin: Colour
    haircut: str
    hair: Colour
    hat: Colour


@dataclass(frozen=True, slots=True)
class Bag:
    """`size` is a multiple of the usual; `side` is 1 for the person's left and -1 for the right."""

    kind: str
    colour: Colour
    pocket_colour: Colour
    size: float
    side: int


@dataclass(frozen=True, slots=True)
class Look:
    """Everything that makes up a person; `easy` says that the outfit alone is telling."""

    easy: bool
    body: Body
    top: Top
    bottom: Bottom
    head: Head
    bag: Bag
