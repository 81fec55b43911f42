"""TriNet: one vector behind the last stage, trained with the triplet loss.

Source: Hermans et al., "In Defense of the Triplet Loss for Person Re-Identification", 2017.
"""

from collections.abc import Sequence

from dare.models.dare import DaRe
from dare.models.stage import Stage


def trinet(stages: Sequence[Stage], embedding_dim: int = 128, hidden_dim: int = 1024) -> DaRe:
    """The same as `DaRe(stages, taps=[4], fusion=False)`, for any number of stages."""
    return DaRe(stages, embedding_dim, hidden_dim, taps=[len(stages)], fusion=False)
