"""Ensembles: lists of state_dicts, several files, folders; one trace for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from qbnnc.frontend import read_file, save_program
from qbnnc.frontend.trace import any_batch, dropout_mode
from qbnnc.ir.graph import Graph
from qbnnc.ir.ops import Normal
from qbnnc.ir.types import Array
from qbnnc.support.errors import CompileError, FileError, UserError
from tests.frontend import bayesian
from tests.frontend.bayesian import Sampled
from tests.frontend.nets import Net, randomise_batch_norm
from tests.frontend.outputs import outputs_of

NET = "tests.frontend.nets:Net"
ROWS = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)


def nets(count: int, factory: type[nn.Module] = Net) -> list[nn.Module]:
    torch.manual_seed(3)
    return [factory().eval() for _ in range(count)]


def states(count: int) -> list[dict[str, Tensor]]:
    return [net.state_dict() for net in nets(count)]


def assert_same(graph: Graph, net: nn.Module) -> None:
    with torch.no_grad():
        expected = net(torch.from_numpy(ROWS)).numpy()
    (output,) = outputs_of(graph, torch.from_numpy(ROWS))
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-5)


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The modules that were traced, in order."""
    seen: list[object] = []
    trace = dropout_mode.trace_in_mode

    def counted(module: nn.Module, *rest: Any) -> object:
        seen.append(module)
        return trace(module, *rest)

    monkeypatch.setattr(any_batch, "trace_in_mode", counted)
    return seen


@pytest.mark.few(1)
@pytest.mark.parametrize("form", ["list", "tuple", "checkpoint", "half", "files", "folder"])
def test_forms_of_ensembles(form: str, tmp_path: Path, traces: list[object]) -> None:
    found, path = states(11), tmp_path / "nets.pt"
    folder = tmp_path / "nets"
    files = [folder / f"net{i}.pt" for i in range(11)]
    paths: Path | Sequence[Path] = path
    match form:
        case "list":
            torch.save(found, path)
        case "tuple":
            torch.save(tuple(found), path)
        case "checkpoint":
            torch.save({"epoch": 3, "state_dicts": found}, path)
        case "half":
            torch.save([{k: v.half() for k, v in state.items()} for state in found], path)
        case _:
            folder.mkdir()
            for file, state in zip(files, found, strict=True):
                torch.save(state, file)
            (folder / "README.txt").write_text("notes are no member\n")
            paths = folder if form == "folder" else files
    source = read_file(paths, factory=NET, example=ROWS, dropout="off")
    assert len(source.graphs) == 11
    assert source.graph is source.graphs[0]
    assert len(traces) == 1
    for graph, net in zip(source.graphs, nets(11), strict=True):
        assert_same(graph, net.half().float() if form == "half" else net)


def test_a_mixture_of_files(tmp_path: Path) -> None:
    first, second, third = nets(3)
    torch.save([first.state_dict(), second.state_dict()], tmp_path / "two.pt")
    safetensors.torch.save_file(third.state_dict(), tmp_path / "one")
    paths: list[str | Path] = [tmp_path / "two.pt", str(tmp_path / "one")]
    source = read_file(paths, factory=NET, example=ROWS, dropout="off")
    for graph, net in zip(source.graphs, (first, second, third), strict=True):
        assert_same(graph, net)


@pytest.mark.few(0)
def test_exported_programs(tmp_path: Path) -> None:
    for number, net in enumerate(nets(2)):
        rows = ROWS + number
        save_program(net, tmp_path / f"{number}.pt2", ROWS, calibration=rows, dropout="off")
    source = read_file(tmp_path)
    for graph, net in zip(source.graphs, nets(2), strict=True):
        assert_same(graph, net)
    assert source.calibration is not None
    np.testing.assert_array_equal(source.calibration, ROWS)


class Normed(nn.Module):
    """Buffers, a tied weight, a weight computed from weights, and a Python constant of a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.utils.parametrizations.weight_norm(nn.Linear(6, 6))
        self.norm = nn.BatchNorm1d(6)
        self.tied = nn.Linear(6, 6)
        self.again = self.tied
        self.shift = torch.ones(6)
        randomise_batch_norm(self)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.again(self.tied(self.norm(self.fc(x))) + self.shift)
        return y


@pytest.mark.few(0)
def test_all_that_a_state_dict_holds_is_swapped(tmp_path: Path) -> None:
    members = nets(3, Normed)
    torch.save([net.state_dict() for net in members], tmp_path / "nets.pt")
    source = read_file(
        tmp_path / "nets.pt", factory="tests.frontend.test_ensembles:Normed", example=ROWS
    )
    for graph, net in zip(source.graphs, members, strict=True):
        assert_same(graph, net)


class WithState(Net):
    """A network whose outputs depend on more than tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = float(torch.rand(()))

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.factor)

    def set_extra_state(self, state: Tensor) -> None:
        self.factor = float(state)

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * super().forward(x)


