"""Every op of a level has a form in each backend that takes graphs of that level.

A backend that knows no form of an op says so in a CompileError. Other errors do not count here:
most of these graphs are too small to be anything else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from qbnnc.backends.onnx.lower import WRITERS
from qbnnc.backends.torch.operators import apply
from qbnnc.ir.bounds import accumulator_bounds
from qbnnc.ir.graph import Builder, Graph, Node, Value
from qbnnc.ir.ops import OPS, DeterministicOp, FakeQuantize, QuantizeInput, ops_of
from qbnnc.ir.types import CONSTANT, Array, DType, Stage, TensorType
from qbnnc.passes.integer.quantize import Quantize
from qbnnc.runtime.families.dispatch import LOWERINGS
from qbnnc.support.errors import CompileError, Loc
from tests.ops import EXAMPLES, Example

FOLDED_OR_STRIPPED = {"BatchNorm", "Softmax"}  # by passes, before a graph is quantised


@dataclass(frozen=True, slots=True)
class Unknown(DeterministicOp):
    """An op that no backend can know."""

    stages = frozenset({Stage.FLOAT, Stage.SIMULATED})
    makes_accumulators = True

    def infer(self, *inputs: TensorType) -> TensorType:
        return inputs[0]

    def evaluate(self, *inputs: object) -> Array:
        raise NotImplementedError  # an op that nobody knows is never evaluated


UNKNOWN = Example(Unknown(), EXAMPLES["ClampCodes"].inputs)


def node_of(example: Example) -> Node:
    inputs = tuple(Value(f"v{i}", tensor.type) for i, tensor in enumerate(example.inputs))
    types = (value.type for value in inputs)
    return Node(example.op, inputs, Value("y", example.op.infer(*types)), Loc("layer"))


def has_no_form(run: Callable[[Example], object], example: Example, words: str) -> bool:
    """Whether `run` says that it knows no form of the example's op."""
    try:
        run(example)
    except CompileError as error:
        return words in str(error)
    except Exception:
        return False
    return False


def missing(level: Stage, run: Callable[[Example], object], words: str) -> set[str]:
    """The names of the ops of a level for which there is no form; an unknown op has none."""
    assert has_no_form(run, UNKNOWN, words)
    names = (op.__name__ for op in ops_of(level))
    return {name for name in names if has_no_form(run, EXAMPLES[name], words)}


def in_torch(example: Example) -> torch.Tensor:
    return apply(node_of(example), [torch.from_numpy(np.copy(t.data[0])) for t in example.inputs])


def in_integers(example: Example) -> Graph:
    node = node_of(example)
    constants = {
        value: tensor.data[0, 0]
        for value, tensor in zip(node.inputs, example.inputs, strict=True)
        if value.type.axes == CONSTANT
    }
    entry = node.inputs[0] if node.inputs else Value("x", EXAMPLES["Add"].inputs[0].type)
    return Quantize()(Graph(entry, (node,), (node.output,), constants, Stage.SIMULATED))


@pytest.mark.parametrize("level", [Stage.FLOAT, Stage.SIMULATED])
def test_torch_has_a_form_of_every_float_op(level: Stage) -> None:
    deterministic = {op.__name__ for op in ops_of(level) if issubclass(op, DeterministicOp)}
    lacking = missing(level, in_torch, "has no form in PyTorch") & deterministic
    assert lacking - {FakeQuantize.__name__} == set()  # its grid is asked for elsewhere


def test_every_simulated_op_becomes_integers() -> None:
    lacking = missing(Stage.SIMULATED, in_integers, "has no integer form")
    assert lacking == FOLDED_OR_STRIPPED


def test_onnx_has_a_form_of_every_integer_op() -> None:
    assert {op.__name__ for op in ops_of(Stage.INTEGER) if op not in WRITERS} == set()
    assert {op.__name__ for op in WRITERS} <= {*OPS}


def test_the_runtime_has_a_form_of_every_integer_op() -> None:
    lowered = {op for op in ops_of(Stage.INTEGER) if {*op.__mro__} & LOWERINGS.keys()}
    assert {op.__name__ for op in ops_of(Stage.INTEGER) - lowered} == set()


@pytest.mark.parametrize("name", sorted(name for name in OPS if OPS[name].makes_accumulators))
def test_the_accumulators_of_every_op_are_proved(name: str) -> None:
    """The bounds hold the accumulators of the example, whose other inputs are constants here."""
    example = EXAMPLES[name]
    assert isinstance(example.op, DeterministicOp)
    x, *others = example.inputs
    build = Builder()
    entry = build.input("x", replace(x.type, dtype=DType.F32, quant=None))
    codes = QuantizeInput((0.0,), x.quant.scale, x.quant, x.quant.low, x.quant.high)
    inputs = [build.emit(codes, entry, loc=Loc("q"), name="q")]
    inputs += [build.constant(f"c{i}", t.data[0, 0], t.type.quant) for i, t in enumerate(others)]
    acc = build.emit(example.op, *inputs, loc=Loc("acc"), name="acc")
    graph = build.graph((acc,), Stage.INTEGER)
    bounds, made = accumulator_bounds(graph, graph.nodes[-1]), example.op.evaluate(*example.inputs)
    assert bounds is not None
    assert bounds.low <= made.min() <= made.max() <= bounds.high


def test_accumulators_that_nothing_bounds_are_an_error() -> None:
    node = node_of(Example(Unknown(), UNKNOWN.inputs))
    graph = Graph(node.inputs[0], (node,), (node.output,), {}, Stage.INTEGER)
    with pytest.raises(TypeError, match="accumulators of unknown"):
        accumulator_bounds(graph, node)


FLOAT_OPS = [op for op in ops_of(Stage.FLOAT) if issubclass(op, DeterministicOp)]


@pytest.mark.parametrize("name", sorted(op.__name__ for op in FLOAT_OPS))
def test_torch_computes_what_the_op_means(name: str) -> None:
    example = EXAMPLES[name]
    assert isinstance(example.op, DeterministicOp)
    wanted = example.op.evaluate(*example.inputs)[0]
    assert np.allclose(in_torch(example).numpy(), wanted, rtol=1e-5, atol=1e-5)
