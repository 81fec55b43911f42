"""A network of torch as one ONNX graph per step."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from dare.exporting.quiet import quiet
from dare.models.dare import DaRe, Step

INPUT, FEATURES, VECTORS = "input", "features", "vectors"
"""Names of a graph's ports."""


class _Part(nn.Module):
    """A step as a function of its input alone."""

    def __init__(self, step: Step, is_last: bool) -> None:
        super().__init__()
        self.step, self.is_last = step, is_last

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        features = self.step(features)
        vectors = () if self.step.head is None else (self.step.embed(features),)
        return vectors if self.is_last else (features, *vectors)


def step_graphs(model: DaRe, height: int, width: int) -> Iterator[Any]:
    """An `onnx.ModelProto` per step, for batches of any size: its feature map and, of a tapped step, its vectors.

    The last step gives its vectors alone. Batch norms are folded into convolutions where these are beside each other.

    Args:
        model: in evaluation mode, on the CPU.
        height, width: of the pictures, in pixels.
    """
    features = torch.zeros(2, 3, height, width)  # a batch of one would be taken as the only size there is
    for number, step in enumerate(model.steps, start=1):
        assert isinstance(step, Step)
        is_last = number == len(model.steps)
        outputs = [*([] if is_last else [FEATURES]), *([] if step.head is None else [VECTORS])]
        with torch.no_grad(), quiet():
            program = torch.onnx.export(
                _Part(step, is_last).eval(),
                (features,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
                input_names=[INPUT],
                output_names=outputs,
                external_data=False,
                verbose=False,
            )
            assert program is not None
            features = step(features)
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
