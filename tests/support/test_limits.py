"""The bounds of everything that a file or a network chooses, at the bound and one beyond it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qbnnc.ir.check import check
from qbnnc.ir.graph import Builder, Graph
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import (
    AveragePool2d,
    Clamp,
    Concat,
    Conv2d,
    Gather,
    InsertZeros,
    KeepMask,
    MaxPool2d,
    Normal,
    Op,
    Pad,
    Reshape,
    Slice,
    Transpose,
    UpsampleNearest,
)
from qbnnc.ir.types import PER_ROW, DType, Stage, TensorType
from qbnnc.support import files, inputs, limits, numpy_files
from qbnnc.support.errors import CompileError, Loc
from tests.graphs import mlp

DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "limits.md"
ROW = re.compile(r"^\| `(\w+)` \| (-?\d+) \| (-?\d+) \|", re.MULTILINE)


def f32(*shape: int) -> TensorType:
    return TensorType(DType.F32, shape, PER_ROW)


def fixed(*shape: int) -> TensorType:
    """The type of a weight or bias."""
    return TensorType(DType.F32, shape)


def test_the_document_says_what_the_file_says() -> None:
    said = {
        name: (int(least), int(most)) for name, least, most in ROW.findall(DOCUMENT.read_text())
    }
    held = {n: (v.least, v.most) for n, v in vars(limits).items() if isinstance(v, limits.Limit)}
    assert said == held


WIDE: list[tuple[Op, tuple[TensorType, ...]]] = [
    (Conv2d(padding=(1, 1, 1, 1)), (f32(64, 224, 224), fixed(64, 64, 3, 3), fixed(64))),
    (Conv2d(padding=(1, 1, 1, 1)), (f32(128, 1000, 1000), fixed(64, 128, 3, 3), fixed(64))),
    (Conv2d((2, 2), (3, 3, 3, 3)), (f32(3, 1024, 1024), fixed(64, 3, 7, 7), fixed(64))),
    (Conv2d(groups=65536), (f32(65536, 1, 1), fixed(65536, 1, 1, 1), fixed(65536))),
    (MaxPool2d((2, 2), (2, 2)), (f32(64, 1024, 1024),)),
    (AveragePool2d((1024, 1024), (1024, 1024)), (f32(64, 1024, 1024),)),
    (Reshape((2**27,)), (f32(2**9, 2**9, 2**9),)),
    (UpsampleNearest((2, 2)), (f32(32, 1024, 1024),)),
    (KeepMask((64, 1024, 1024), 0.5, 2**32 - 1), ()),
]


@pytest.mark.parametrize(("op", "inputs"), WIDE, ids=lambda v: getattr(v, "name", ""))
def test_large_networks_are_within_them(op: Op, inputs: tuple[TensorType, ...]) -> None:
    assert op.result(*inputs).size <= 2**27


HOSTILE: list[tuple[Op, tuple[TensorType, ...], str]] = [
    (MaxPool2d((3, 1), (1, 1), (0, 0, 2**63, 0), (2**62, 1)), (f32(1, 4, 1),), "the dilation: 461"),
    (MaxPool2d((3, 1), (1, 1), (0, 0, 2**20 + 1, 0)), (f32(1, 4, 1),), "the padding: 1048577, and"),
    (MaxPool2d((1, 1), (2**24 + 1, 1)), (f32(1, 4, 1),), "the stride: 16777217, and .* 16777216"),
    (MaxPool2d((0, 1), (1, 1)), (f32(1, 4, 1),), "the kernel: 0, and it must be at least 1"),
    (MaxPool2d((5, 1), (1, 1)), (f32(1, 4, 1),), "does not fit"),
    (MaxPool2d((1, 1), (1, 1), (-1, 0, 0, 0)), (f32(1, 4, 1),), "the padding: -1"),
    (MaxPool2d((1, 1), (1, 1), (0, 0, 2**20, 2**20)), (f32(1, 1, 1),), "with its padding: 1099"),
    (Conv2d(groups=0), (f32(1, 4, 4), fixed(1, 1, 1, 1), fixed(1)), "the number of groups: 0"),
    (Conv2d(groups=-1), (f32(1, 4, 4), fixed(1, 1, 1, 1), fixed(1)), "the number of groups: -1"),
    (Conv2d(dilation=(0, 1)), (f32(1, 4, 4), fixed(1, 1, 1, 1), fixed(1)), "the dilation: 0"),
    (Conv2d(padding=(50_000,) * 4), (f32(1, 1, 1), fixed(1, 1, 9, 9), fixed(1)), "padding: 10000"),
    (
        Conv2d((1, 1)),
        (f32(2**9, 2**9, 2**9 - 1), fixed(2**10, 2**9, 1, 1), fixed(2**10)),
        "a value: 26",
    ),
    (Reshape((0, 4)), (f32(4),), "the extent of an axis: 0"),
    (Reshape((-2, -2)), (f32(4),), "the extent of an axis: -2"),
    (Reshape((1,) * 16 + (4,)), (f32(4),), "the number of axes of a value: 17"),
    (Reshape((2**70,)), (f32(4),), "the extent of an axis: 1180591620717411303424"),
    (Reshape((10**400,)), (f32(4),), r"the extent of an axis: 2\^1328 or more"),
    (UpsampleNearest((2**20, 2**8)), (f32(1, 1, 1),), "the number of elements of a value"),
    (UpsampleNearest((0, 1)), (f32(1, 1, 1),), "the factor: 0"),
    (InsertZeros((2**30, 1)), (f32(1, 2, 1),), "the factor: 1073741824"),
    (Pad((0, 0, 2**40, 0)), (f32(1, 2, 1),), "the padding: 1099511627776"),
    (Pad((1, 1, 1, 1)), (f32(4),), "takes images"),
    (Gather(0, ()), (f32(4),), "cannot take 0"),
    (Gather(0, (-1,)), (f32(4),), "does not have"),
    (Gather(2**40, (0,)), (f32(4),), "along axis"),
    (Slice(0, 3, 2), (f32(4),), "nothing is left"),
    (Slice(0, 0, 4, 0), (f32(4),), "cannot slice"),
    (Slice(-1, 0, 4), (f32(4),), "cannot slice"),
    (Transpose((0, 0)), (f32(4, 4),), "no order of 2 axes"),
    (Transpose(()), (f32(4),), "no order of 1 axes"),
    (Concat(0), (), "nothing to join"),
    (Concat(1), (f32(4), f32(4)), "has no axis 1"),
    (Concat(0), (f32(1),) * 4097, "the number of inputs of an op: 4097"),
    (KeepMask((0,), 0.5, 0), (), "the extent of an axis: 0"),
    (KeepMask((4,), float("nan"), 0), (), "a dropout probability of nan"),
    (KeepMask((4,), 0.5, 2**32), (), "the number of a random stream: 4294967296"),
    (Normal((4,), -1), (), "the number of a random stream: -1"),
    (Clamp(float("nan"), None), (f32(4),), "nan is no finite float32"),
    (Clamp(1e39, None), (f32(4),), "1e.39 is no finite float32"),
    (AveragePool2d((1, 1), (1, 1), divisors=(1e-45,)), (f32(1, 1, 1),), "normal float32"),
]


@pytest.mark.parametrize(("op", "inputs", "says"), HOSTILE, ids=[s for _, _, s in HOSTILE])
def test_what_is_beyond_them_is_refused_by_value_and_limit(
    op: Op, inputs: tuple[TensorType, ...], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        op.result(*inputs)


def test_an_op_without_inputs_says_how_many_it_takes() -> None:
    for op in (MaxPool2d((1, 1), (1, 1)), Conv2d(), Clamp(0, None), Reshape((1,)), Slice(0, 0, 1)):
        with pytest.raises(ValueError, match="inputs, not 0"):
            op.result()


def chain(length: int, outputs: int = 1) -> Graph:
    build = Builder()
    x = build.input("input", f32(4))
    for number in range(length):
        x = build.emit(Clamp(0, None), x, loc=Loc("relu"), name=f"relu{number}")
    return build.graph((x,) * outputs, Stage.FLOAT)


def test_the_number_of_ops_outputs_draws_and_members_is_bounded() -> None:
    check(chain(3, outputs=1024))
    with pytest.raises(CompileError, match="the graph: the number of outputs: 1025, and it must"):
        check(chain(3, outputs=1025))
    with pytest.raises(CompileError, match="the graph: the number of outputs: 0"):
        check(chain(0, outputs=0))
    with pytest.raises(CompileError, match="the model: the number of draws: 1000001"):
        Model((mlp(),), Head(Task.REGRESSION), 10**6 + 1).check()
    with pytest.raises(CompileError, match="the model: the number of members: 0"):
        Model((), Head(Task.RAW)).check()


@pytest.mark.slow
def test_a_network_of_too_many_ops_is_refused() -> None:
    with pytest.raises(CompileError, match="the number of ops of a network: 65537"):
        check(chain(2**16 + 1))


@pytest.mark.parametrize("shape", [(0,), (-1,), (2**28,), (1,) * 17])
def test_the_input_is_held_to_them(shape: tuple[int, ...]) -> None:
    build = Builder()
    x = build.input("input", f32(*shape))
    with pytest.raises(CompileError, match="the graph: the input: the"):
        check(build.graph((x,), Stage.FLOAT))


@pytest.mark.parametrize("name", ["a\x1b[2J", "a\n", "\ud800", "x" * 1025])
def test_names_are_short_and_printable(name: str) -> None:
    build = Builder()
    x = build.input(name, f32(4))
    with pytest.raises(CompileError, match=r"cannot be printed|the length of a name: 1025"):
        check(build.graph((x,), Stage.FLOAT))


def test_the_page_tells_the_limits_of_predictions_and_files() -> None:
    text = DOCUMENT.read_text().partition("## Predictions")[2]
    assert f"take {inputs.MOST_PREDICTED >> 30} GiB at most" in text
    assert f"uses {inputs.MOST_THREADS} threads" in text
    assert f"has {files.MOST_BYTES >> 30} GiB at most" in text
    stored, packed = (n >> 30 for n in (numpy_files.MOST_STORED, numpy_files.MOST_COMPRESSED))
    assert f"has {stored} GiB, or {packed} GiB where it is compressed" in text
    assert f"has {numpy_files.MOST_MEMBERS:,} arrays" in text
