"""Codes of weights and biases: constants, samples, choices, and what a mask drops elements of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qbnnc.ir.graph import Builder, Node, Value
from qbnnc.ir.ops import Choice, SampledWeight, SampledWeightInteger, Select
from qbnnc.ir.ops.choice import of_members
from qbnnc.ir.scales import sampling_divisor, sampling_ratio
from qbnnc.ir.types import Array, QuantParams
from qbnnc.passes.integer.constants import parameter_codes, quant_of


@dataclass(frozen=True, slots=True, eq=False)
class Parameters:
    """The parameters of a SIMULATED graph, as codes in the graph under construction.

    `codes` holds what stands for the values that have been lowered.
    """

    constants: Mapping[Value, Array]
    producers: Mapping[Value, Node]
    codes: Mapping[Value, Value]
    build: Builder

    def constant(self, value: Value, name: str, quant: QuantParams) -> Value:
        """A weight's i8 or a bias's i32 codes."""
        return self.build.constant(name, parameter_codes(self.constants[value], quant), quant)

    def drawn(self, made_by: Node, name: str, quant: QuantParams) -> Value:
        """Codes of a sample, of a choice between constants, or of one of these under a mask."""
        source, index = made_by.inputs[:2]
        match made_by.op:
            case SampledWeight():
                return self._sampled(made_by, name, quant)
            case Choice():
                values = self.constant(source, f"{name}.values", of_members(quant))
                inputs = values, self.codes[index]
                return self.build.emit(Choice(), *inputs, loc=made_by.loc, name=name)
        maker, whole = self.producers.get(source), f"{name}.whole"
        if maker is None:
            kept = self.constant(source, whole, quant)
        else:
            kept = self.drawn(maker, whole, quant)
        mask = self.codes[index]
        return self.build.emit(Select(), kept, mask, loc=made_by.loc, name=name)

    def _sampled(self, made_by: Node, name: str, quant: QuantParams) -> Value:
        """A sampled weight (section 6): R and r of each granule beside codes of mu, sigma, eps."""
        mu, sigma, eps, *index = (self.codes[v] for v in made_by.inputs)
        rank = len(mu.type.shape)
        ratio = sampling_ratio(quant_of(mu), quant_of(sigma))
        divisor = sampling_divisor(quant_of(sigma), quant.scale)
        constants = (
            self.build.constant(f"{name}.{what}", a.reshape(-1, *[1] * (rank - 1)))
            for what, a in (("ratio", ratio), ("divisor", divisor))
        )
        inputs = (mu, sigma, eps, *constants, *index)
        op = SampledWeightInteger(quant)
        return self.build.emit(op, *inputs, loc=made_by.loc, name=name)
