"""The nodes, initialisers and names of one ONNX graph while it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import onnx_ir

from qbnnc.backends.onnx.int4_packing import is_packed, pack, unpack
from qbnnc.backends.onnx.names import PACKED
from qbnnc.ir.types import Array

Attribute: TypeAlias = int | float | str | Sequence[int] | onnx_ir.Graph | onnx_ir.TensorProtocol
Body: TypeAlias = Callable[[list[onnx_ir.Value]], list[onnx_ir.Value]]


class Writer:
    """Nodes in the order they are written; names unique, and the same in every run.

    `reserved` are the names that belong to the graph's inputs and outputs and to the values of
    the IR. Everything else is called after the value it helps to compute: "conv1.q/float".
    A node is called after its layer, and its kind: "layer1.0.conv1/QuantizeLinear".
    An `inline` file is for engines other than onnxruntime. It has no subgraphs, no Optional and no
    computed constants, and no pattern that is exact only where it is fused.
    """

    def __init__(self, reserved: Iterable[str], *, inline: bool = False) -> None:
        self.inline = inline
        self.nodes: list[onnx_ir.Node] = []
        self.initializers: list[onnx_ir.Value] = []
        self.place = ""  # where in the user's model the nodes that follow come from
        self.layer = ""  # the layer that the nodes that follow compute, as the user calls it
        self._reserved = frozenset(reserved)
        self._taken = set(self._reserved)
        self._nodes_taken = set[str]()
        self._written: dict[str, onnx_ir.Value] = {}
        self._weights: dict[str, onnx_ir.Value] = {}
        self._arrays: dict[str, Array] = {}
        self._shared: dict[tuple[str, tuple[int, ...], bytes], onnx_ir.Value] = {}

    def op(
        self,
        kind: str,
        *inputs: onnx_ir.Value,
        out: onnx_ir.Value | str,
        **attributes: Attribute,
    ) -> onnx_ir.Value:
        """The one output of a new node: `out`, or a value with a name like the text `out`."""
        return self._append(kind, inputs, out, attributes)

    def several(
        self,
        kind: str,
        inputs: Sequence[onnx_ir.Value],
        names: Sequence[str],
        attributes: Mapping[str, Attribute],
    ) -> list[onnx_ir.Value]:
        """The outputs of a new node that has several, with names like `names`."""
        made = [onnx_ir.Value(name=self.unique(name)) for name in names]
        self._add_node(kind, inputs, made, attributes)
        return made

    def split(self, x: onnx_ir.Value, names: Sequence[str], axis: int) -> list[onnx_ir.Value]:
        """Equal parts of `x` along an axis, with names like `names`."""
        parts = [onnx_ir.Value(name=self.unique(name)) for name in names]
        self._add_node("Split", [x], parts, {"axis": axis, "num_outputs": len(parts)})
        return parts

    def scan(
        self,
        body: Body,
        count: int,
        inputs: Sequence[onnx_ir.Value],
        names: Sequence[str],
        axis: int = 0,
    ) -> list[onnx_ir.Value]:
        """Apply `body` to each of the `count` elements along axis 0 of the inputs.

        Results lie along a new `axis`, one for each of `names`. `body` may read any value that
        exists already. The values that it writes exist only inside.
        """
        if self.inline:
            return self._unrolled(body, count, inputs, names, axis)
        outside, self.nodes = self.nodes, []
        items = [onnx_ir.Value(name=self.unique(f"{x.name}/item")) for x in inputs]
        results = body(items)
        graph = onnx_ir.Graph(items, results, nodes=self.nodes, name=f"{names[0]}/body")
        self.nodes = outside
        made = [onnx_ir.Value(name=self.unique(name)) for name in names]
        attributes: dict[str, Attribute] = {"num_scan_inputs": len(inputs), "body": graph}
        if axis:
            attributes["scan_output_axes"] = [axis] * len(made)
        self._add_node("Scan", inputs, made, attributes)
        return made

    def _unrolled(
        self,
        body: Body,
        count: int,
        inputs: Sequence[onnx_ir.Value],
        names: Sequence[str],
        axis: int,
    ) -> list[onnx_ir.Value]:
        """`scan` without a subgraph: `body` is written once for each element."""
        columns = [self.split(x, [f"{x.name}/part"] * count, axis=0) for x in inputs]
        results = []
        for parts in zip(*columns, strict=True):
            items = [self.op("Squeeze", p, self.ints(0), out=f"{p.name}/item") for p in parts]
            results.append(body(items))
        made = []
        for name, values in zip(names, zip(*results, strict=True), strict=True):
            apart = [self.op("Unsqueeze", v, self.ints(axis), out=f"{name}/each") for v in values]
            made.append(self.op("Concat", *apart, out=name, axis=axis))
        return made

    def once(self, name: str, write: Callable[[Writer], onnx_ir.Value]) -> onnx_ir.Value:
        """The value `name`, which `write` writes when it is asked for the first time."""
        if name not in self._written:
            self._written[name] = write(self)
        return self._written[name]

    def constant(self, array: Array) -> onnx_ir.Value:
        """An initialiser; equal arrays share one."""
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._shared:
            self._shared[key] = self._initializer(array, self.unique(f"constant/{array.dtype}"))
        return self._shared[key]

    def weight(self, array: Array, name: str, *, exact: bool, owner: str) -> onnx_ir.Value:
        """The array under `name`; `exact` if that is the name of a value of the IR.

        If `owner` has been written and holds the same, it is used. Codes of four bits, int8, are
        stored as two in a byte; onnxruntime takes them apart once, when it loads the file. An
        inline file has them whole.
        """
        if owner in self._weights and _equal(self._arrays[owner], array):
            return self._weights[owner]
        if name not in self._weights:
            unique = name if exact else self.unique(name)
            self._weights[name], self._arrays[name] = self._weight(array, unique), array
        return self._weights[name]

    def _weight(self, array: Array, name: str) -> onnx_ir.Value:
        if self.inline or not is_packed(array):
            return self._initializer(array, name)
        packed = self._initializer(pack(array), self.unique(name + PACKED))
        places = self.op("Cast", packed, out=f"{name}/places", to=int(onnx_ir.DataType.INT32))
        every = self.constant(unpack(np.arange(256, dtype=np.uint8)).reshape(256, 2))
        pairs = self.op("Gather", every, places, out=f"{name}/pairs", axis=0)
        return self.op("Reshape", pairs, self.ints(*array.shape), out=onnx_ir.Value(name=name))

    def ints(self, *numbers: int) -> onnx_ir.Value:
        """A list of int64: a shape, axes."""
        return self.constant(np.array(numbers, np.int64))

    def _initializer(self, array: Array, name: str) -> onnx_ir.Value:
        tensor = onnx_ir.tensor(np.ascontiguousarray(array).reshape(array.shape), name=name)
        value = onnx_ir.Value(
            name=name,
            shape=onnx_ir.Shape(array.shape),
            type=onnx_ir.TensorType(tensor.dtype),
            const_value=tensor,
        )
        self.initializers.append(value)
        return value

    def _append(
        self,
        kind: str,
        inputs: Sequence[onnx_ir.Value],
        out: onnx_ir.Value | str,
        attributes: Mapping[str, Attribute],
    ) -> onnx_ir.Value:
        value = onnx_ir.Value(name=self.unique(out)) if isinstance(out, str) else out
        self._add_node(kind, inputs, [value], attributes)
        return value

    def _add_node(
        self,
        kind: str,
        inputs: Sequence[onnx_ir.Value],
        outputs: Sequence[onnx_ir.Value],
        attributes: Mapping[str, Attribute],
    ) -> None:
        node = onnx_ir.Node(
            "",
            kind,
            inputs,
            [onnx_ir.convenience.convert_attribute(k, v) for k, v in attributes.items()],
            outputs=outputs,
            name=self._node_name(kind, str(outputs[0].name)),
            doc_string=self.place or None,
        )
        self.nodes.append(node)

    def _node_name(self, kind: str, output: str) -> str:
        """ "conv1/Conv", "conv1/Clip"; outside layers, the folder of the output: "head/Log"."""
        folder = output if output in self._reserved else output.rpartition("/")[0] or output
        return _unique(f"{self.layer or folder}/{kind}", self._nodes_taken)

    def unique(self, hint: str) -> str:
        """A name like `hint`, with a number if something has this name already."""
        return _unique(hint, self._taken)


def _unique(hint: str, taken: set[str]) -> str:
    name, count = hint, 1
    while name in taken:
        count += 1
        name = f"{hint}.{count}"
    taken.add(name)
    return name


def _equal(a: Array, b: Array) -> bool:
    return a.dtype == b.dtype and np.array_equal(a, b)
