"""The Triton repository: its configuration by protobuf's parser, its file by onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from google.protobuf import (  # type: ignore[import-untyped]
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
)
from google.protobuf.message import Message  # type: ignore[import-untyped]

from qbnnc.backends.onnx import emit
from qbnnc.ir.oracle import oracle_prediction
from qbnnc.support.errors import UserError
from tests.runtime.nets import images, lenet
from tools.serving.triton import write

# name: (number, type) or (number, another message); a field that begins with * is repeated.
MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "Reshape": {"*shape": (1, "int64")},
    "Input": {
        "name": (1, "string"),
        "data_type": (2, "DataType"),
        "*dims": (4, "int64"),
        "reshape": (5, "Reshape"),
    },
    "Output": {
        "name": (1, "string"),
        "data_type": (2, "DataType"),
        "*dims": (3, "int64"),
        "reshape": (5, "Reshape"),
    },
    "Batching": {"max_queue_delay_microseconds": (2, "uint64")},
    "Group": {"count": (2, "int32"), "kind": (4, "Kind")},
    "Config": {
        "name": (1, "string"),
        "max_batch_size": (4, "int32"),
        "*input": (5, "Input"),
        "*output": (6, "Output"),
        "*instance_group": (7, "Group"),
        "dynamic_batching": (11, "Batching"),
        "backend": (17, "string"),
    },
}
ENUMS = {"DataType": {"TYPE_INT64": 5, "TYPE_FP32": 11}, "Kind": {"KIND_AUTO": 0, "KIND_CPU": 2}}
TYPES = {"string": 9, "int64": 3, "uint64": 4, "int32": 5}
MODEL = lenet()


def parse(text: str) -> Message:
    """The fields of Triton's model_config.proto that we use, by their names and types there."""
    file = descriptor_pb2.FileDescriptorProto(name="triton.proto", package="t", syntax="proto3")
    for name, values in ENUMS.items():
        enum = file.enum_type.add(name=name)
        for value, number in sorted({f"{name}_NONE": 0, **values}.items(), key=lambda v: v[1]):
            if number or name == "DataType" or value != f"{name}_NONE":
                enum.value.add(name=value, number=number)
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            label = 3 if field.startswith("*") else 1
            added = message.field.add(name=field.lstrip("*"), number=number, label=label)
            if kind in TYPES:
                added.type = TYPES[kind]
            else:
                added.type, added.type_name = (14 if kind in ENUMS else 11), f".t.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    config = message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Config"))()
    return text_format.Parse(text, config)


def test_the_repository(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(emit(MODEL, row_ids=True, default_seed=7))
    write(file, tmp_path / "repository", "lenet", rows=16, delay=300)
    folder = tmp_path / "repository" / "lenet"
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.*")) == [
        "1/model.onnx",
        "config.pbtxt",
    ]
    text = (folder / "config.pbtxt").read_text()
    config = parse(text)
    shown = text_format.MessageToString(config, as_one_line=True)
    assert shown.startswith('name: "lenet" max_batch_size: 16 input')
    assert 'name: "row_ids" data_type: TYPE_INT64 dims: 1 reshape { }' in shown
    assert "max_queue_delay_microseconds: 300" in shown
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        folder / "1" / "model.onnx", options, providers=["CPUExecutionProvider"]
    )
    x, ids = images(MODEL, 3), np.array([5, 0, 5])
    names = [part.split('"')[1] for part in text[text.index("output [") :].split("name: ")[1:]]
    made = dict(zip(names, session.run(names, {"input": x, "row_ids": ids}), strict=True))
    want = oracle_prediction(MODEL, x, samples=MODEL.samples, seed=7, row_ids=ids)
    assert names == [name for name in want if not name.startswith("samples")]
    for name in names:
        np.testing.assert_allclose(made[name], want[name], rtol=1e-5, atol=1e-6)


def test_the_parser_refuses() -> None:
    with pytest.raises(text_format.ParseError):
        parse("max_batch: 3")


@pytest.mark.parametrize("options", [{}, {"row_ids": True}, {"default_seed": 1}])
def test_files_that_cannot_be_batched(tmp_path: Path, options: dict[str, bool]) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(emit(MODEL, **options))
    with pytest.raises(UserError, match="--row-ids"):
        write(file, tmp_path / "repository", "lenet")
    assert not (tmp_path / "repository").exists()
