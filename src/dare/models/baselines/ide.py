"""IDE: a network that was trained to tell the training people apart; what it classifies by is the vector.

The classifier belongs to the training (`dare.training.objectives`), so neither the checkpoint nor the cost has it.

Source: Zheng et al., "Person Re-identification: Past, Present and Future", 2016. Simplified: trained with Adam on
batches of people, as everything here, instead of SGD on shuffled pictures.
"""

from collections.abc import Sequence

from torch import nn

from dare.models.dare import DaRe
from dare.models.stage import Stage


def ide(stages: Sequence[Stage], embedding_dim: int = 0) -> DaRe:
    """One exit behind the last stage.

    Args:
        embedding_dim: 0 takes the pooled features as they are, IDE(R)'s 2048. Others come from a linear layer and a
            ReLU: IDE(C)'s 1024 behind the convolutions of CaffeNet.
    """

    def head(channels: int) -> nn.Module:
        return nn.Sequential(nn.Linear(channels, embedding_dim), nn.ReLU()) if embedding_dim else nn.Identity()

    return DaRe(stages, taps=[len(stages)], fusion=False, head=head)
