"""Hand-made hostile .qbnn files: honest models whose records were edited and signed again.

Each was once accepted, and overran a buffer, gave what was never computed, or took for ever.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qbnnc.ir import format
from qbnnc.ir.graph import Value
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import (
    AddQuantized,
    Concat,
    Conv2dInteger,
    Dequantize,
    LinearInteger,
    Lookup,
    LookupReal,
    MaxPool2d,
    Reshape,
    Select,
    Slice,
    Transpose,
)
from qbnnc.ir.ops.choice import index_range
from tests.fuzz.signing import Parts, signed
from tests.fuzz.trees import RAW, Tree
from tests.runtime import nets
from tests.runtime.draws import DrawsNet, last_layer_chosen, noisy
from tests.runtime.nets import Net, codes
from tests.runtime.sampled import BayesNet

_WRAPS = 2**62  # three such steps leave int64


def op(parts: Parts, name: str) -> Tree:
    """The record of the last op of a class."""
    nodes = [n["op"] for n in parts.model["members"][-1]["nodes"] if n["op"]["op"] == name]
    return nodes[-1]


def written(net: Net, *outputs: Value) -> bytes:
    """The file of a net's model, which nobody has checked."""
    return format.to_bytes(Model((net.graph(*outputs),), Head(Task.RAW)))


def taken(net: Net, *outputs: Value) -> Parts:
    """Its parts."""
    return Parts.of(written(net, *outputs))


def member_with_more_outputs() -> bytes:
    """A: the second member writes fifty outputs into the room of one."""
    parts = Parts.of(format.to_bytes(nets.mlp()))
    first = parts.model["members"][0]
    second = {**first, "outputs": first["outputs"] * 50}
    parts.model["members"] = [first, second]
    own = [name for name in parts.tensors if name.startswith("0/")]
    parts.tensors |= {f"1/{name[2:]}": parts.tensors[name] for name in own}
    return signed(parts)


def _pool(**fields: Tree) -> bytes:
    net = Net((1, 4, 1))
    net.emit(MaxPool2d((3, 1), (1, 1)))
    parts = taken(net)
    op(parts, "MaxPool2d").update(fields)
    return signed(parts)


def pool_dilation() -> bytes:
    """B: (taps - 1) * dilation wraps int64."""
    return _pool(padding=[0, 0, 2**63, 0], dilation=[_WRAPS, 1])


def pool_read() -> bytes:
    """B: a dilation that reads megabytes past the image."""
    far = [0, 0, 2**64 + 4 * 4096 * 4096, 0]
    return _pool(kernel=[5, 1], padding=far, dilation=[_WRAPS + (1 << 20), 1])


def pool_stride() -> bytes:
    """B: the largest stride there is."""
    return _pool(kernel=[1, 1], stride=[2**63 - 1, 1])


def _conv(**fields: Tree) -> bytes:
    net = Net((2, 4, 4))
    net.conv(2, 3, Conv2dInteger(groups=2))
    parts = taken(net)
    op(parts, "Conv2dInteger").update(fields)
    return signed(parts)


def conv_halo() -> bytes:
    """C: the places of a halo wrap int32."""
    return _conv(stride=[50000, 50000], padding=[0, 0, 50000, 50000])


def conv_halo_wide() -> bytes:
    """C: a padding of 3e9."""
    return _conv(stride=[1, 3_000_000_000], padding=[0, 0, 0, 3_000_000_000])


def depthwise() -> bytes:
    """C: a channel's own window whose offset wraps int64."""
    return _conv(padding=[0, 0, 2**63, 2**63], dilation=[_WRAPS, _WRAPS])


def lookup() -> bytes:
    """D: a table of 255s whose type says 0..3, which then index a table of four."""
    net = Net((8,))
    net.emit(Lookup(codes(0.03, 0, 2)), net.value, net.constant(np.zeros(128, np.uint8)))
    net.emit(LookupReal(), net.value, net.constant(np.arange(4, dtype=np.float32)))
    parts = taken(net, net.value)
    for name, array in parts.tensors.items():
        if array.shape == (128,):
            parts.tensors[name] = np.full(128, 255, np.uint8)
    return signed(parts)


def add() -> bytes:
    """E: a sum that is clamped to more than its type says."""
    net = Net((8,))
    net.emit(AddQuantized(codes(0.03, 0, 2), 0, 3), net.value, net.value)
    net.emit(LookupReal(), net.value, net.constant(np.arange(4, dtype=np.float32)))
    parts = taken(net, net.value)
    op(parts, "AddQuantized")["high"] = 255
    return signed(parts)


def constant_output() -> bytes:
    """F: a constant that leaves moved, and that no step writes."""
    net = Net((4,))
    constant = net.constant(np.arange(6, dtype=np.float32).reshape(2, 3))
    return written(net, net.emit(Transpose((1, 0)), constant))


