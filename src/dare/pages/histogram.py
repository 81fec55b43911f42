"""How far apart pairs of one person and pairs of two are, as two areas over the distance."""

import numpy as np
from numpy.typing import NDArray

from dare.pages.charts import Axes, text, ticks


def pair_histogram(
    name: str,
    edges: NDArray[np.floating],
    same: NDArray[np.integer],
    other: NDArray[np.integer],
    *,
    unit: str = "distance",
    threshold: float | None = None,
    meaning: str = "",
) -> str:
    """Shares of the pairs in equally wide bins; each of the two areas has the size 1, however many pairs it stands for.

    Args:
        name: what is measured, as "stage 1".
        edges: (B + 1,), of the bins.
        same, other: (B,), counts of pairs of one person, and of two.
        unit: what the horizontal axis says.
        threshold: a distance to be marked.
        meaning: what is written beside the mark.
    """
    shares = [counts / max(1, counts.sum()) for counts in (same, other)]
    highest = max(1e-9, *(float(share.max(initial=0)) for share in shares))
    axes = Axes((float(edges[0]), float(edges[-1])), (0, 1.2 * highest), 280, 180, left=8, right=8)
    parts = axes.frame(ticks(*axes.x, 5), [], unit)
    floor = axes.down(0)
    parts.append(
        f'<line class="grid" x1="{axes.left}" x2="{axes.width - axes.right}" y1="{floor:.1f}" y2="{floor:.1f}"/>'
    )
    corners = np.concatenate([edges[:1], np.repeat(edges[1:-1], 2), edges[-1:]])
    for kind, share in zip(("other", "same"), reversed(shares), strict=True):
        outline = axes.points([edges[0], *corners, edges[-1]], [0, *np.repeat(share, 2), 0])
        parts.append(f'<polygon class="area {kind}" points="{outline}"/>')
    described = [
        f"{counts.sum()} pairs of {whom}, median {_middle(edges, counts):.3g}"
        for counts, whom in ((same, "one person"), (other, "two"))
    ]
    if threshold is not None and axes.x[0] <= threshold <= axes.x[1]:
        x = axes.across(threshold)
        parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{axes.top}" y2="{floor:.1f}"/>')
        late = x > axes.width / 2
        parts.append(text(x + (-6 if late else 6), axes.top + 10, meaning, "tick", anchor="end" if late else "start"))
        described.append(f"mark at {threshold:.3g}: {meaning}")
    return axes.drawing(f"Distances at {name}: " + "; ".join(described), parts)


def _middle(edges: NDArray[np.floating], counts: NDArray[np.integer]) -> float:
    """The median's bin, by its middle; NaN of no pairs."""
    if not counts.any():
        return float("nan")
    bin = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2))
    return float(edges[bin] + edges[bin + 1]) / 2
