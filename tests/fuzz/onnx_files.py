"""The target `onnx`: compiled ONNX files as `qbnnc run` opens them.

A file that is accepted must compute what the Model in it says, by the oracle, bit by bit.
"""

from __future__ import annotations

import base64
import bz2
import zlib
from random import Random

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from qbnnc.backends.onnx import emit
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_samples
from qbnnc.loading.artefacts import OnnxFile, open_artefact
from qbnnc.support.errors import UserError
from tests.fuzz import records, seeds
from tests.fuzz.folder import new_folder
from tests.fuzz.models import batch, same
from tests.fuzz.seeds import OF_RANDOM_OPS
from tests.fuzz.signing import Parts, signed
from tests.fuzz.target import Unmade
from tests.fuzz.trees import WHOLE, flipped
from tests.fuzz.verdict import Kind, Verdict, WrongAnswer
from tests.graphs import FAMILIES, mlp
from tests.runtime import nets
from tests.strategies import random_integer_model
from tests.tokens import integer_model

_EMBEDDED = "model"
_INTEGERS = tuple(n for n in WHOLE if -(2**63) <= n < 2**63)


def open_target() -> OnnxTarget:
    """With some networks compiled to ONNX."""
    return OnnxTarget()


class OnnxTarget:
    """.onnx files of ours."""

    suffix = ".onnx"

    def __init__(self) -> None:
        self.path = new_folder() / "model.onnx"
        models = [seeds.quantise(Model((mlp(p=p),), Head(Task.REGRESSION))) for p in (0.1, None)]
        names = ("rearranged noise", "reshaped outputs", "moved outputs", "elementwise")
        models += [seeds.quantise(Model((FAMILIES[n](),), Head(Task.RAW)), "w4a4") for n in names]
        models += [seeds.quantise(Model((mlp(0), mlp(1)), Head(Task.RAW))), nets.resnet(draws=2)]
        models += [integer_model(4), *(random_integer_model(n, ops=o) for n, o in OF_RANDOM_OPS)]
        self.files = [emit(model) for model in models]
        alone = emit(models[0], embedded_model=False)
        for data in self.files:
            if self.attempt(data).kind is not Kind.RAN:
                raise WrongAnswer("an honest file")
        if self.attempt(alone).kind is not Kind.UNCOMPARED:
            raise WrongAnswer("an honest file without its Model")
        self.files.append(alone)

    def make(self, rng: Random) -> bytes:
        """A file whose tensors, nodes, names, metadata or embedded Model were changed."""
        data = rng.choice(self.files)
        if rng.random() < 0.1:
            return flipped(rng, data)
        proto = onnx.load_model_from_string(data)
        for _ in range(rng.choice((0, 1, 1, 1, 1, 2, 3))):
            _change(rng, proto)
        try:
            return bytes(proto.SerializeToString())
        except ValueError as error:
            raise Unmade(str(error)) from None

    def attempt(self, data: bytes) -> Verdict:
        """Open the file, run a few rows, and ask the oracle about the Model in it."""
        self.path.write_bytes(data)
        opened = open_artefact(self.path, 1)
        if not isinstance(opened, OnnxFile):
            raise WrongAnswer("an ONNX file was taken for another")
        rng = Random(data)
        try:
            if opened.samples > 40:
                return Verdict(Kind.PASSED, "too many samples to run")
            x, seed = _rows(opened, rng), rng.choice((0, 5, -1))
            made = opened.predict(x, seed=seed)
        except UserError as error:
            return Verdict(Kind.PASSED, str(error)[:300])
        if not opened.holds_model:
            return Verdict(Kind.UNCOMPARED, "no Model in the file")
        model = opened.model
        want = oracle_samples(model, x, samples=opened.samples, seed=seed)
        names = model.head.sample_names(len(want))
        for name, expected in zip(names, want, strict=True):
            if name not in made or not same(made[name], expected):
                raise WrongAnswer(f"{name} is not what the Model in the file gives")
        return Verdict(Kind.RAN)


def _rows(opened: OnnxFile, rng: Random) -> NDArray[np.float32]:
    """Rows of numbers, and of ids where the file takes these."""
    x, taken = batch(opened.input_shape, rng.choice((0, 1, 3)), rng), opened.rows_taken
    return x if taken.ids is None else np.where(taken.ids > 0, taken.drawn(len(x)), x)


def _change(rng: Random, proto: onnx.ModelProto) -> None:
    """One change; none where an earlier one has left nothing to change."""
    graph = proto.graph
    change = rng.choice(
        (_tensor, _tensor, _node, _node, _attribute, _interface, _property, _embedded)
    )
    if change in (_embedded, _property) or (graph.node and graph.initializer):
        change(rng, proto)


