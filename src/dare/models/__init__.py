"""What sees: backbones cut into stages, and DaRe on top of them."""

from dare.models.backbones import BACKBONES as BACKBONES
from dare.models.dare import DaRe as DaRe
from dare.models.dare import StageEmbeddings as StageEmbeddings
from dare.models.dare import count_macs as count_macs
from dare.models.stage import Stage as Stage
