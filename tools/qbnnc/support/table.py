"""Functions by the class that each belongs to: lowerings, writers of ONNX nodes, kernels, rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Key = TypeVar("Key")
Function = TypeVar("Function")


class Table(dict[Key, Function]):
    """A dict that decorators fill.

    KERNELS = Table[type[Instruction], Kernel]()

    @KERNELS.of(Add)
    def add(...): ...
    """

    def of(self, *keys: Key) -> Callable[[Function], Function]:
        """Enter the decorated function under these keys, none of which has another."""

        def enter(function: Function) -> Function:
            for key in keys:
                assert key not in self, key
                self[key] = function
            return function

        return enter
