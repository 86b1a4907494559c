"""Random graphs of several inputs, which are parts of a row."""

from __future__ import annotations

from math import prod

from qbnnc.ir.graph import Value
from qbnnc.ir.ops import LinearInteger, Part
from tests.random_ops import RandomGraphOfAllOps


class RandomGraphOfParts(RandomGraphOfAllOps):
    """One of the inputs has the usual shape. Linear layers bring the others to its size."""

    def entered(self, shape: tuple[int, ...]) -> Value:
        others = [self.choose(((), (1,), (5,), (2, 3), (3, 2, 2))) for _ in range(self.others())]
        shapes = [shape, *others]
        order = sorted(range(len(shapes)), key=lambda _: self.choose(range(100)))
        row = self.input("row", (sum(map(prod, shapes)),))
        inputs, start = dict[int, Value](), 0
        for place in order:
            part = Part(start, shapes[place])
            inputs[place] = self.emit(part, row, name=f"in{place}")
            start += prod(shapes[place])
        whole = self.quantize_input(inputs[0])
        for place in range(1, len(shapes)):
            whole = self.joined(whole, inputs[place], f"join{place}")
        return whole

    def others(self) -> int:
        return self.choose((1, 1, 2))

    def joined(self, whole: Value, other: Value, name: str) -> Value:
        """The sum, or another pair, of a flat value and a layer of another input."""
        self.value = whole
        flat = whole if len(whole.type.shape) == 1 else self.flatten(name)
        self.value = self.quantize_input(other)
        if len(other.type.shape) != 1:
            self.value = self.flatten(f"{name}.other")
        acc = self.contraction(LinearInteger(False), f"{name}.fc", flat.type.size, 1)
        return self.add(flat, self.requantize(acc, f"{name}.fc.q"), name)
