"""The traits of every op: as `tests.ops` writes them by hand, and as `evaluate` shows them."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from inspect import isabstract, isclass
from pkgutil import iter_modules

import numpy as np
import pytest

from qbnnc.ir import ops
from qbnnc.ir.ops import OPS, Clamp, DeterministicOp, Op, Tensor, ops_of
from qbnnc.ir.ops.sum_of_products import is_state
from qbnnc.ir.types import Array, DType, Stage
from tests.ops import EXAMPLES, Example

TRAITS = (
    "keeps_codes adds_zeros elementwise composable has_own_scale leaves_as_number "
    "commutes_with_clamp commutes_with_factor makes_accumulators"
).split()

DETERMINISTIC = [name for name, example in EXAMPLES.items() if example.inputs]
ON_A_GRID = [name for name in DETERMINISTIC if EXAMPLES[name].inputs[0].type.quant is not None]
KEEPING = [name for name in ON_A_GRID if OPS[name].keeps_codes and name != "ClampCodes"]


def traits(op: type[Op]) -> set[str]:
    return {trait for trait in TRAITS if getattr(op, trait)}


@pytest.mark.parametrize("name", sorted(OPS))
def test_traits_are_those_of_the_example(name: str) -> None:
    assert traits(OPS[name]) == {*EXAMPLES[name].traits.split()}


def test_every_op_has_an_example() -> None:
    assert {*EXAMPLES} == {*OPS}
    assert all(type(example.op) is OPS[name] for name, example in EXAMPLES.items())


def test_every_op_that_is_written_is_registered() -> None:
    names = (module.name for module in iter_modules(ops.__path__, "qbnnc.ir.ops."))
    written = {
        cls
        for module in map(import_module, names)
        for cls in vars(module).values()
        if isclass(cls) and issubclass(cls, Op) and not isabstract(cls)
    }
    assert written == {*OPS.values()}


def test_no_op_is_without_a_level() -> None:
    assert {op for stage in Stage for op in ops_of(stage)} == {*OPS.values()}


def evaluated(example: Example, first: Array | None = None) -> Array:
    """The value of an example, perhaps with another first input."""
    assert isinstance(example.op, DeterministicOp)
    inputs = list(example.inputs)
    if first is not None:
        inputs[0] = replace(inputs[0], data=first)
    return example.op.evaluate(*inputs)


@pytest.mark.parametrize("name", ON_A_GRID)
def test_ops_that_keep_codes_keep_the_grid(name: str) -> None:
    """A grid comes through `infer`, times the factor, where the op keeps codes; nowhere else."""
    example = EXAMPLES[name]
    types = [i.type for i in example.inputs]
    quant = types[0].quant
    assert quant is not None
    kept = example.op.infer(*types).quant == quant.scaled(example.op.grid_factor)
    assert kept == example.op.keeps_codes


@pytest.mark.parametrize("name", KEEPING)
def test_new_elements_are_zeros_of_ops_that_add_zeros(name: str) -> None:
    """The value of an op that keeps codes holds no other element than its inputs and zero."""
    example = EXAMPLES[name]
    type_ = example.op.infer(*(i.type for i in example.inputs))
    given = {float(code) for i in example.inputs for code in codes_in(i)}
    made = {float(code) for code in codes_in(Tensor(evaluated(example), type_))}
    zero = float(example.inputs[0].quant.per_tensor[1])
    assert made <= given | ({zero} if example.op.adds_zeros else set())


def codes_in(tensor: Tensor) -> Array:
    """The codes of a tensor on a grid; a mask has none."""
    if tensor.type.quant is None:
        return np.array([])
    if tensor.type.dtype is not DType.F32:
        return np.unique(tensor.data)
    codes: Array = np.unique(tensor.data / tensor.scale + tensor.zero_point)
    return codes


@pytest.mark.parametrize("name", [name for name in DETERMINISTIC if OPS[name].elementwise])
def test_an_element_of_elementwise_ops_depends_on_that_element_alone(name: str) -> None:
    """Another first element changes no element of the result but the first."""
    example = EXAMPLES[name]
    x = example.inputs[0].data
    place = (0,) * x.ndim
    other = x.copy()
    other[place] = other.max() if other[place] != other.max() else other.min()
    before, after = evaluated(example), evaluated(example, other)
    changed = {tuple(map(int, index)) for index in np.argwhere(before != after)}
    assert changed <= {place}
    assert before.shape == x.shape


@pytest.mark.parametrize("name", [name for name in OPS if OPS[name].commutes_with_clamp])
def test_ops_commute_with_clamps_that_keep_zero(name: str) -> None:
    example = EXAMPLES[name]
    x, factor = example.inputs[0].data, np.float32(example.op.grid_factor)
    clamped = evaluated(example, np.clip(x, np.float32(-0.5), np.float32(0.75)))
    assert np.array_equal(clamped, np.clip(evaluated(example), -0.5 * factor, 0.75 * factor))


@pytest.mark.parametrize("name", [name for name in OPS if OPS[name].commutes_with_factor])
def test_ops_commute_with_positive_factors(name: str) -> None:
    example = EXAMPLES[name]
    x, op = example.inputs[0].data, example.op
    wide = replace(example, op=op.scaled(4.0)) if isinstance(op, Clamp) else example
    assert np.array_equal(evaluated(wide, 4 * x), 4 * evaluated(example))


@pytest.mark.parametrize("name", ["Linear", "Conv2d", "Concat", "Unary", "AveragePool2d", "Affine"])
def test_other_ops_do_not_commute_with_clamps(name: str) -> None:
    example = EXAMPLES[name]
    clamped = evaluated(example, np.clip(example.inputs[0].data, -0.5, 0.75).astype(np.float32))
    assert not np.array_equal(clamped, np.clip(evaluated(example), -0.5, 0.75))


@pytest.mark.parametrize("name", ["Linear", "Conv2d", "Concat", "Unary", "Affine", "Add"])
def test_other_ops_do_not_commute_with_factors(name: str) -> None:
    example = EXAMPLES[name]
    scaled = evaluated(example, 4 * example.inputs[0].data)
    assert not np.array_equal(scaled, 4 * evaluated(example))


def test_accumulators_are_int32_sums_of_codes() -> None:
    """The ops whose result is i32 are those that are proved; biases are no accumulators.

    Carried states, which are clipped to 16 bits, are none either.
    """
    types = {n: EXAMPLES[n].op.infer(*(i.type for i in EXAMPLES[n].inputs)) for n in DETERMINISTIC}
    wide = {n for n, type_ in types.items() if type_.dtype is DType.I32 and not is_state(type_)}
    assert wide == {name for name in OPS if OPS[name].makes_accumulators}