@pytest.mark.few(0)
def test_state_beside_the_tensors_is_traced_again(tmp_path: Path, traces: list[object]) -> None:
    members = nets(2, WithState)
    torch.save([net.state_dict() for net in members], tmp_path / "nets.pt")
    factory = "tests.frontend.test_ensembles:WithState"
    source = read_file(tmp_path / "nets.pt", factory=factory, example=ROWS, dropout="off")
    for graph, net in zip(source.graphs, members, strict=True):
        assert_same(graph, net)
    assert len(traces) == 2


def sampled() -> nn.Module:
    return Sampled(bayesian.softplus)


def test_members_with_sampled_weights(tmp_path: Path) -> None:
    first, second = sampled().state_dict(), sampled().state_dict()
    second["mu"] += 1
    torch.save([first, second], tmp_path / "nets.pt")
    factory = "tests.frontend.test_ensembles:sampled"
    source = read_file(tmp_path / "nets.pt", factory=factory, example=ROWS)
    means = [constant(graph, "linear.weight.mu") for graph in source.graphs]
    np.testing.assert_array_equal(means[1] - means[0], (second["mu"] - first["mu"]).numpy())
    for graph in source.graphs:
        assert [n.op.stream for n in graph.nodes if isinstance(n.op, Normal)] == [0, 1]


def constant(graph: Graph, name: str) -> Array:
    return next(array for value, array in graph.constants.items() if value.name == name)


@pytest.mark.few(0)
def test_a_member_that_is_another_network(tmp_path: Path) -> None:
    save_program(Net().eval(), tmp_path / "a.pt2", ROWS, dropout="off")
    save_program(Net().eval(), tmp_path / "b.pt2", ROWS, dropout="active")
    with pytest.raises(CompileError, match=r"^drop \(nets.py:\d+\): b.pt2 has .*KeepMask.* a.pt2"):
        read_file([tmp_path / "a.pt2", tmp_path / "b.pt2"])


def test_a_member_without_noise(tmp_path: Path) -> None:
    first, second = sampled().state_dict(), sampled().state_dict()
    second["rho"].fill_(-1e9)
    torch.save([first, second], tmp_path / "nets.pt")
    with pytest.raises(CompileError, match=r"^linear.*nets.pt\[1\] has .* where nets.pt\[0\] has"):
        read_file(
            tmp_path / "nets.pt", factory="tests.frontend.test_ensembles:sampled", example=ROWS
        )


def spoilt(what: str, state: dict[str, Tensor]) -> None:
    match what:
        case "names":
            del state["fc1.bias"]
        case "shapes":
            state["fc1.bias"] = torch.zeros(3)
        case _:
            state["fc1.weight"] = torch.full((8, 6), float("nan"))


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("names", r"nets.pt\[2\]: does not fit .*missing: fc1.bias"),
        ("shapes", r"nets.pt\[2\]: does not fit .*fc1.bias is \[3\]"),
        ("nan", r"^fc1.weight: holds NaN or infinity.*\(in nets.pt\[2\]\)"),
    ],
)
def test_a_member_that_does_not_fit(what: str, message: str, tmp_path: Path) -> None:
    found = states(3)
    spoilt(what, found[2])
    torch.save(found, tmp_path / "nets.pt")
    with pytest.raises(UserError, match=message):
        read_file(tmp_path / "nets.pt", factory=NET, example=ROWS, dropout="off")


def test_no_members(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="folder without models"):
        read_file(tmp_path)
    with pytest.raises(FileError, match="empty list of files"):
        read_file([])
    torch.save([], tmp_path / "none.pt")
    with pytest.raises(FileError, match="holds a list, not weights"):
        read_file(tmp_path / "none.pt", factory=NET, example=ROWS)


def test_a_damaged_member_of_a_folder_is_not_left_out(tmp_path: Path) -> None:
    torch.save(states(1)[0], tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes((tmp_path / "a.pt").read_bytes()[:500])
    with pytest.raises(FileError, match=r"b.pt: is cut off or damaged"):
        read_file(tmp_path, factory=NET, example=ROWS, dropout="off")
