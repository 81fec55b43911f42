"""What tells one person from two, as a drawing: distances of both kinds of pairs, and the errors of every threshold."""

from pathlib import Path

import numpy as np

from dare.experiments.plots import BLACK, BLUE, GREEN, ORANGE, PURPLE, RED, new_figure, tidy, write_figure
from dare.verification.verifier import Verifier

COLOURS = (ORANGE, GREEN, PURPLE, BLUE, BLACK)
BINS = 60
LEAST_RATE = 1e-5


def write_errors(verifier: Verifier, path: str | Path) -> list[Path]:
    """Write NAME.png and NAME.svg: histograms at the last exit, and a DET curve of each exit, on the other people.

    Raises:
        ImportError: without matplotlib.
    """
    path = Path(path)
    figure = new_figure(10.4, 4.2)
    histogram, det = figure.subplots(1, 2)
    last = verifier.exits[-1]
    distances = last.curve.distances
    edges = np.linspace(distances[0], distances[-1], BINS + 1)
    impostors = np.interp(edges, distances, last.curve.false_match)
    genuine = np.interp(edges, distances, 1 - last.curve.false_non_match)
    for name, shares, colour in (("one person, two cameras", genuine, BLUE), ("two people", impostors, RED)):
        histogram.stairs(100 * np.diff(shares), edges, color=colour, fill=True, alpha=0.5, label=name)
    histogram.axvline(last.threshold.distance, color=BLACK, linestyle="--", label="threshold")
    tidy(histogram, "percent of the pairs")
    unit = "distance of vectors of length 1" if verifier.distance == "cosine" else "Euclidean distance"
    histogram.set_xlabel(f"{unit} at {last.name}")
    histogram.set_ylim(bottom=0)
    histogram.legend(frameon=False, fontsize="small")
    for number, at in enumerate(verifier.exits):
        shown = at.curve.false_match >= LEAST_RATE
        colour = COLOURS[number % len(COLOURS)]
        det.plot(100 * at.curve.false_match[shown], 100 * at.curve.false_non_match[shown], color=colour, label=at.name)
        rates = at.measured
        det.plot(100 * rates.false_match.value, 100 * rates.false_non_match.value, "o", color=colour)
    tidy(det, "percent of one person's pairs that are missed")
    det.set_xscale("log")
    det.set_ylim(0, 100)
    det.set_xlabel("percent of two people's pairs that match; dots: the thresholds")
    det.legend(frameon=False, fontsize="small")
    name = path.stem if path.suffix in (".png", ".svg") else path.name
    return write_figure(figure, path.parent, name)
