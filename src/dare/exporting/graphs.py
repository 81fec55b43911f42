"""A network of torch as one ONNX graph per tapped stage."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from dare.models.dare import DaRe, Step

INPUT, FEATURES, VECTORS = "input", "features", "vectors"
"""Names of a graph's ports."""


class _Part(nn.Module):
    """Stages up to a tapped one, as a function of their input alone."""

    def __init__(self, steps: Sequence[nn.Module], is_last: bool) -> None:
        super().__init__()
        self.steps, self.is_last = nn.ModuleList(steps), is_last

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        for step in self.steps:
            features = step(features)
        assert isinstance(step, Step)
        vectors = step.embed(features)
        return (vectors,) if self.is_last else (features, vectors)


def step_graphs(model: DaRe, height: int, width: int) -> Iterator[Any]:
    """An `onnx.ModelProto` per tapped stage, for batches of any size: its feature map and its vectors.

    A stage without a tap is in the graph of the next one that has one: handing a feature map over takes time. The last
    graph gives its vectors alone. Batch norms are folded into convolutions where these are beside each other.

    Args:
        model: in evaluation mode, on the CPU.
        height, width: of the pictures, in pixels.
    """
    features = torch.zeros(2, 3, height, width)  # a batch of one would be taken as the only size there is
    for before, tap in pairwise((0, *model.taps)):
        is_last = tap == model.taps[-1]
        part = _Part([*model.steps][before:tap], is_last).eval()
        with torch.no_grad(), quiet():
            program = torch.onnx.export(
                part,
                (features,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
                input_names=[INPUT],
                output_names=[VECTORS] if is_last else [FEATURES, VECTORS],
                external_data=False,
                verbose=False,
            )
            assert program is not None
            features = part(features)[0]
        yield _bare(program.model_proto)


def _bare(graph: Any) -> Any:
    """Without the lines of source, with their paths on this machine, that every node came from."""
    graph.ClearField("metadata_props")
    for part in (graph.graph, *graph.graph.node, *graph.graph.value_info, *graph.graph.input, *graph.graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for function in graph.functions:
        for part in (function, *function.node):
            part.ClearField("metadata_props")
            part.ClearField("doc_string")
    return graph


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No warnings, log lines or progress bars of exporters and quantizers; what they raise comes through.

    They are meant for those who write such tools, and name internals that nobody here can change.
    """
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        words = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stdout(words), contextlib.redirect_stderr(words):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
