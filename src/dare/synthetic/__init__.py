"""A benchmark that is drawn, not downloaded: articulated people, six cameras, the layout of Market-1501."""

from dare.synthetic.draw import draw_benchmark as draw_benchmark
from dare.synthetic.recipe import SIZES as SIZES
from dare.synthetic.recipe import Recipe as Recipe
from dare.synthetic.scene import draw_picture as draw_picture
