"""A benchmark that is drawn, not downloaded: articulated people, six cameras, the layout of Market-1501."""

from dare.datasets.synthetic.draw import draw_benchmark as draw_benchmark
from dare.datasets.synthetic.recipe import SIZES as SIZES
from dare.datasets.synthetic.recipe import Recipe as Recipe
from dare.datasets.synthetic.scene import draw_picture as draw_picture
