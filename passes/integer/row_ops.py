"""Softmaxes, norms and embeddings as integer ops, with their constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qbnnc.ir.graph import Builder, Node, Value
from qbnnc.ir.ops import EmbeddingCodes, Normalize, Op, ScaledSoftmax, SoftmaxInteger
from qbnnc.ir.types import Array, QuantParams
from qbnnc.passes.integer.constants import integer_norm, parameter_codes
from qbnnc.passes.integer.exponentials import softmax_inputs

Ends = tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class RowOps:
    """Lowers ops that work on rows of numbers. `codes` maps simulated values to integer ones."""

    constants: Mapping[Value, Array]
    codes: Mapping[Value, Value]
    build: Builder

    def lowered(self, made_by: Node, node: Node, quant: QuantParams, ends: Ends) -> Value:
        """The integer form of `made_by`, which the FakeQuantize `node` rounds to codes of `ends`.

        A node that is neither a norm nor a softmax is an embedding.
        """
        match made_by.op:
            case Normalize() as op:
                return self._norm(op, made_by, node, quant, ends)
            case ScaledSoftmax():
                return self._softmax(made_by, node, quant, ends)
            case _:
                return self._embedding(made_by, node, quant, ends)

    def _embedding(self, made_by: Node, node: Node, quant: QuantParams, ends: Ends) -> Value:
        """Rows of a table of codes, which a clamp after it has cut already."""
        ids, table = made_by.inputs
        codes = parameter_codes(self.constants[table], quant).clip(*ends)
        constant = self.build.constant(f"{node.output.name}.table", codes, quant)
        return self._emit(EmbeddingCodes(), (self.codes[ids], constant), node)

    def _softmax(self, made_by: Node, node: Node, quant: QuantParams, ends: Ends) -> Value:
        """Codes of a softmax of codes or accumulators, with its table of exponentials."""
        x = self.codes[made_by.inputs[0]]
        multiplier, inputs = softmax_inputs(
            made_by, x, self.constants, node.output.name, self.build
        )
        return self._emit(SoftmaxInteger(quant, *ends, multiplier), (x, *inputs), node)

    def _norm(
        self, op: Normalize, made_by: Node, node: Node, quant: QuantParams, ends: Ends
    ) -> Value:
        """Codes of a norm, whose weight and bias are in steps of the result, rounded once."""
        x, *parameters = made_by.inputs
        scale = np.float32(quant.per_tensor[0])
        constants = (
            self.build.constant(f"{node.output.name}.{what}", self.constants[value] / scale)
            for what, value in zip(("g", "b"), parameters, strict=True)
        )
        integer = integer_norm(op, self.codes[x], quant, ends)
        return self._emit(integer, (self.codes[x], *constants), node)

    def _emit(self, op: Op, inputs: tuple[Value, ...], node: Node) -> Value:
        return self.build.emit(op, *inputs, loc=node.loc, name=node.output.name)