def _tensor(rng: Random, proto: onnx.ModelProto) -> None:
    """An initialiser with other numbers, another shape or element type, or elsewhere."""
    tensor = rng.choice(proto.graph.initializer)
    kind = rng.randrange(6)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        tensor.external_data[0].value = rng.choice(("/dev/zero", "", "..", "model.onnx"))
    elif kind < 3:
        array = numpy_helper.to_array(tensor)
        if array.dtype.kind in "fiu" and array.dtype.isbuiltin:
            new = numpy_helper.from_array(records.changed(rng, np.array(array)), tensor.name)
            tensor.CopyFrom(new)
        elif tensor.raw_data:
            tensor.raw_data = flipped(rng, tensor.raw_data)
    elif kind == 3:
        tensor.dims[:] = [rng.choice(_INTEGERS) for _ in range(rng.choice((0, 1, 2, 9)))]
    elif kind == 4:
        tensor.data_type = rng.choice((0, 1, 2, 3, 6, 7, 8, 9, 16, 21, 22, 99))
    else:
        tensor.data_location = onnx.TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", rng.choice(("/etc/passwd", "../x", "model.onnx", ""))


def _node(rng: Random, proto: onnx.ModelProto) -> None:
    """A node of another kind, with other inputs, gone, or once more."""
    graph = proto.graph
    node, other = rng.choice(graph.node), rng.choice(graph.node)
    kind = rng.randrange(5)
    if kind == 0:
        node.op_type = rng.choice((other.op_type, "Identity", "Neg", "Loop", "If", "x", ""))
    elif kind == 1 and node.input:
        names = [*other.output, *other.input, "input", "", "nowhere"]
        node.input[rng.randrange(len(node.input))] = rng.choice(names)
    elif kind == 2:
        graph.node.remove(node)
    elif kind == 3:
        graph.node.add().CopyFrom(other)
    else:
        node.domain = rng.choice(("", "com.microsoft", "x"))


def _attribute(rng: Random, proto: onnx.ModelProto) -> None:
    nodes = [node for node in proto.graph.node if node.attribute]
    if not nodes:
        return
    attribute = rng.choice(rng.choice(nodes).attribute)
    if attribute.ints:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(_INTEGERS)
    elif attribute.HasField("i"):
        attribute.i = rng.choice(_INTEGERS)
    else:
        attribute.f = rng.choice((0.0, -1.0, 1e38, float("nan")))


def _interface(rng: Random, proto: onnx.ModelProto) -> None:
    """Inputs and outputs: gone, doubled, renamed, of another shape."""
    values = rng.choice((proto.graph.input, proto.graph.output, proto.graph.value_info))
    if not values:
        return
    value, kind = rng.choice(values), rng.randrange(4)
    if kind == 0:
        values.remove(value)
    elif kind == 1:
        values.add().CopyFrom(value)
    elif kind == 2:
        value.name = rng.choice((rng.choice(values).name, "samples", "mean", "x", ""))
    else:
        dims = value.type.tensor_type.shape.dim
        if dims:
            rng.choice(dims).dim_value = rng.choice(_INTEGERS)


def _property(rng: Random, proto: onnx.ModelProto) -> None:
    """Change a metadata property of the file."""
    entries = proto.metadata_props
    if not entries:
        return
    entry, kind = rng.choice(entries), rng.randrange(3)
    if kind == 0:
        entries.remove(entry)
    elif kind == 1:
        texts = ("", "0", "-1", "1", "99", "1e9", "10000000000000000000000", "é", "raw", "a,a")
        ours = ("5x8", "5x10000000000000", "-1,2", "[" * 9999, '["a", "a", "b"]', "[[1], null]")
        changed = ("9" * 5000, entry.value[::-1], entry.value[1:])
        entry.value = rng.choice((*texts, *ours, *changed))
    else:
        entry.key = rng.choice([e.key for e in entries])


def _embedded(rng: Random, proto: onnx.ModelProto) -> None:
    """The Model in the file: changed and signed again, cut off, or a bomb."""
    for entry in proto.metadata_props:
        if entry.key == _EMBEDDED:
            entry.value = _repacked(rng, entry.value)


def _repacked(rng: Random, text: str) -> str:
    try:
        data = bz2.decompress(base64.b64decode(text))
    except (OSError, ValueError):  # an earlier change has left no Model
        return text[::-1]
    kind = rng.randrange(6)
    if kind == 0:
        packed = bz2.compress(bytes(rng.choice((1 << 20, 1 << 26))))
    elif kind == 1:
        packed = zlib.compress(data)
    elif kind == 2:
        packed = flipped(rng, bz2.compress(data))
    elif kind == 3:
        packed = bz2.compress(flipped(rng, data))
    else:
        try:
            parts = Parts.of(data)
            records.change(rng, parts, parts)
            packed = bz2.compress(signed(parts))
        except Exception as error:
            raise Unmade(str(error)) from None
    return base64.b64encode(packed).decode()
