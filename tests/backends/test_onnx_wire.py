"""ONNX files read by their bytes, held against the onnx package."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from qbnnc.backends.onnx import emit
from qbnnc.backends.onnx.proto import File, ValueInfo, with_outputs
from qbnnc.backends.onnx.wire import Field, Message, read_fields, written
from qbnnc.ir.model import Model
from tests.backends.equality import EVERY_MODEL
from tests.backends.networks import Lenet
from tests.examples import examples
from tests.golden import golden

DATA = emit(Lenet().model())


def told(info: onnx.ValueInfoProto) -> tuple[object, ...]:
    """What onnx says of a value."""
    tensor = info.type.tensor_type
    shape = tuple(dim.dim_value for dim in tensor.shape.dim)
    return info.name, tensor.elem_type, shape, {p.key: p.value for p in info.metadata_props}


def ours(info: ValueInfo) -> tuple[object, ...]:
    return info.name, info.elements, info.shape, info.properties


def assert_same(data: bytes) -> None:
    file, proto = File.of(data), onnx.load_model_from_string(data)
    assert file.producer == proto.producer_name
    assert file.properties == {p.key: p.value for p in proto.metadata_props}
    assert list(map(ours, file.inputs)) == list(map(told, proto.graph.input))
    assert list(map(ours, file.outputs)) == list(map(told, proto.graph.output))
    assert list(map(ours, file.values)) == list(map(told, proto.graph.value_info))
    found = file.tensors()
    assert list(found) == [tensor.name for tensor in proto.graph.initializer]
    for tensor in proto.graph.initializer:
        if tensor.data_type != onnx.TensorProto.INT4:
            expected, array = numpy_helper.to_array(tensor), found[tensor.name].array()
            assert array.dtype == expected.dtype
            assert np.array_equal(array, expected)


@examples(40)
@given(EVERY_MODEL)
def test_our_files_are_read_as_onnx_reads_them(model: Model) -> None:
    assert_same(emit(model))


def test_a_file_of_version_1_is_read_as_onnx_reads_it() -> None:
    assert_same(golden("ensemble.onnx"))


def test_elements_that_are_not_raw_bytes() -> None:
    """Integers may stand one by one in a tensor, or packed; signs are kept."""
    for dtype in (np.int32, np.uint8, np.int8, np.int64):
        array = np.array(
            [[1, 0], [100, -1 if np.issubdtype(dtype, np.signedinteger) else 7]], dtype
        )
        tensor = numpy_helper.from_array(array, "a")
        tensor.ClearField("raw_data")
        listed = tensor.int64_data if dtype is np.int64 else tensor.int32_data
        listed.extend(array.ravel().tolist())
        proto = onnx.ModelProto(graph=onnx.GraphProto(initializer=[tensor]))
        found = File.of(proto.SerializeToString()).tensors()["a"].array()
        assert found.dtype == dtype
        assert np.array_equal(found, array)


def in_order(fields: dict[int, list[Field]]) -> list[Field]:
    """The fields of all numbers in the order of the file."""
    return sorted((field for each in fields.values() for field in each), key=lambda f: f[3])


def test_more_outputs() -> None:
    values = File.of(DATA).values[:2]
    more = onnx.load_model_from_string(with_outputs(DATA, values))
    before = onnx.load_model_from_string(DATA)
    assert list(map(told, more.graph.output)) == [
        *map(told, before.graph.output),
        *map(told, before.graph.value_info[:2]),
    ]
    assert more.graph.node == before.graph.node


@examples(200)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_a_value_error(data: bytes) -> None:
    """The fields cover all bytes, in order, without a gap."""
    try:
        fields = in_order(read_fields(data, 0, len(data)))
    except ValueError:
        return
    assert [start for *_, start, _ in fields] == [0, *(end for *_, end in fields)][: len(fields)]
    assert not fields or fields[-1][-1] == len(data)


@examples(60)
@given(st.lists(st.tuples(st.integers(1, 2000), st.binary(max_size=300))))
def test_what_is_written_is_read(fields: list[tuple[int, bytes]]) -> None:
    data = b"".join(written(number, value) for number, value in fields)
    read = in_order(read_fields(data, 0, len(data)))
    found = [(n, data[at:end]) for n, whole, at, _, end in read if not whole]
    assert found == fields


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01",  # the number 0
        b"\x0b",  # a group
        b"\x0a\x05abc",  # four bytes of five
        b"\x08" + 10 * b"\x80",  # a number without an end
        b"\x0d\x00\x00",  # a float of two bytes
    ],
)
def test_bytes_that_are_no_message(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"a field|a number"):
        read_fields(data, 0, len(data))


def test_a_field_of_another_kind() -> None:
    with pytest.raises(ValueError, match="field 1 is a number"):
        Message(b"\x08\x01").text(1)


def test_graphs_in_graphs_end_somewhere() -> None:
    """A body in a body, and so on, is no stack overflow."""
    graph = b""
    for _ in range(3000):
        graph = written(1, written(5, written(6, graph)))
    with pytest.raises(ValueError, match="nested"):
        list(File.of(written(7, graph)).tensors_elsewhere())
