"""An ONNX file that was changed, lies or is no file of ours: refused, with a word."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from qbnnc.backends.onnx import emit
from qbnnc.backends.onnx.embedded_model import read_model
from qbnnc.backends.onnx.session import OnnxArtefact
from qbnnc.ir.format import digest
from qbnnc.ir.model import Model
from qbnnc.support.errors import ArtefactWarning, FileError, UserError
from tests.backends.equality import EVERY_MODEL
from tests.backends.networks import Lenet, sign
from tests.examples import examples
from tests.strategies import input_batch

Change = Callable[[onnx.ModelProto], object]
DATA = emit(Lenet().model())
X = np.ones((2, 2, 6, 6), np.float32)


def changed(change: Change, data: bytes = DATA) -> bytes:
    proto = onnx.load_model_from_string(data)
    change(proto)
    made = proto.SerializeToString()
    assert made != data
    return bytes(made)


def signed(change: Change, data: bytes = DATA) -> bytes:
    """Sign a file again, as somebody would who knows how the digest is made."""

    def both(proto: onnx.ModelProto) -> None:
        change(proto)
        sign(proto)

    return changed(both, data)


def first(proto: onnx.ModelProto, kind: str) -> onnx.NodeProto:
    (node, *_) = (node for node in proto.graph.node if node.op_type == kind)
    assert isinstance(node, onnx.NodeProto)
    return node


def _function(*attributes: onnx.AttributeProto) -> onnx.FunctionProto:
    """A function with one node, as files of earlier versions have."""
    node = helper.make_node("Constant", [], ["x"])
    node.attribute.extend(attributes)
    return helper.make_function("qbnnc", "f", [], ["x"], [node], [helper.make_opsetid("", 21)])


def set_property(proto: onnx.ModelProto, key: str, value: str) -> None:
    (entry,) = (p for p in proto.metadata_props if p.key == key)
    entry.value = value


def set_constant(proto: onnx.ModelProto, name: str) -> None:
    (tensor,) = (t for t in proto.graph.initializer if t.name == name)
    array = numpy_helper.to_array(tensor).copy()
    array.reshape(-1)[:1] += 1
    tensor.CopyFrom(numpy_helper.from_array(array, name))


def _more_nodes(proto: onnx.ModelProto) -> None:
    """The samples plus themselves."""
    node = proto.graph.node[-1]
    made = node.output[0]
    node.output[0] = "before"
    proto.graph.node.append(helper.make_node("Add", ["before", "before"], [made]))


def _sparse(proto: onnx.ModelProto) -> None:
    values = numpy_helper.from_array(np.ones(1, np.float32), "sparse")
    indices = numpy_helper.from_array(np.zeros(1, np.int64))
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))


def _subgraph(proto: onnx.ModelProto) -> None:
    graph = helper.make_graph([], "g", [], [])
    proto.graph.node[0].attribute.append(helper.make_attribute("body", graph))


CHANGES: dict[str, Change] = {
    "a node's op": lambda p: setattr(first(p, "Mul"), "op_type", "Add"),
    "a node's inputs": lambda p: first(p, "Mul").input.reverse(),
    "a node's domain": lambda p: setattr(p.graph.node[0], "domain", "evil"),
    "a node is gone": lambda p: p.graph.node.pop(),
    "one node more": _more_nodes,
    "the order of nodes": lambda p: p.graph.node.insert(0, p.graph.node.pop()),
    "an attribute": lambda p: p.graph.node[0].attribute.append(helper.make_attribute("axis", 3)),
    "a subgraph": _subgraph,
    "an initializer is gone": lambda p: p.graph.initializer.pop(),
    "one initializer more": lambda p: p.graph.initializer.append(TensorProto(name="x")),
    "a sparse initializer": _sparse,
    "an import": lambda p: setattr(p.opset_import[0], "version", 20),
    "one import more": lambda p: p.opset_import.append(helper.make_opsetid("evil", 1)),
    "the version": lambda p: setattr(p, "ir_version", 9),
    "a function": lambda p: p.functions.append(_function()),
    "an input's type": lambda p: setattr(p.graph.input[0].type.tensor_type, "elem_type", 11),
    "one input more": lambda p: p.graph.input.append(p.graph.input[0]),
    "no input": lambda p: p.graph.input.pop(0),
    "no seed": lambda p: p.graph.input.pop(1),
    "no output": lambda p: p.graph.output.pop(),
    "no outputs": lambda p: p.graph.ClearField("output"),
    "outputs in another order": lambda p: p.graph.output.insert(0, p.graph.output.pop()),
    "another output's name": lambda p: setattr(p.graph.output[-1], "name", "other"),
    "training": lambda p: p.training_info.add(),
    "no graph": lambda p: p.ClearField("graph"),
    "L": lambda p: set_property(p, "samples", "1"),
    "no L": lambda p: set_property(p, "samples", ""),
    "a huge L": lambda p: set_property(p, "samples", "9" * 5000),
    "no members": lambda p: set_property(p, "members", "0"),
    "the task": lambda p: set_property(p, "task", "classification"),
    "no task": lambda p: set_property(p, "task", "?"),
    "names of outputs": lambda p: set_property(p, "outputs", "a,b"),
    "the Model's digest": lambda p: set_property(p, "digest", 64 * "0"),
    "the content's digest": lambda p: set_property(p, "content", 64 * "0"),
    "two digests": lambda p: p.metadata_props.append(p.metadata_props[-1]),
    "no properties": lambda p: p.ClearField("metadata_props"),
    "one property more": lambda p: p.metadata_props.add(key="ort_config", value="{}"),
    "a field that onnx does not know": lambda p: p.MergeFromString(b"\xca\x3e\x01x"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_was_changed_is_refused(name: str) -> None:
    data = changed(CHANGES[name])
    for read in (read_model, OnnxArtefact.from_bytes):
        with pytest.raises(FileError, match=r"^a\.onnx: .*(made|changed|truncated)"):
            read(data, "a.onnx")


def test_every_constant_counts() -> None:
    """Constants count too that no Model tells: shapes, bounds, random numbers."""
    names = [t.name for t in onnx.load_model_from_string(DATA).graph.initializer]
    assert len(names) > 10
    for name in names:
        data = changed(partial(set_constant, name=name))
        with pytest.raises(FileError, match="changed after qbnnc made it"):
            OnnxArtefact.from_bytes(data, "a.onnx")


def _attributes(nodes: Iterator[onnx.NodeProto]) -> Iterator[onnx.AttributeProto]:
    for node in nodes:
        for attribute in node.attribute:
            yield attribute
            yield from _attributes(iter(attribute.g.node))


@examples(60)
@given(model=EVERY_MODEL, data=st.data())
def test_every_attribute_counts(model: Model, data: st.DataObject) -> None:
    proto = onnx.load_model_from_string(emit(model))
    attribute = data.draw(st.sampled_from(list(_attributes(iter(proto.graph.node)))))
    attribute.i += 1
    with pytest.raises(FileError, match="changed after qbnnc made it"):
        OnnxArtefact.from_bytes(proto.SerializeToString(), "a.onnx")


@examples(40)
@given(EVERY_MODEL)
def test_a_file_that_onnx_has_written_again_is_the_same(model: Model) -> None:
    data = emit(model)
    again = onnx.load_model_from_string(data).SerializeToString()
    assert digest(read_model(again)) == digest(model)
    x = input_batch(model, 2)
    one, other = (OnnxArtefact.from_bytes(each).predict(x) for each in (data, again))
    assert all((one[name] == other[name]).all() for name in one)


def test_a_flipped_bit_anywhere_is_refused() -> None:
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(DATA), 300):
        data = bytearray(DATA)
        data[at] ^= 1 << int(rng.integers(8))
        with pytest.raises((FileError, ArtefactWarning)):  # of the digest's own name: the word
            OnnxArtefact.from_bytes(bytes(data), "a.onnx")


EXTERNAL: dict[str, Callable[[onnx.ModelProto, TensorProto], object]] = {
    "an initializer": lambda p, t: p.graph.initializer.append(t),
    "a sparse one": lambda p, t: p.graph.sparse_initializer.append(
        onnx.SparseTensorProto(values=t)
    ),
    "an attribute": lambda p, t: p.graph.node[0].attribute.append(
        helper.make_attribute("value", t)
    ),
    "a list": lambda p, t: p.graph.node[0].attribute.append(helper.make_attribute("values", [t])),
    "a subgraph": lambda p, t: p.graph.node[0].attribute.append(
        helper.make_attribute("body", helper.make_graph([], "g", [], [], [t]))
    ),
    "a function": lambda p, t: p.functions.append(_function(helper.make_attribute("value", t))),
}


@pytest.mark.parametrize("place", EXTERNAL)
@pytest.mark.parametrize("made", [changed, signed])
def test_no_other_file_is_opened(place: str, made: Callable[[Change], bytes]) -> None:
    tensor = TensorProto(name="secret", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    data = made(lambda proto: EXTERNAL[place](proto, tensor))
    with pytest.raises(FileError, match="'secret' lies in another file"):
        OnnxArtefact.from_bytes(data, "a.onnx")


LIES = (
    "an input's type",
    "one input more",
    "no input",
    "no seed",
    "no output",
    "no outputs",
    "outputs in another order",
    "another output's name",
    "L",
    "no L",
    "a huge L",
    "no members",
    "the task",
    "no task",
    "no graph",
    "no properties",
    "a node is gone",
    "an initializer is gone",
)


@pytest.mark.filterwarnings("ignore:a.onnx. made by an older")
@pytest.mark.parametrize("name", LIES)
def test_a_signed_lie_is_an_error_and_no_traceback(name: str) -> None:
    with pytest.raises(UserError):
        OnnxArtefact.from_bytes(signed(CHANGES[name]), "a.onnx").predict(X)


@pytest.mark.parametrize("name", ["a node's domain", "a subgraph"])
def test_what_onnxruntime_cannot_load(name: str) -> None:
    loaded = OnnxArtefact.from_bytes(signed(CHANGES[name]), "a.onnx")
    with pytest.raises(UserError, match=r"^a\.onnx: onnxruntime"):
        loaded.predict(X)


def _another_shape(proto: onnx.ModelProto) -> None:
    """A mean of one number, where the file says a row of them for each row."""
    for output in proto.graph.output:
        if output.name == "mean":
            del output.type.tensor_type.shape.dim[1:]
    for node in proto.graph.node:
        node.output[:] = ["dropped" if name == "mean" else name for name in node.output]
    constant = numpy_helper.from_array(np.ones(7, np.float32))
    proto.graph.node.append(helper.make_node("Constant", [], ["mean"], value=constant))


def test_outputs_that_are_not_what_the_file_says() -> None:
    with pytest.raises(FileError, match=r"gives mean as float32 \[7\]"):
        OnnxArtefact.from_bytes(signed(_another_shape), "a.onnx").predict(X)


@pytest.mark.parametrize("data", [b"", b"\0", b"x" * 100, b"\x08\x0a", DATA[:-5], DATA[5:]])
def test_garbage(data: bytes) -> None:
    with pytest.raises(FileError, match=r"^a\.onnx: "):
        OnnxArtefact.from_bytes(data, "a.onnx")
