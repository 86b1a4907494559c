"""Weights and the user's factory: what fits is loaded, what does not is told by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from qbnnc.frontend import ModelError, read_file
from qbnnc.frontend.files.model_factory import build_module
from qbnnc.frontend.files.stored_weights import load_weights
from qbnnc.ir.graph import Graph
from qbnnc.ir.ops import KeepMask
from qbnnc.support.errors import CompileError, FileError
from tests.frontend.nets import Net

NET = "tests.frontend.nets:Net"
ROWS = np.zeros((5, 6), np.float32)


def weight_of(graph: Graph, name: str) -> object:
    return next(array for value, array in graph.constants.items() if value.name == name).tolist()


@pytest.fixture
def weights() -> Mapping[str, Tensor]:
    torch.manual_seed(5)
    return Net().state_dict()


@pytest.mark.few(1)
@pytest.mark.parametrize("form", ["state_dict", "checkpoint", "half", "safetensors"])
def test_forms_of_weights(form: str, weights: Mapping[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    match form:
        case "state_dict":
            torch.save(weights, path)
        case "checkpoint":
            torch.save({"epoch": 3, "model_state_dict": weights}, path)
        case "half":
            torch.save({name: tensor.half() for name, tensor in weights.items()}, path)
        case _:
            safetensors.torch.save_file(dict(weights), path)
    source = read_file(path, factory=NET, example=ROWS, dropout="active")
    expected = weights["fc1.weight"].half().float() if form == "half" else weights["fc1.weight"]
    assert weight_of(source.graph, "fc1.weight") == expected.tolist()
    assert source.calibration is None


def test_model_args(tmp_path: Path) -> None:
    torch.save(Net(p=0.5).state_dict(), tmp_path / "net.pt")
    source = read_file(
        tmp_path / "net.pt", factory=NET, model_args={"p": 0.5}, example=ROWS, dropout="active"
    )
    assert [n.op for n in source.graph.nodes if isinstance(n.op, KeepMask)] == [
        KeepMask((8,), 0.5, 0)
    ]


def test_names_and_shapes_that_do_not_fit(weights: Mapping[str, Tensor], tmp_path: Path) -> None:
    changed = {"fc9.bias": torch.zeros(2), **weights, "fc2.weight": torch.zeros(3, 8)}
    del changed["fc1.bias"]
    torch.save(changed, tmp_path / "net.pt")
    with pytest.raises(FileError, match="does not fit the network of `model`") as error:
        read_file(tmp_path / "net.pt", factory=NET, example=ROWS)
    assert "missing: fc1.bias; unexpected: fc9.bias; shapes: fc2.weight is [3, 8]" in str(
        error.value
    )
    assert "[2, 8] in the network" in str(error.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([{"a": torch.zeros(1)}, 3], "holds a list, not weights"),
        ({"epoch": 3, "loss": 0.5}, "checkpoint without weights .* it holds epoch, loss"),
        (torch.zeros(3), "holds a Tensor, not weights"),
    ],
)
def test_no_one_set_of_weights(value: object, message: str, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "net.pt")
    with pytest.raises(FileError, match=message):
        read_file(tmp_path / "net.pt", factory=NET, example=ROWS)


def test_a_factory_needs_example_rows(weights: Mapping[str, Tensor], tmp_path: Path) -> None:
    torch.save(weights, tmp_path / "net.pt")
    with pytest.raises(FileError, match=r"example rows, and none are given; .*`calibration=...`"):
        read_file(tmp_path / "net.pt", factory=NET)


def test_dropout_that_eval_switched_off_must_be_decided(
    weights: Mapping[str, Tensor], tmp_path: Path
) -> None:
    torch.save(weights, tmp_path / "net.pt")
    with pytest.raises(CompileError, match=r"^drop \(nets.py:\d+\): .*`dropout='active'`.*'off'"):
        read_file(tmp_path / "net.pt", factory=NET, example=ROWS)
    off = read_file(tmp_path / "net.pt", factory=NET, example=ROWS, dropout="off")
    assert not any(isinstance(n.op, KeepMask) for n in off.graph.nodes)


@pytest.mark.parametrize(
    ("factory", "arguments", "message"),
    [
        (
            "nowhere.at.all:Net",
            {},
            "cannot be imported .No module named 'nowhere'.; check the name",
        ),
        ("tests.frontend.nets", {}, "not of the form package.module:factory"),
        ("tests.frontend.nets:Nothing", {}, "has no function or class 'Nothing'"),
        (NET, {"depth": 3}, "calling it with depth=3 fails .*unexpected keyword argument"),
        ("math:sqrt", {"x": 1}, "calling it with x=1 fails"),
        ("builtins:dict", {}, "returns a dict, not a torch.nn.Module"),
    ],
)
def test_factory_errors(factory: str, arguments: Mapping[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=f"^`model` {factory}: .*{message}"):
        build_module(factory, arguments)


def test_factory_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from torch import nn\nclass Inner:\n    make = staticmethod(lambda: nn.Linear(2, 2))\n"
    (tmp_path / "my_own_net.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    module = build_module("my_own_net:Inner.make", {})
    assert not module.training
    (tmp_path / "broken_net.py").write_text("import a_package_that_is_missing\n")
    with pytest.raises(ModelError, match="install 'a_package_that_is_missing'"):
        build_module("broken_net:make", {})
    (tmp_path / "failing_net.py").write_text("1 / 0\n")
    with pytest.raises(ModelError, match=r"importing it fails .division by zero"):
        build_module("failing_net:make", {})


def test_trusted_pickle(tmp_path: Path) -> None:
    torch.save(Net().eval(), tmp_path / "net.pt")
    source = read_file(tmp_path / "net.pt", example=ROWS, dropout="active", trust_pickle=True)
    assert any(isinstance(n.op, KeepMask) for n in source.graph.nodes)


class Settings:
    """The objects that people put beside the weights in a checkpoint."""


@pytest.mark.few(1)
@pytest.mark.parametrize("legacy", [False, True])
def test_trusted_checkpoint_with_other_objects(
    legacy: bool, weights: Mapping[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "net.pt"
    checkpoint = {"settings": Settings(), "state_dict": dict(weights)}
    torch.save(checkpoint, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(FileError, match="runs code from the file"):
        read_file(path, factory=NET, example=ROWS, dropout="off")
    source = read_file(path, factory=NET, example=ROWS, dropout="off", trust_pickle=True)
    assert weight_of(source.graph, "fc1.bias") == weights["fc1.bias"].tolist()


def test_trusted_pickle_that_cannot_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(Settings(), tmp_path / "net.pt")
    monkeypatch.delattr(f"{__name__}.Settings")
    with pytest.raises(FileError, match=r"cannot be unpickled .*must be importable"):
        read_file(tmp_path / "net.pt", example=ROWS, trust_pickle=True)


def test_trusted_pickle_of_weights_still_needs_a_factory(
    weights: Mapping[str, Tensor], tmp_path: Path
) -> None:
    torch.save(weights, tmp_path / "net.pt")
    with pytest.raises(FileError, match="pass `model="):
        read_file(tmp_path / "net.pt", example=ROWS, trust_pickle=True)


@pytest.mark.parametrize(
    ("tensor", "kind"),
    [
        (torch.empty(3, 4, device="meta"), "without its numbers"),
        (torch.eye(3, 4).to_sparse(), "sparse"),
    ],
)
def test_tensors_without_plain_numbers(tensor: Tensor, kind: str) -> None:
    net = nn.Linear(4, 3)
    with pytest.raises(FileError, match=f"not plain: weight is {kind}"):
        load_weights(net, {"weight": tensor, "bias": torch.zeros(3)}, Path("w.pt"))
