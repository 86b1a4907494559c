"""The layers of a member as a page shows them: bits, ranges, bytes, products, histograms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from qbnnc.inspection.page.histogram import Histogram, number, of_codes, of_reals
from qbnnc.inspection.size import macs
from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.model import Model
from qbnnc.ir.types import CONSTANT, Array, Axis, QuantParams

_NAMES = ("mu", "sigma")


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A layer with weights.

    `weights` are its constants by name: "weights", or "mu" and "sigma" of sampled ones. `made` is
    the value that its accumulators become, after what follows them. `share` is that of all
    multiply-accumulates of a row with all of a member's samples.
    """

    node: Node
    weights: Mapping[str, Value]
    made: Value
    macs: int
    runs: int
    share: float
    nbytes: int

    @property
    def name(self) -> str:
        return self.node.output.name

    @property
    def sampled(self) -> bool:
        return "sigma" in self.weights


def layers(model: Model) -> tuple[Layer, ...]:
    """The layers of the first member, in the order in which they run."""
    graph = model.graph
    nodes = [node for node in graph.nodes if macs(node)]
    total = sum(macs(node) * _runs(node, model.draws) for node in nodes)
    producers, readers = graph.producers(), graph.consumers()
    return tuple(
        Layer(
            node,
            _weights(node, producers),
            _made(node, readers),
            macs(node),
            _runs(node, model.draws),
            macs(node) * _runs(node, model.draws) / total,
            _nbytes(node, graph, producers),
        )
        for node in nodes
    )


def merged(node: Node, readers: Mapping[Value, list[Node]]) -> Node | None:
    """The node that turns accumulators into codes or numbers, if nothing else reads them."""
    found = readers.get(node.output, [])
    if len(found) != 1 or not node.op.makes_accumulators:
        return None
    computed = [value for value in found[0].inputs if value.type.axes != CONSTANT]
    return found[0] if computed == [node.output] else None


def weight_histograms(layer: Layer, graph: Graph) -> Iterator[tuple[str, Histogram]]:
    """A histogram of each constant: "Weight codes", or "Codes of mu" and of sigma."""
    for name, value in layer.weights.items():
        array = graph.constants.get(value)
        if array is not None and array.size:
            what = "values" if value.type.quant is None else "codes"
            title = f"Weight {what}" if name == "weights" else f"{what.capitalize()} of {name}"
            yield title, histogram_of(array, value)


def histogram_of(array: Array, value: Value) -> Histogram:
    """The histogram of a value's codes, or of its real numbers.

    Codes of weights whose channels have zero points of their own may leave low..high.
    """
    quant = value.type.quant
    if quant is None or array.dtype.kind == "f":
        return of_reals(array)
    low, high = min(quant.low, int(array.min())), max(quant.high, int(array.max()))
    return of_codes(array, low, high)


def bits_of(value: Value) -> str:
    """ "8 bits" of codes, otherwise the element type: "float32", "int32"."""
    quant = value.type.quant
    if quant is None or quant.bits > 8:
        return value.type.dtype.numpy.name
    return f"{quant.bits} bits"


def scale_text(quant: QuantParams | None) -> str:
    """The scale, or the least and the greatest over the channels."""
    return "–" if quant is None else _span(min(quant.scale), max(quant.scale))


def zero_text(quant: QuantParams | None) -> str:
    return "–" if quant is None else _span(min(quant.zero_point), max(quant.zero_point))


def range_text(quant: QuantParams | None) -> str:
    """The real numbers that the codes reach, over all channels; none of accumulators."""
    if quant is None or quant.bits > 8:
        return "–"
    pairs = list(zip(quant.scale, quant.zero_point, strict=True))
    low = min(scale * (quant.low - zero) for scale, zero in pairs)
    high = max(scale * (quant.high - zero) for scale, zero in pairs)
    return f"{number(low, 3)} to {number(high, 3)}"


def _span(low: float, high: float) -> str:
    return number(low, 3) if low == high else f"{number(low, 3)} to {number(high, 3)}"


def _runs(node: Node, draws: int) -> int:
    return draws if Axis.SAMPLE in node.output.type.axes else 1


def _weights(node: Node, producers: Mapping[Value, Node]) -> dict[str, Value]:
    weight = node.inputs[1]
    if weight not in producers:
        return {"weights": weight}
    return dict(zip(_NAMES, producers[weight].inputs[:2], strict=True))


def _made(node: Node, readers: Mapping[Value, list[Node]]) -> Value:
    after = merged(node, readers)
    return node.output if after is None else after.output


def _nbytes(node: Node, graph: Graph, producers: Mapping[Value, Node]) -> int:
    """Bytes of the constants that only make this layer's weights and bias."""
    found = [v for i in node.inputs[1:3] for v in (producers[i].inputs if i in producers else (i,))]
    return sum(graph.constants[v].nbytes for v in dict.fromkeys(found) if v in graph.constants)
