"""Random graphs with products of two computed matrices, among all other ops."""

from __future__ import annotations

from math import prod

from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Dequantize, MatMulInteger, Reshape
from tests.random_draws import RandomGraphOfAllDraws
from tests.random_graph import Step

_MOST_COLUMNS, _MOST_LINES = 40, 12


class RandomGraphOfProducts(RandomGraphOfAllDraws):
    """The value may be a factor of a product, on either side, of matrices behind 0 to 2 axes."""

    def kinds(self) -> list[str]:
        return [*super().kinds(), "matrices", "matrices", "matrices"]

    def steps(self) -> dict[str, Step]:
        return super().steps() | {"matrices": self.matrices}

    def matrices(self, name: str) -> Value:
        """Codes of a product, in a shape that every other step takes."""
        acc = self.product_of_matrices(name)
        shape = acc.type.shape
        self.value = self.requantize(acc, f"{name}.q")
        if len(shape) == 3 and min(shape) > 1:
            return self.value
        return self.flatten(name)

    def product_of_matrices(self, name: str) -> Value:
        size = self.value.type.size
        depth = self.choose([n for n in range(1, _MOST_COLUMNS) if size % n == 0])
        outer = self.outer(size // depth)
        lines = size // depth // prod(outer)
        x = self.emit(Reshape((*outer, lines, depth)), self.value, name=f"{name}.matrix")
        factor = self.choose((1.0, 0.4375, 0.3))
        if lines <= _MOST_LINES and self.choose((False, False, True)):
            return self.emit(MatMulInteger(True, factor), x, x, name=f"{name}.square")
        self.value, transposed = x, self.choose((True, False))
        count, op = self.choose((1, 2, 3, 5)), MatMulInteger(transposed, factor)
        if self.choose((True, False)):
            columns = (count, depth) if transposed else (depth, count)
            return self.emit(op, x, self.other((*outer, *columns), name), name=f"{name}.acc")
        inner = depth if transposed else lines
        return self.emit(op, self.other((*outer, count, inner), name), x, name=f"{name}.acc")

    def outer(self, lines: int) -> tuple[int, ...]:
        """Axes before the matrices, which take some of the lines."""
        found = list[int]()
        for _ in range(self.choose((0, 1, 1, 2))):
            found.append(self.choose([n for n in (1, 2, 3, 4) if lines % n == 0]))
            lines //= found[-1]
        return tuple(found)

    def output(self, name: str, kind: str) -> Value:
        """Now and then accumulators of a product."""
        if kind != "layer" or self.choose((True, False)):
            return super().output(name, kind)
        return self.emit(Dequantize(), self.product_of_matrices(name), name=name)
