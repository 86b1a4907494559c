"""Embeddings in the spellings of torch: the graph gives the module's numbers, or a refusal."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qbnnc.frontend import read_module
from qbnnc.ir.evaluate import evaluate
from qbnnc.ir.ids import holds_only_ids, vocabularies
from qbnnc.ir.rng import Draw
from qbnnc.support.errors import CompileError, UserError

ROWS, WIDTH, PLACES = 12, 4, 5
OFFSETS = torch.tensor([0, 2, 2, 3, 4])
IDS = torch.tensor([[1, 0, 5, 7, 0], [3, 7, 0, 2, 6], [0, 0, 1, 1, 4]])  # all below 8

Form = Callable[["Net", Tensor], Tensor]


class Net(nn.Module):
    """A table, more layers that a form may use, and the form."""

    def __init__(self, form: Form, **options: object) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.emb = nn.Embedding(ROWS, WIDTH, padding_idx=0)
        self.small = nn.Embedding(9, 3)
        bag: Callable[..., nn.EmbeddingBag] = nn.EmbeddingBag
        self.bag = bag(ROWS, WIDTH, **options)
        self.lstm = nn.LSTM(WIDTH, 3)
        self.wide = nn.Parameter(torch.randn(ROWS, 2, 3))
        self.last = nn.Linear(WIDTH, 2)
        self.form = form

    def forward(self, x: Tensor) -> Tensor:
        return self.form(self, x)


def held(x: Tensor) -> Tensor:
    return (x != 0).float().unsqueeze(-1)


FORMS: dict[str, Form] = {
    "layer": lambda n, x: n.last(n.emb(x)),
    "functional": lambda n, x: F.embedding(x, n.emb.weight, padding_idx=0).sum(1),
    "indexed": lambda n, x: n.emb.weight[x].mean(1),
    "indexed rows of two axes": lambda n, x: n.wide[x].flatten(1),
    "moved": lambda n, x: n.emb(x.flip(1)[:, ::2].unsqueeze(1)).flatten(1),
    "columns": lambda n, x: torch.cat([n.small(x[:, 0]), n.emb(x[:, 1:]).mean(1)], 1),
    "one table for two columns": lambda n, x: n.emb(x[:, 0]) * n.emb(x[:, 3]),
    "cast": lambda n, x: n.emb(x.to(torch.int32).long()).sum(1),
    "one hot": lambda n, x: F.one_hot(x, 8).float().sum(1),
    "tied": lambda n, x: torch.tanh(n.emb(x).mean(1)) @ n.emb.weight.t(),
    "positions": lambda n, x: n.emb(x) + n.small(torch.arange(PLACES))[..., :1],
    "repeated positions": lambda n, x: (
        n.emb(x) + n.emb(torch.arange(PLACES).unsqueeze(0).expand(x.size(0), -1))
    ),
    "types": lambda n, x: n.emb(x) + n.emb(torch.zeros_like(x)),
    "mask": lambda n, x: (n.emb(x) * held(x)).sum(1) / held(x).sum(1).clamp(min=1),
    "filled": lambda n, x: n.emb(x).masked_fill((x == 0).unsqueeze(-1), -1.0).amax(1),
    "offsets": lambda n, x: n.emb(x + OFFSETS).sum(1),
    "hashed": lambda n, x: n.small(x % 3 + 1).sum(1),
    "unknown": lambda n, x: n.emb(torch.where(x > 4, torch.ones_like(x), x)).sum(1),
    "padded": lambda n, x: n.emb(F.pad(x, (1, 2))).mean(1),
    "padded with an id": lambda n, x: n.emb(F.pad(x, (1, 0), value=9)).flatten(1),
    "first token": lambda n, x: n.emb(
        torch.cat([torch.full((x.size(0), 1), 9, dtype=torch.int64), x], 1)
    ).flatten(1),
    "steps first": lambda n, x: n.lstm(n.emb(x.t()))[1][0][-1],
    "sum of a bag": lambda n, x: F.embedding_bag(x, n.bag.weight, mode="sum"),
    "maximum of a bag": lambda n, x: F.embedding_bag(x, n.bag.weight, mode="max"),
    "sum of a bag with padding": lambda n, x: F.embedding_bag(
        x, n.bag.weight, mode="sum", padding_idx=-ROWS
    ),
    "mean of a bag with padding": lambda n, x: F.embedding_bag(x, n.bag.weight, padding_idx=0),
    "bag": lambda n, x: n.bag(x),
    "numbers of ids": lambda n, x: torch.cat([n.emb(x).sum(1), x[:, :2].float()], 1),
}


@pytest.mark.sample(16)
@pytest.mark.few(6)
@pytest.mark.parametrize("name", FORMS)
def test_the_graph_gives_the_modules_numbers(name: str) -> None:
    net = Net(FORMS[name]).eval()
    graph = read_module(net, IDS)
    (found,) = evaluate(graph, IDS.numpy().astype(np.float32), Draw.of(0, [0], range(3)))
    with torch.no_grad():
        assert np.allclose(found[0], net(IDS).numpy(), atol=1e-5)
    assert holds_only_ids(graph)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("columns", [9, 12, 12, 12, 12]),
        ("offsets", [12, 10, 10, 9, 8]),  # 12 rows less what is added
        ("one table for two columns", [12, 0, 0, 12, 0]),
    ],
)
def test_each_place_has_its_vocabulary(name: str, known: list[int]) -> None:
    found = vocabularies(read_module(Net(FORMS[name]).eval(), IDS))
    assert found is not None
    assert found.tolist() == known


@pytest.mark.parametrize(
    "given",
    [IDS.float(), IDS.to(torch.uint8), IDS.int(), IDS.numpy().astype(np.float64)],
    ids=["float32", "uint8", "int32", "float64"],
)
def test_examples_of_other_types_are_ids_too(given: Tensor) -> None:
    assert holds_only_ids(read_module(Net(FORMS["layer"]).eval(), given))


def test_floats_that_a_module_casts_itself() -> None:
    graph = read_module(Net(lambda n, x: n.emb(x.long()).sum(1)).eval(), IDS.float())
    assert holds_only_ids(graph)


def drawn(net: Net, x: Tensor) -> Tensor:
    table = net.emb.weight + 0.1 * torch.randn_like(net.emb.weight)
    return F.embedding(x, table).sum(1)


REFUSED: dict[str, tuple[Form, str]] = {
    "sampled": (drawn, "a table whose weights are random"),
    "words dropped for all rows": (
        lambda n, x: F.embedding(x, n.emb.weight * (torch.rand(ROWS, 1) > 0.1).float()).sum(1),
        "a table whose weights are random",
    ),
    "chosen": (
        lambda n, x: F.embedding(x, n.wide[:, torch.randint(2, ())]).sum(1),
        "one of several tables",
    ),
    "weights of samples": (
        lambda n, x: F.embedding_bag(
            x, n.bag.weight, mode="sum", per_sample_weights=torch.ones(x.shape)
        ),
        "per_sample_weights",
    ),
    "one hot of many": (lambda n, x: F.one_hot(x, 5000).float().sum(1), "from 1 to 4096"),
    "computed ids": (
        lambda n, x: n.emb((n.emb(x).sum(2) > 0).long()).sum(1),
        "numbers that are computed",
    ),
    "two columns added": (lambda n, x: n.emb(x[:, 0] + x[:, 1]), "numbers that are computed"),
    "ids and numbers": (
        lambda n, x: torch.cat([n.emb(x[:, :2].long()).sum(1), x[:, 2:].sin()], 1),
        "ids of an input that other layers read as numbers",
    ),
}


@pytest.mark.few(5)
@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_compile_is_refused_by_name(name: str) -> None:
    form, said = REFUSED[name]
    example = IDS.float() if name == "ids and numbers" else IDS
    with pytest.raises(CompileError, match=said):
        read_module(Net(form).eval(), example)


def test_max_norm_is_refused_by_name() -> None:
    net = nn.Sequential(nn.Embedding(ROWS, WIDTH, max_norm=1.0), nn.Flatten())
    with pytest.raises(CompileError, match=r"max_norm.*weight\.data\.renorm_"):
        read_module(net.eval(), IDS)


def test_ids_that_the_table_lacks_are_an_error_of_the_example() -> None:
    with pytest.raises(UserError):
        read_module(Net(FORMS["layer"]).eval(), IDS + 10)
