"""The format of every kind of file, and the message about each that is not read."""

from __future__ import annotations

import io
import json
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
from onnx import TensorProto, helper
from torch import nn

from qbnnc.frontend import FileKind, detect_format, read_file
from qbnnc.support.errors import FileError
from tests.frontend.nets import Net


def saved(value: object, *, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def exported_program() -> bytes:
    buffer = io.BytesIO()
    program = torch.export.export(Net().eval(), (torch.zeros(2, 6),), strict=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.export.save(program, buffer)
    return buffer.getvalue()


def torchscript() -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), buffer)
    return buffer.getvalue()


def onnx_model() -> bytes:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    data: bytes = helper.make_model(graph, producer_name="test").SerializeToString()
    return data


def zipped(**members: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in members.items():
            archive.writestr(f"archive/{name}", text)
    return buffer.getvalue()


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.zeros(3))
    return buffer.getvalue()


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


def safetensors_file(**metadata: str) -> bytes:
    return safetensors.torch.save({"a": torch.zeros(3)}, metadata or None)


KINDS: dict[str, tuple[Callable[[], bytes], FileKind]] = {
    "exported program": (exported_program, FileKind.EXPORTED_PROGRAM),
    "module": (lambda: saved(Net()), FileKind.TORCH_SAVE),
    "state_dict": (lambda: saved(Net().state_dict()), FileKind.TORCH_SAVE),
    "list of state_dicts": (lambda: saved([Net().state_dict()] * 2), FileKind.TORCH_SAVE),
    "safetensors": (safetensors_file, FileKind.SAFETENSORS),
    "qbnn": (lambda: safetensors_file(qbnnc="1"), FileKind.QBNN),
    "TorchScript": (torchscript, FileKind.TORCHSCRIPT),
    "legacy": (
        lambda: saved(Net().state_dict(), legacy=True),
        FileKind.LEGACY_TORCH_SAVE,
    ),
    "pickle": (lambda: pickle.dumps({"a": 1}), FileKind.PICKLE),
    "ONNX": (onnx_model, FileKind.ONNX),
    "npy": (npy, FileKind.NUMPY),
    "npz": (npz, FileKind.NUMPY),
    "text": (lambda: b"import torch\n", FileKind.TEXT),
    "old program": (
        lambda: zipped(**{"serialized_exported_program.json": "{}"}),
        FileKind.OLD_EXPORTED_PROGRAM,
    ),
    "zip": (lambda: zipped(readme="hello"), FileKind.ZIP),
    "empty": (lambda: b"", FileKind.EMPTY),
    "truncated zip": (lambda: saved(Net().state_dict())[:-200], FileKind.TRUNCATED),
    "truncated safetensors": (lambda: safetensors_file()[:-4], FileKind.TRUNCATED),
    "noise": (lambda: bytes(range(200, 256)), FileKind.UNKNOWN),
}
UNSUPPORTED = {
    "TorchScript": "is a TorchScript archive, which is not read; save the model with qbnnc.save",
    "legacy": "legacy pickle format, and opening a pickle runs code from the file; load it",
    "pickle": "is a pickle, and opening a pickle runs code from the file; load it",
    "ONNX": "is an ONNX model, which has lost the Bayesian layers; start from the PyTorch module",
    "npy": "holds numpy arrays, not a model; save the model with",
    "npz": "holds numpy arrays, not a model; save the model with",
    "text": "is a text file, not a model; pass Python code as `model='package.module:factory'`",
    "old program": "of an old torch .before 2.7.; export and save it again",
    "zip": "is a zip archive of a kind that is not known; save the model with",
    "empty": "is empty; copy or download it again",
    "truncated zip": "is cut off or damaged; copy or download it again",
    "truncated safetensors": "is cut off or damaged; copy or download it again",
    "noise": "is of a kind that is not known; save the model with",
    "qbnn": "is a compiled .qbnn already; run it",
    "module": "holds Python objects and not only tensors .* runs code .* `trust_pickle=True`",
    "state_dict": "holds weights without the network they belong to; pass `model=",
    "list of state_dicts": "holds weights without the network they belong to; pass `model=",
    "safetensors": "holds weights without the network they belong to; pass `model=",
}


@pytest.mark.parametrize("kind", KINDS)
def test_kind_from_bytes_whatever_the_name(kind: str, tmp_path: Path) -> None:
    make, expected = KINDS[kind]
    path = tmp_path / "model.pt"
    path.write_bytes(make())
    assert detect_format(path) is expected


def test_every_kind_is_tested() -> None:
    assert {kind for _, kind in KINDS.values()} == set(FileKind)


@pytest.mark.parametrize("kind", UNSUPPORTED)
def test_not_read_with_a_remedy(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(KINDS[kind][0]())
    with pytest.raises(FileError, match=UNSUPPORTED[kind]) as error:
        read_file(path)
    assert str(error.value).startswith(f"{path}: ")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"nothing.pt: cannot be read .No such file"):
        read_file(tmp_path / "nothing.pt")


def test_an_onnx_file_of_any_first_fields(tmp_path: Path) -> None:
    model = onnx.load_from_string(onnx_model())
    model.producer_name = ""
    (tmp_path / "model").write_bytes(model.SerializeToString())
    assert detect_format(tmp_path / "model") is FileKind.ONNX


@pytest.mark.parametrize("header", [b"{broken", b"{}", b"[" * 9])
def test_odd_safetensors_headers_raise_nothing_else(header: bytes, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(struct.pack("<Q", len(header)) + header)
    assert detect_format(tmp_path / "model") in {
        FileKind.TRUNCATED,
        FileKind.SAFETENSORS,
        FileKind.UNKNOWN,
    }


def test_a_header_that_is_no_table_of_tensors(tmp_path: Path) -> None:
    header = json.dumps({"a": 3, "b": {"data_offsets": "x"}}).encode()
    (tmp_path / "model").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(FileError, match="damaged safetensors"):
        read_file(tmp_path / "model", factory="tests.frontend.nets:Net")
