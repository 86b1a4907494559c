"""Modules of several inputs as graphs of a row: how they are called, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qbnnc.frontend import read_module, read_modules
from qbnnc.ir.graph import Graph
from qbnnc.ir.inputs import inputs_of
from qbnnc.support.errors import CompileError, InputError
from tests.graphs import run
from tests.several_inputs import (
    Counts,
    ImageAndFeatures,
    Nested,
    OfDict,
    OfKeywords,
    OfList,
    OfStar,
    WithDefault,
    arrays,
    trained,
)

GIVEN = {name: torch.from_numpy(array[:4]) for name, array in arrays().items()}
IMAGE, FEATURES = GIVEN["image"], GIVEN["features"]
PAIR = {"image": IMAGE, "features": FEATURES}


def names(graph: Graph) -> list[str]:
    return [entry.name for entry in inputs_of(graph)]


@pytest.mark.parametrize(
    ("kind", "example", "wanted"),
    [
        (ImageAndFeatures, (IMAGE, FEATURES), "image features"),
        (ImageAndFeatures, [IMAGE, FEATURES], "image features"),
        (ImageAndFeatures, (IMAGE.numpy(), FEATURES.numpy()), "image features"),
        (ImageAndFeatures, [IMAGE.numpy(), FEATURES.numpy()], "image features"),
        (ImageAndFeatures, {"features": FEATURES, "image": IMAGE}, "image features"),
        (WithDefault, PAIR, "image features"),
        (OfKeywords, PAIR, "features image"),
        (OfDict, PAIR, "image features"),
        (OfList, [IMAGE, FEATURES], "xs_0 xs_1"),
        (OfList, (IMAGE, FEATURES), "xs_0 xs_1"),
        (OfStar, (IMAGE, FEATURES), "xs_0 xs_1"),
        (Nested, (IMAGE, {"features": FEATURES}), "image features"),
        (Nested, {"image": IMAGE, "other": {"features": FEATURES}}, "image other.features"),
        (Counts, (GIVEN["counts"], GIVEN["age"]), "counts age"),
    ],
)
def test_every_form_of_a_call(kind: type[nn.Module], example: object, wanted: str) -> None:
    graph = read_module(trained(kind), example)  # type: ignore[arg-type]  # any form of a call
    assert names(graph) == wanted.split()
    sizes = {"image": 9, "xs_0": 9, "age": 1}
    assert [entry.size for entry in inputs_of(graph)] == [
        sizes.get(name, 3) for name in wanted.split()
    ]


def test_a_dict_of_one_tensor_needs_no_row() -> None:
    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, batch: dict[str, Tensor]) -> Tensor:
            result: Tensor = self.fc(batch["x"])
            return result

    graph = read_module(One(), {"x": FEATURES})
    assert names(graph) == ["x"]
    assert graph.input.type.shape == (3,)
    assert [node.op.name for node in graph.nodes] == ["linear"]


def test_a_list_of_rows_is_a_batch() -> None:
    """As it is where forward takes one tensor, or may do so."""
    rows = list(torch.rand(5, 3))
    for net in (nn.Linear(3, 2), nn.Sequential(nn.Linear(3, 2), nn.ReLU())):
        for given in (rows, [row.numpy() for row in rows], [row.tolist() for row in rows]):
            assert read_module(net, given).input.type.shape == (3,)


def test_places_are_those_of_the_users_module() -> None:
    graph = read_module(trained(ImageAndFeatures), (IMAGE, FEATURES))
    assert {"conv", "fc", "out"} <= {node.loc.module for node in graph.nodes}
    assert not any("sampled_network" in str(node) for node in (*graph.nodes, *graph.constants))


def test_members_of_an_ensemble() -> None:
    source = read_modules([trained(ImageAndFeatures, seed) for seed in (1, 2)], (IMAGE, FEATURES))
    assert [names(graph) for graph in source.graphs] == [["image", "features"]] * 2


class Masked(nn.Module):
    """A sum over the steps that a mask of booleans leaves, as attention has it for padding."""

    def __init__(self) -> None:
        super().__init__()
        self.step, self.last = nn.Linear(3, 5), nn.Linear(5, 2)

    def forward(self, steps: Tensor, padding: Tensor) -> Tensor:
        assert padding.dtype is torch.bool
        scores = self.step(steps).mean(-1).masked_fill(padding, -torch.inf)
        made: Tensor = self.last((torch.softmax(scores, -1)[..., None] * self.step(steps)).sum(1))
        return made


def test_a_mask_of_booleans() -> None:
    torch.manual_seed(0)
    net, steps, padding = Masked().eval(), torch.randn(4, 6, 3), torch.rand(4, 6) < 0.4
    padding[:, 0] = False
    graph = read_module(net, {"steps": steps, "padding": padding})
    row = torch.cat([steps.flatten(1), padding.float()], dim=1).numpy()
    np.testing.assert_allclose(run(graph, row)[0][0], net(steps, padding).detach(), atol=1e-5)
    assert [entry.whole for entry in inputs_of(graph)] == [False, False]


class Unused(ImageAndFeatures):
    def forward(self, image: Tensor, features: Tensor) -> Tensor:
        return super().forward(image, image.flatten(1)[:, :3])


@pytest.mark.parametrize(
    ("kind", "example", "told"),
    [
        (Unused, (IMAGE, FEATURES), "features: no prediction depends on this input"),
        (ImageAndFeatures, (IMAGE, FEATURES[:2]), "'features': 2 rows, and 'image' has 4"),
        (
            ImageAndFeatures,
            (IMAGE, FEATURES + 1j),
            "'features': the element type is complex64; give",
        ),
        (ImageAndFeatures, {"image": IMAGE, "features": None}, "'features': a NoneType, and"),
        (ImageAndFeatures, {"image": IMAGE, "other": FEATURES}, "forward takes (image: "),
        (ImageAndFeatures, (IMAGE, FEATURES, IMAGE), "and the example inputs are 3; give a dict"),
        (ImageAndFeatures, (FEATURES, IMAGE), "forward fails on the example inputs image [4, 3] "),
        (Counts, (GIVEN["counts"] + 2**24, GIVEN["age"]), "'counts': holds 167772"),
        (ImageAndFeatures, (IMAGE, torch.tensor(1.0)), "'features': shape [] has no rows"),
    ],
)
def test_what_is_refused(kind: type[nn.Module], example: object, told: str) -> None:
    with pytest.raises((InputError, CompileError), match=re.escape(told)) as caught:
        read_module(trained(kind), example)  # type: ignore[arg-type]  # any form of a call
    assert "sampled_network" not in str(caught.value)


def test_errors_name_the_users_module() -> None:
    class Sorted(ImageAndFeatures):
        def forward(self, image: Tensor, features: Tensor) -> Tensor:
            return super().forward(image, features.sort(1).values)

    with pytest.raises(CompileError) as caught:
        read_module(trained(Sorted), (IMAGE, FEATURES))
    assert "sort" in str(caught.value)
    assert "test_several_inputs.py" in str(caught.value)


def test_the_module_is_left_as_it_was() -> None:
    module = trained(ImageAndFeatures)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    read_module(module, (IMAGE, FEATURES))
    assert module.training
    assert list(module.state_dict()) == list(before)
    assert all(np.array_equal(t, before[n]) for n, t in module.state_dict().items())
