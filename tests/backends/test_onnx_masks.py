"""The random numbers inside the ONNX file against qbnnc.ir.rng and the published vectors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import pytest
from numpy.typing import NDArray

from qbnnc.backends.onnx import emit, streams
from qbnnc.backends.onnx.session import OnnxArtefact
from qbnnc.backends.onnx.splitmix64 import derive, mix
from qbnnc.backends.onnx.writer import Writer
from qbnnc.ir.graph import Builder
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Dequantize, KeepMask, QuantizeInput, Select
from qbnnc.ir.rng import Draw
from qbnnc.ir.scales import activation_quant
from qbnnc.ir.types import PER_ROW, DType, Stage, TensorType
from qbnnc.support.errors import Loc
from tests.backends.equality import assert_equal
from tests.strategies import random_integer_model

# Of the reference splitmix64.c at seed 1234567: its state after n steps is seed + n*GOLDEN.
PUBLISHED = [
    6457827717110365317,
    3203168211198807973,
    9817491932198370423,
    4593380528125082431,
    16408922859458223821,
]


def computed(
    write: Callable[[Writer, onnx_ir.Value], onnx_ir.Value], x: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """Run the nodes that `write` writes, in a model of their own."""
    writer = Writer(["x"])
    value = onnx_ir.val("x", onnx_ir.DataType.UINT64, x.shape)
    out = write(writer, value)
    out.type = onnx_ir.TensorType(onnx_ir.DataType.UINT64)
    graph = onnx_ir.Graph(
        [value],
        [out],
        nodes=writer.nodes,
        initializers=writer.initializers,
        opset_imports={"": 21},
        name="test",
    )
    proto = onnx_ir.to_proto(onnx_ir.Model(graph, ir_version=10))
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    made: NDArray[np.uint64] = session.run(None, {"x": x})[0]
    return made


def test_published_vectors() -> None:
    def write(writer: Writer, seed: onnx_ir.Value) -> onnx_ir.Value:
        return derive(writer, seed, np.arange(5, dtype=np.uint64), "words")

    assert computed(write, np.array(1234567, np.uint64)).tolist() == PUBLISHED


def test_mix_wraps_like_numpy() -> None:
    golden = np.uint64(0x9E3779B97F4A7C15)
    state = np.uint64(1234567) + golden * np.arange(1, 6, dtype=np.uint64)
    assert computed(lambda writer, z: mix(writer, z, "z"), state).tolist() == PUBLISHED


def masks_only(*masks: KeepMask, shape: tuple[int, ...] = (3, 2, 3)) -> Model:
    """A network of nothing but dropout; its masks are called m0, m1, ..."""
    build, loc = Builder(), Loc("drop", "net.py:1")
    x = build.input("input", TensorType(DType.F32, shape, PER_ROW))
    quant = activation_quant(-1.0, 1.0, 7)
    op = QuantizeInput((0.0,), quant.scale, quant, 0, 127)
    value = build.emit(op, x, loc=loc, name="input.q")
    for number, mask in enumerate(masks):
        keep = build.emit(mask, loc=loc, name=f"m{number}")
        value = build.emit(Select(), value, keep, loc=loc, name=f"drop{number}")
    out = build.emit(Dequantize(), value, loc=loc, name="out")
    model = Model((build.graph((out,), Stage.INTEGER),), Head(Task.RAW), 4)
    model.check()
    return model


def exposed(model: Model, rows: int, seed: int, first_row: int) -> dict[str, NDArray[np.uint8]]:
    x = np.zeros((rows, *model.graph.input.type.shape), np.float32)
    names = [n.output.name for n in model.graph.nodes if isinstance(n.op, KeepMask)]
    loaded = OnnxArtefact.from_bytes(emit(model))
    return loaded.values(x, names, seed=seed, first_row=first_row)


@pytest.mark.parametrize(("seed", "first_row"), [(0, 0), (-5, 3), (2**63 - 1, 2**62)])
def test_masks_are_found_by_name(seed: int, first_row: int) -> None:
    """Elements and channels, all kinds of p, streams out of order, last words half used."""
    masks = (
        KeepMask((3, 2, 3), 0.3, 4),
        KeepMask((3, 1, 1), 0.5, 0),
        KeepMask((3, 2, 3), 0.1, 9, shared=True),
        KeepMask((1, 2, 3), 0.0, 2),
        KeepMask((3, 1, 1), 0.999999, 3),
        KeepMask((3, 1, 1), 0.25, 7, shared=True),
    )
    model = masks_only(*masks)
    found = exposed(model, 5, seed, first_row)
    draw = Draw.of(seed, range(4), range(first_row, first_row + 5))
    for number, mask in enumerate(masks):
        expected = mask.draw(draw)
        assert found[f"m{number}"].shape == expected.shape
        assert np.array_equal(found[f"m{number}"], expected), mask
    assert not found["m4"].any()
    assert found["m3"].all()


@pytest.mark.parametrize("lane", range(4))
def test_a_lane_that_equals_the_threshold_is_kept(lane: int) -> None:
    """p = lane/65536 exactly: one more, and the element is dropped."""
    lanes = Draw.of(1, [0], [0]).lanes(0, 4, shared=False)[0, 0]
    for more in (0, 1):
        p = (int(lanes[lane]) + more) / 65536
        model = masks_only(KeepMask((4,), p, 0), shape=(4,))
        assert exposed(model, 1, 1, 0)["m0"][0, 0, lane] == 1 - more


def test_masks_are_drawn_together() -> None:
    """One generator for all words, whose size does not grow with the number of masks."""
    few, many = (
        onnx.load_model_from_string(
            emit(masks_only(*(KeepMask((3, 2, 3), 0.3, number) for number in range(count))))
        )
        for count in (1, 5)
    )
    kinds = [[n.op_type for n in proto.graph.node] for proto in (few, many)]
    for kind in ("BitwiseXor", "BitShift", "GreaterOrEqual", "Transpose"):
        assert kinds[0].count(kind) == kinds[1].count(kind) > 0
    assert not few.functions
    assert {o.domain for o in few.opset_import} == {""}


@pytest.mark.parametrize("count", [1, 3])
def test_engines_that_round_64_bits_refuse_the_file(count: int) -> None:
    """The seed is read through an Optional alone, which OpenVINO does not know."""
    masks = [KeepMask((3, 2, 3), 0.3, number) for number in range(count)]
    proto = onnx.load_model_from_string(emit(masks_only(*masks)))
    assert [n.op_type for n in proto.graph.node if "seed" in n.input] == ["Optional"]


@pytest.mark.few(1)
@pytest.mark.parametrize("many", [1, 40, 10**6])
@pytest.mark.parametrize("few", [0, 10**6])
def test_streams_are_drawn_in_groups(many: int, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one, some together, all at once; steps stored or computed: the same numbers."""
    monkeypatch.setattr(streams, "_MANY_WORDS", many)
    monkeypatch.setattr(streams, "_FEW_WORDS", few)
    for seed in range(6):
        assert_equal(random_integer_model(seed, ops="all"), 2, seed)
