"""The codes that each value of an INTEGER graph can take: one look at each op, in order."""

from __future__ import annotations

from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.ops import Choice, ClampedOp, EmbeddingCodes, MaxPool2d, MaxUnpool
from qbnnc.ir.types import QuantParams

Range = tuple[int, int]


class CodeRanges:
    """The least and greatest code of each value that has codes."""

    def __init__(self, graph: Graph) -> None:
        self._known: dict[Value, Range] = {}
        for value in graph.constants:
            if (quant := value.type.quant) is not None:
                self._known[value] = quant.low, quant.high
        for node in graph.nodes:
            if (quant := node.output.type.quant) is not None:
                self._known[node.output] = self._made(node, quant)

    def centred(self, value: Value) -> Range:
        """Least and greatest q - Z, with 0 (the padding) among them."""
        low, high = self._known[value]
        assert value.type.quant is not None
        zero = value.type.quant.per_tensor[1]
        return min(low - zero, 0), max(high - zero, 0)

    def _made(self, node: Node, quant: QuantParams) -> Range:
        match node.op:
            case ClampedOp() as op:
                return op.low, op.high
            case MaxPool2d() as op:
                low, high = self._known[node.inputs[0]]
                full = op.windows_meet(node.inputs[0].type.shape)
                return low if full else min(low, 0), high
            case Choice():
                return self._known[node.inputs[0]]
            case MaxUnpool():
                low, high = self._known[node.inputs[0]]
                zero = quant.per_tensor[1]
                return min(low, zero), max(high, zero)
            case EmbeddingCodes():
                return self._known[node.inputs[1]]
            case op if op.keeps_codes:
                ends = [self._known[value] for value in node.inputs if value in self._known]
                if op.adds_zeros:
                    ends.append((min(quant.zero_point), max(quant.zero_point)))
                return min(low for low, _ in ends), max(high for _, high in ends)
        return quant.low, quant.high
