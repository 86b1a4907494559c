"""A compiler of one network at many bits; all that does not depend on them is done once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Graph
from qbnnc.ir.model import Model
from qbnnc.passes.mixed_precision.layers import Layer, layers_of
from qbnnc.passes.options import Bits, Quantisation
from qbnnc.passes.pipeline import Options, check_calibration, pipeline, ready_model
from qbnnc.passes.ranges.calibrate import Calibration, Observer, Ranges, calibrate
from qbnnc.passes.ranges.outer_bits import with_outer_bits
from qbnnc.passes.ranges.quantisation_points import quantisation_points

_EXTREMES = 0  # stands for every width at which ranges are minimum and maximum, or their average


@dataclass(frozen=True, slots=True, eq=False)
class Compiler:
    """Compiles one FLOAT Model at many bits, as `passes.pipeline.quantise_model` would.

    The range of a value depends on the width of its own codes and no other. The data are therefore
    observed once for every width, not once for every compile. `ready` is the Model whose layers can
    be quantised. `ranges` maps a width to the ranges of each member.
    """

    ready: Model
    rows: NDArray[np.float32]
    base: Quantisation
    how: Calibration
    ranges: dict[int, tuple[Ranges, ...]] = field(default_factory=dict)

    @staticmethod
    def of(model: Model, rows: NDArray[np.float32], options: Options) -> Compiler:
        """Prepare a Model and `rows` [N, *shape]; UserError where model, data, options misfit."""
        model.check()
        rows = check_calibration(model, rows)
        how = replace(options.calibration, outputs=options.quantisation.outputs)
        ready = replace(ready_model(model, options), calibration=None)
        equalise = pipeline(options.quantisation, how, rows).only("equalise-channels")
        ready = replace(ready, members=tuple(equalise(member) for member in ready.members))
        return Compiler(ready, rows, options.quantisation, how)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that can have bits of their own."""
        members = len(self.ready.members)
        return layers_of(self.ready.graph, members=members, outputs=self.base.outputs)

    def compiled(self, quantisation: Quantisation) -> Model:
        """Compile to an INTEGER Model that is to be measured, not kept: it has no provenance.

        `quantisation` differs from the base in bits, rounding and bias correction only.
        """
        quantisation = with_outer_bits(quantisation, self.ready.graph)
        members = []
        for number, graph in enumerate(self.ready.members):
            ranges_of = partial(self._ranges, number, quantisation)
            steps = pipeline(quantisation, self.how, self.rows, ranges_of=ranges_of)
            members.append(steps.since("insert-fake-quantize")(graph))
        compiled = replace(self.ready, members=tuple(members))
        compiled.check()
        return compiled

    def _ranges(self, member: int, quantisation: Quantisation, graph: Graph) -> Ranges:
        points = quantisation_points(graph, outputs=quantisation.outputs)
        widths = {
            point.group: point.bits(quantisation) for point in points if point.value is point.group
        }
        return {
            point.value.name: self._observed(widths[point.group])[member][point.value.name]
            for point in points
        }

    def _observed(self, width: int) -> tuple[Ranges, ...]:
        """The ranges of every value, as if all codes had this width."""
        searched = self.how.activation_observer is Observer.MSE
        key = width if searched else _EXTREMES
        if key not in self.ranges:
            same = replace(
                self.base, bits=Bits(8, width), layers={}, input_bits=width, residual_bits=width
            )
            self.ranges[key] = tuple(
                calibrate(graph, self.rows, self.how, None, same) for graph in self.ready.members
            )
        return self.ranges[key]
