"""Exported programs: saved with calibration rows, read back, and made for one batch only."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qbnnc.frontend import read_file, read_module, save_program
from qbnnc.frontend.torch_messages import quiet_torch
from qbnnc.ir.inputs import inputs_of
from qbnnc.ir.ops import KeepMask
from qbnnc.support.errors import CompileError, FileError, InputError
from tests.frontend.nets import Around, Net, Spelled
from tests.frontend.outputs import images, outputs_of
from tools.models import LeNet_MCD

X = images(4, 6)


def write(module: nn.Module, x: Tensor, path: Path) -> None:
    """torch.export.save for this batch only, as a user without qbnnc would."""
    buffer = io.BytesIO()
    with quiet_torch(), torch.no_grad():
        torch.export.save(torch.export.export(module, (x,), strict=False), buffer)
    path.write_bytes(buffer.getvalue())


def test_saved_and_read_back(tmp_path: Path) -> None:
    net, path, rows = LeNet_MCD().eval(), tmp_path / "lenet.pt", np.ones((3, 1, 28, 28))
    save_program(net, path, torch.zeros(1, 1, 28, 28), calibration=rows)
    source = read_file(path)
    assert str(source.graph) == str(read_module(net, torch.zeros(2, 1, 28, 28)))
    assert source.calibration is not None
    assert source.calibration.dtype == np.float32
    np.testing.assert_array_equal(source.calibration, rows)


@pytest.mark.few(0)
def test_at_most_512_rows_spread_evenly(tmp_path: Path) -> None:
    rows = np.arange(1000, dtype=np.float32).repeat(6).reshape(1000, 6)
    save_program(Net().eval(), tmp_path / "net", X, calibration=rows, dropout="active")
    kept = read_file(tmp_path / "net").calibration
    assert kept is not None
    assert kept.shape == (512, 6)
    assert (kept[0, 0], kept[-1, 0]) == (0, 999)
    assert len(np.unique(kept[:, 0])) == 512


@pytest.mark.few(0)
def test_dropout_is_saved_as_said(tmp_path: Path) -> None:
    net = Net().eval()
    with pytest.raises(CompileError, match="switched off"):
        save_program(net, tmp_path / "net", X)
    save_program(net, tmp_path / "active", X, dropout="active")
    save_program(net, tmp_path / "off", X, dropout="off")
    masks = [
        sum(isinstance(n.op, KeepMask) for n in read_file(tmp_path / name).graph.nodes)
        for name in ("active", "off")
    ]
    assert masks == [1, 0]


def test_dropout_of_a_program_is_decided_on_reading(tmp_path: Path) -> None:
    write(Net().eval(), X, tmp_path / "net.pt2")
    with pytest.raises(CompileError, match=r"^drop \(nets.py:\d+\): .*`dropout='active'`"):
        read_file(tmp_path / "net.pt2")
    graph = read_file(tmp_path / "net.pt2", dropout="active").graph
    assert [n.output.name for n in graph.nodes if isinstance(n.op, KeepMask)] == ["drop.keep"]


def test_what_cannot_be_compiled_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="lgamma"):
        save_program(Around(Spelled(torch.lgamma)), tmp_path / "net", X)
    assert list(tmp_path.iterdir()) == []


def test_calibration_rows_that_are_not_finite(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="NaN or infinity"):
        save_program(Net(), tmp_path / "net", X, calibration=np.full((2, 6), np.nan))


def test_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be written"):
        save_program(Net(), tmp_path / "no" / "net", X)


def test_static_export_is_generalised(tmp_path: Path) -> None:
    """view([4, 6]) keeps the rows: any batch can be predicted."""
    net = Around(Spelled(lambda h: h.reshape(h.shape[0], 2, 3).view(4, -1))).eval()
    write(net, X, tmp_path / "net.pt2")
    graph = read_file(tmp_path / "net.pt2").graph
    x = images(7, 6)
    expected = torch.cat([net(x[:4]), net(x[3:])[1:]])
    np.testing.assert_allclose(outputs_of(graph, x)[0], expected.detach(), atol=1e-6)


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Spelled(lambda h: h.reshape(2, 2, 6).mean(1).repeat(2, 1)), "rows of the batch are mixed"),
        (Spelled(lambda h: h + torch.arange(24.0).reshape(4, 6)), "broadcast to one row"),
        (Spelled(lambda h: h.t().reshape(4, 6)), "rows of the batch are mixed"),
    ],
)
def test_static_export_that_mixes_rows(layer: nn.Module, message: str, tmp_path: Path) -> None:
    write(Around(layer).eval(), X, tmp_path / "net.pt2")
    with pytest.raises(CompileError, match=rf"^layer \(nets.py:\d+\): .*{message}"):
        read_file(tmp_path / "net.pt2")


def test_batch_norm_of_a_program_in_training_mode(tmp_path: Path) -> None:
    write(Around(nn.BatchNorm1d(6)).train(), X, tmp_path / "net.pt2")
    with pytest.raises(CompileError, match="normalises with the statistics of the batch"):
        read_file(tmp_path / "net.pt2")


def test_a_program_of_two_inputs(tmp_path: Path) -> None:
    class Two(nn.Module):
        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            return left + right

    buffer = io.BytesIO()
    with quiet_torch():
        torch.export.save(torch.export.export(Two(), (X, X.clone()), strict=False), buffer)
    (tmp_path / "net.pt2").write_bytes(buffer.getvalue())
    source = read_file(tmp_path / "net.pt2")
    assert [(e.name, e.start) for e in inputs_of(source.graph)] == [("left", 0), ("right", 6)]
    rows = np.arange(48, dtype=np.float32).reshape(4, 12)
    with source.references[0].opened() as call:
        (made,) = call(source.references[0].input(rows))
    assert np.array_equal(made, rows[:, :6] + rows[:, 6:])


def test_a_program_that_takes_no_tensor(tmp_path: Path) -> None:
    class Scaled(nn.Module):
        def forward(self, x: Tensor, factor: float) -> Tensor:
            return x * factor

    with quiet_torch():
        program = torch.export.export(Scaled(), (X, 2.0), strict=False)
        torch.export.save(program, tmp_path / "net.pt2")
    with pytest.raises(InputError, match="the network takes something else than tensors"):
        read_file(tmp_path / "net.pt2")


def test_a_program_for_any_width(tmp_path: Path) -> None:
    program = torch.export.export(
        nn.ReLU(), (X,), dynamic_shapes=({1: torch.export.Dim.DYNAMIC},), strict=False
    )
    buffer = io.BytesIO()
    with quiet_torch():
        torch.export.save(program, buffer)
    (tmp_path / "net.pt2").write_bytes(buffer.getvalue())
    with pytest.raises(CompileError, match=r"^input: takes any .* export it for one shape"):
        read_file(tmp_path / "net.pt2")


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(3,", "(-1, 6)"])
def test_calibration_rows_that_lie(shape: str, tmp_path: Path) -> None:
    """An .npy file that claims 4 terabytes, and others that are none."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}"
    rows = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
    buffer, stored = io.BytesIO(), base64.b64encode(rows).decode()
    with quiet_torch(), torch.no_grad():
        program = torch.export.export(Net().eval(), (X,), strict=False)
        torch.export.save(program, buffer, extra_files={"qbnnc_calibration.npy.base64": stored})
    (tmp_path / "net.pt2").write_bytes(buffer.getvalue())
    with pytest.raises(FileError, match="damaged calibration rows"):
        read_file(tmp_path / "net.pt2")
