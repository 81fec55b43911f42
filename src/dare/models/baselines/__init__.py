"""What the paper compares with (its table 1): other networks behind the interface of `DaRe`, with one exit each."""

from collections.abc import Callable

from dare.models.aligned import mscan, pan
from dare.models.baselines import ide, svdnet, trinet
from dare.models.dare import DaRe
from dare.models.st_rnn import st_rnn

BASELINES: dict[str, Callable[..., DaRe]] = {
    "trinet": trinet,
    "ide": ide,
    "svdnet": svdnet,
    "pan": pan,
    "mscan": mscan,
    "st-rnn": st_rnn,
}
"""Name -> builder, which takes the stages of a backbone and `embedding_dim`."""

HEADED = ("trinet", "st-rnn")
"""Those whose vector comes from a head as DaRe's; their builders take `hidden_dim`."""

TRACKLETS = ("st-rnn",)
"""Those that make one vector of several pictures; their builders take `frames`, how many."""

CLASSIFIED: dict[str, tuple[str, ...]] = {
    "ide": ("identity",),
    "svdnet": ("identity",),
    "pan": ("base", "aligned"),
    "mscan": ("body", "parts"),
}
"""Those that learn by classifying the training people -> the parts of the vector, of one size, that are classified by.
The others learn by triplets."""
