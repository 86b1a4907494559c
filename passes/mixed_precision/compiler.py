"""One network compiled at many bits, sharing all that does not depend on them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Graph
from qbnnc.ir.model import Model
from qbnnc.ir.types import Stage
from qbnnc.passes.base import run_passes
from qbnnc.passes.calibrate import Calibration, Observer, Ranges, calibrate
from qbnnc.passes.fit_layers import FitLayers
from qbnnc.passes.insert_fake_quantize import InsertFakeQuantize
from qbnnc.passes.mixed_precision.layers import Layer, layers_of
from qbnnc.passes.options import Bits, Quantisation, Rounding
from qbnnc.passes.pipeline import Options, Watch, lower_model, simulate_model
from qbnnc.passes.quantisation_points import quantisation_points

_EXTREMES = 0  # stands for every width at which ranges are minimum and maximum, or their average


@dataclass(frozen=True, slots=True, eq=False)
class Compiler:
    """What `passes.pipeline.quantise_model` makes of one FLOAT Model, for many quantisations.

    The range of a value depends on the width of its own codes and no other, so that the data are
    observed once for every width, not once for every compile. `graphs` are the members, ready to
    be quantised; `shell` has the head and draws. `ranges`: width -> those of each member.
    """

    shell: Model
    graphs: tuple[Graph, ...]
    rows: NDArray[np.float32]
    base: Quantisation
    how: Calibration
    ranges: dict[int, tuple[Ranges, ...]] = field(default_factory=dict)

    @staticmethod
    def of(model: Model, rows: NDArray[np.float32], options: Options) -> Compiler:
        """Calibrated on `rows` [N, *shape]; UserError where model, data and options do not fit."""
        model.check()
        cheap = replace(options.quantisation, rounding=Rounding.NEAREST, bias_correction=False)
        quick = replace(
            options, quantisation=cheap, calibration=replace(options.calibration, passes=1)
        )
        graphs, shell = [], model
        for member in model.members:
            seen = _Graphs([])
            one = replace(model, members=(member,))
            shell = simulate_model(one, rows[:1], quick, watch=Watch(seen))
            graphs.append(seen.last(Stage.FLOAT))
        how = replace(options.calibration, outputs=options.quantisation.outputs)
        return Compiler(shell, tuple(graphs), rows, options.quantisation, how)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """What can have bits of its own."""
        members = len(self.graphs)
        return layers_of(self.graphs[0], members=members, outputs=self.base.outputs)

    def compiled(self, quantisation: Quantisation) -> Model:
        """The INTEGER Model; `quantisation` differs from the base in bits, rounding, correction.

        Its provenance says nothing of value: a Model to be measured, not to be kept.
        """
        members = tuple(
            run_passes(
                graph,
                [
                    InsertFakeQuantize(self._ranges(number, quantisation), quantisation, self.how),
                    FitLayers(graph, self.rows, self.how, quantisation),
                ],
            )
            for number, graph in enumerate(self.graphs)
        )
        return lower_model(replace(self.shell, members=members))

    def _ranges(self, member: int, quantisation: Quantisation) -> Ranges:
        sites = quantisation_points(self.graphs[member], outputs=quantisation.outputs)
        widths = {
            site.group: quantisation.bits_of(site.node).activations
            for site in sites
            if site.value is site.group
        }
        return {
            site.value.name: self._observed(widths[site.group])[member][site.value.name]
            for site in sites
        }

    def _observed(self, width: int) -> tuple[Ranges, ...]:
        """Of every value, as if all codes had this width."""
        searched = self.how.activation_observer(width) is Observer.MSE
        key = width if searched else _EXTREMES
        if key not in self.ranges:
            same = replace(self.base, bits=Bits(8, width), layers={}, input_bits=width)
            self.ranges[key] = tuple(
                calibrate(graph, self.rows, self.how, None, same) for graph in self.graphs
            )
        return self.ranges[key]


@dataclass(frozen=True, slots=True)
class _Graphs:
    """Keeps what the passes give."""

    seen: list[Graph]

    def __call__(self, name: str, graph: Graph) -> None:
        self.seen.append(graph)

    def last(self, stage: Stage) -> Graph:
        return next(graph for graph in reversed(self.seen) if graph.stage is stage)
