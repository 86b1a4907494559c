"""A search for the fewest bits of each layer that a budget allows."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from qbnnc.passes.mixed_precision.analysis import Progress, mean_divergence
from qbnnc.passes.mixed_precision.budget import Budget
from qbnnc.passes.mixed_precision.descent import Move, Width, cost_curve, ordered_moves
from qbnnc.passes.mixed_precision.layers import INPUT, Kind, Layer
from qbnnc.passes.mixed_precision.measured import Bench, Measured
from qbnnc.passes.options import Bits, CompileOptions, Quantisation, Rounding
from qbnnc.support.errors import UserError


@dataclass(frozen=True, slots=True)
class Step:
    """A measurement of the whole network, after the first `moves` moves.

    `predicted` is the sum of the moves' costs, in nats; `value` the budget's metric as measured.
    """

    moves: int
    predicted: float
    value: float
    within: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """The bits of every layer, the metrics measured with them, and how they were found.

    `layers` and `input_bits` differ from `base`. `reference` holds the metrics of the float
    network, `baseline` those at the base bits, `result` those of the choice. All are measured on
    the same data, seeds, masks and eps. The metric of the budget is at most `limit`. `costs` maps
    each width that was measured to KL(base || that) in nats. `all_bits` has every layer, in order.
    With `options`, qbnnc.compile makes the network that was measured.
    """

    budget: Budget
    base: Bits
    layers: Mapping[str, Bits]
    input_bits: int | None
    options: CompileOptions
    reference: Mapping[str, float]
    baseline: Mapping[str, float]
    result: Mapping[str, float]
    limit: float
    all_bits: tuple[tuple[Layer, Bits], ...]
    costs: Mapping[str, float]
    trace: tuple[Step, ...]

    @property
    def making(self) -> CompileOptions:
        """The old name of `options`."""
        warnings.warn("choice.making is now choice.options", DeprecationWarning, stacklevel=2)
        return self.options

    def stored(self, kind: Kind) -> tuple[int, int]:
        """Bits of all weights, or activations: at the base bits, and as chosen."""
        numbers = [(layer.numbers(kind), kind.of(bits)) for layer, bits in self.all_bits]
        return sum(n for n, _ in numbers) * kind.of(self.base), sum(n * w for n, w in numbers)


def search(
    bench: Bench, budget: Budget, options: CompileOptions, progress: Progress | None = None
) -> Choice:
    """Find the fewest bits that `budget` allows; `bench` compiles with `options`.

    1. The cost of each width alone is measured at 4, 3 and 2 bits, as KL(base || that). Weights are
       rounded to nearest, because a compile without fitting is many times faster.
    2. Single-bit moves are put in order (`descent.ordered_moves`).
    3. Bisection finds the longest run of moves that keeps the whole network within the budget. The
       metric is taken to grow with the length of the run. The choice itself is always measured.

    Layers that have bits of their own in the base keep them. UserError if the base bits are over
    the budget already.
    """
    reference = bench.float32().metrics
    limit, base = budget.limit(reference), bench.compiler.base
    baseline = bench.integers(base)
    if not budget.allows(value := budget.value(baseline.metrics), limit):
        raise UserError(
            f"{budget.metric} is {budget.shown(value)} at {base} already, "
            f"{budget.shown(budget.of_float(reference))} in float, and may be "
            f"{budget.shown(limit)}",
            place=f"`budget` {budget}",
            remedy="allow more",
        )
    widths = _widths(bench.compiler.layers, base)
    costs = _costs(bench, widths, progress)
    curves = [cost_curve(cost, one.width) for cost, one in zip(costs, widths, strict=True)]
    moves = ordered_moves(widths, curves)
    found = _Bisection(bench, budget, limit, moves, [], progress)
    run, result = found.furthest(baseline)
    chosen = _after(base, moves[:run])
    all_bits = tuple((layer, layer.bits(chosen)) for layer in bench.compiler.layers)
    own = {one.name: bits for one, bits in all_bits if one.name != INPUT and bits != base.bits}
    own |= {name: bits for name, bits in base.layers.items() if name not in own}
    return Choice(
        budget,
        base.bits,
        own,
        chosen.input_bits,
        _chosen(options, base.bits, own, chosen.input_bits),
        reference,
        baseline.metrics,
        result.metrics,
        limit,
        all_bits,
        _named(widths, costs),
        tuple(found.trace),
    )


def _chosen(
    options: CompileOptions, base: Bits, layers: Mapping[str, Bits], input_bits: int | None
) -> CompileOptions:
    own = {name: str(bits) for name, bits in layers.items()}
    return {**options, "bits": str(base), "layers": own or None, "input_bits": input_bits}


def _named(widths: Sequence[Width], costs: Sequence[Mapping[int, float]]) -> dict[str, float]:
    """Costs by names such as "conv1 w4"."""
    return {
        f"{one.layer.name} {one.kind.value}{width}": value
        for one, cost in zip(widths, costs, strict=True)
        for width, value in cost.items()
    }


def _widths(layers: Sequence[Layer], base: Quantisation) -> list[Width]:
    """The widths that may shrink."""
    return [
        Width(layer, kind, kind.of(layer.bits(base)))
        for layer in layers
        for kind in Kind
        if layer.numbers(kind) and not layer.is_set(base)
    ]


def _costs(
    bench: Bench, widths: Sequence[Width], progress: Progress | None
) -> list[dict[int, float]]:
    """The costs of each width, measured at a few bits."""
    plain = replace(bench.compiler.base, rounding=Rounding.NEAREST, bias_correction=False)
    baseline = bench.integers(plain)
    total, done = sum(len(one.measured) for one in widths), 0
    costs: list[dict[int, float]] = []
    for one in widths:
        costs.append({})
        for width in one.measured:
            if progress is not None:
                progress(f"{one.layer.name} {one.kind.value}{width}", done, total)
            moved = Move(one.layer, one.kind, width, 0.0).applied(plain)
            costs[-1][width] = mean_divergence(baseline, bench.integers(moved))
            done += 1
    return costs


@dataclass(frozen=True, slots=True)
class _Bisection:
    """A bisection over runs of moves; each network that is measured goes to `trace`."""

    bench: Bench
    budget: Budget
    limit: float
    moves: Sequence[Move]
    trace: list[Step]
    progress: Progress | None

    def furthest(self, measured: Measured) -> tuple[int, Measured]:
        """The longest run within the budget, measured; `measured` is the network without moves."""
        least, most = 0, len(self.moves) + 1  # the one is within the budget, the other is not
        steps = most.bit_length()
        while most - least > 1:
            if self.progress is not None:
                self.progress("together", len(self.trace), steps)
            middle = (least + most) // 2
            found = self._measure(middle)
            if self.trace[-1].within:
                least, measured = middle, found
            else:
                most = middle
        return least, measured

    def _measure(self, run: int) -> Measured:
        moves = self.moves[:run]
        measured = self.bench.integers(_after(self.bench.compiler.base, moves))
        value = self.budget.value(measured.metrics)
        predicted = sum(move.cost for move in moves)
        within = self.budget.allows(value, self.limit)
        self.trace.append(Step(run, predicted, value, within))
        return measured


def _after(quantisation: Quantisation, moves: Sequence[Move]) -> Quantisation:
    for move in moves:
        quantisation = move.applied(quantisation)
    return quantisation
