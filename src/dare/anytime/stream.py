"""A whole stream from stored confidences."""

import numpy as np
from numpy.typing import NDArray

from dare.anytime.policies import ExitPolicy


def replay(confidences: NDArray[np.floating], policy: ExitPolicy) -> NDArray[np.int64]:
    """The exit, counted from 0, at which each query of a stream leaves.

    Args:
        confidences: (E, Q), in the stream's order; those at the last exit are not looked at.
        policy: a new one; its state goes on with the stream.

    Returns:
        (Q,).
    """
    rows = np.asarray(confidences)
    if rows.ndim != 2 or not len(rows):
        raise ValueError(f"expected confidences (E, Q), got shape {rows.shape}")
    last = len(rows) - 1
    exits = np.full(rows.shape[1], last, np.int64)
    for query, column in enumerate(rows[:-1].T.tolist()):
        for exit, confidence in enumerate(column):
            if policy.stops(exit, confidence):
                exits[query] = exit
                break
    return exits
