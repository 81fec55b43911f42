"""A benchmark that is drawn, not downloaded: articulated people, six cameras, the layout of Market-1501."""

from dare.synthetic.benchmark import draw_benchmark as draw_benchmark
from dare.synthetic.knobs import SIZES as SIZES
from dare.synthetic.knobs import Knobs as Knobs
from dare.synthetic.scene import draw_picture as draw_picture