def false_proof() -> bytes:
    """An overflow proof over a table whose codes are larger than its type says."""
    net = Net((70000,))
    net.emit(Lookup(codes(0.03, 0, 2)), net.value, net.constant(np.zeros(128, np.uint8)))
    net.linear(1)
    parts = taken(net)
    for name, array in parts.tensors.items():
        if array.shape == (128,):
            parts.tensors[name] = np.full(128, 255, np.uint8)
        elif array.dtype == np.int8:
            parts.tensors[name] = np.full_like(array, 127)
    return signed(parts)


def many_ranges() -> bytes:
    """Forty Concats and Slices: a range proof that visits each path takes 2^40 steps."""
    net = Net((2,))
    for _ in range(40):
        net.emit(Concat(0), net.value, net.value)
        net.emit(Slice(0, 0, 2))
    net.linear(1)
    return written(net)


def many_reshapes() -> bytes:
    """Two thousand Reshapes: a recursion for each overflows the stack."""
    net = Net((4,))
    for number in range(2000):
        net.emit(Reshape((2, 2) if number % 2 else (4,)))
    net.flatten()
    net.linear(1)
    return written(net)


def many_turns() -> bytes:
    """Ten thousand moves of an output: a look at all that came before each takes minutes."""
    net = Net((2, 3))
    net.emit(Dequantize())
    for _ in range(10_000):
        net.emit(Transpose((1, 0)))
    return written(net, net.value)


def infinite_draws() -> bytes:
    """A number that JSON can say, and no float."""
    parts = Parts.of(format.to_bytes(nets.mlp()))
    parts.model["draws"] = f"{RAW}1e999"
    return signed(parts)


def negative_shape() -> bytes:
    """An input of -2 x -5 numbers."""
    parts = Parts.of(format.to_bytes(nets.mlp()))
    parts.model["members"][0]["input"]["shape"] = [-2, -5]
    return signed(parts)


def bias_of_int32() -> bytes:
    """A sampled bias whose mean is int32, where the kernel reads bytes."""
    net = BayesNet((6,))
    net.bayes_linear(4)
    parts = taken(net)
    graph = parts.model["members"][0]
    samplings = [n for n in graph["nodes"] if n["op"]["op"] == "SampledWeightInteger"]
    node = samplings[-1]
    name = graph["constants"][node["node"]["inputs"][0] - 1]["name"]
    parts.tensors[f"0/{name}"] = parts.tensors[f"0/{name}"].astype(np.int32)
    return signed(parts)


def many_masks() -> bytes:
    """Two thousand masks of one weight: a recursion for each overflows the stack."""
    net = DrawsNet((4,))
    weight, mask = net.weight(2, 4), net.mask(2, 4, shared=True)
    for _ in range(2000):
        weight = net.kept(Select(), weight, mask)
    net.emit(LinearInteger(), net.value, weight, net.bias(2))
    return written(net)


def a_number_beyond_the_choice() -> bytes:
    """The fourth of three constants."""
    net = DrawsNet((6,))
    index = net.constant(np.array([3], np.int32), index_range(3))
    net.add(net.value, net.chosen_codes((6,), index), codes(0.1))
    return written(net)


def choice_of_more() -> bytes:
    """One of 4,096 constants, of which there are five."""
    parts = Parts.of(format.to_bytes(last_layer_chosen()))
    op(parts, "ChoiceIndex")["count"] = 4096
    return signed(parts)


def a_weight_for_each_row() -> bytes:
    """The kernel of a layer reads one weight for all rows of a sample."""
    parts = Parts.of(format.to_bytes(last_layer_chosen()))
    op(parts, "ChoiceIndex")["shared"] = False
    return signed(parts)


def falling_thresholds() -> bytes:
    """Noise whose code 2 begins before code 1."""
    parts = Parts.of(format.to_bytes(noisy()))
    op(parts, "NoiseCodes")["thresholds"][:2] = [9, 8]
    return signed(parts)


def an_empty_graph() -> bytes:
    """No nodes: the input is the output."""
    parts = Parts.of(format.to_bytes(nets.mlp()))
    graph = parts.model["members"][0]
    graph["nodes"], graph["outputs"] = [], [0]
    return signed(parts)


HOSTILE: dict[str, Callable[[], bytes]] = {
    make.__name__: make
    for make in (
        member_with_more_outputs,
        pool_dilation,
        pool_read,
        pool_stride,
        conv_halo,
        conv_halo_wide,
        depthwise,
        lookup,
        add,
        constant_output,
        false_proof,
        many_ranges,
        many_reshapes,
        many_turns,
        infinite_draws,
        negative_shape,
        bias_of_int32,
        many_masks,
        a_number_beyond_the_choice,
        choice_of_more,
        a_weight_for_each_row,
        falling_thresholds,
        an_empty_graph,
    )
}
