"""Text networks with dropout, from torch to bits: oracle == onnxruntime == runtime == C."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qbnnc.backends.onnx import emit
from qbnnc.backends.onnx.session import OnnxArtefact
from qbnnc.frontend import read_module
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_samples
from qbnnc.passes.options import Bits, Quantisation
from qbnnc.passes.pipeline import Options, quantise_model
from qbnnc.runtime import load
from qbnnc.verification.oracle import bits
from tests.devices.programs import check_equal, check_runs
from tests.graphs import run
from tools.devices.targets import HOST

WORDS, WIDTH, TOKENS, CLASSES = 60, 8, 9, 3
MOST_APART = {"bag": 0.08, "cnn": 0.08, "lstm": 0.2}  # of the logits, root mean square, at w8a7


class Bag(nn.Module):
    """The mean of the words' vectors, without the padding, as in fastText."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH, padding_idx=0)
        self.drop, self.last = nn.Dropout(0.3), nn.Linear(WIDTH, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        held = (ids != 0).float().unsqueeze(-1)
        mean = (self.words(ids) * held).sum(1) / held.sum(1).clamp(min=1)
        y: Tensor = self.last(self.drop(mean))
        return y


class TextCNN(nn.Module):
    """Filters over the words, and their maxima: Kim (2014). Whole words are dropped too."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.drop_words = nn.Embedding(WORDS, WIDTH), nn.Dropout1d(0.1)
        self.filters = nn.ModuleList(nn.Conv1d(WIDTH, 6, size) for size in (2, 3))
        self.drop, self.last = nn.Dropout(0.4), nn.Linear(12, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        words = self.drop_words(self.words(ids)).transpose(1, 2)
        found = [filters(words).relu().amax(2) for filters in self.filters]
        y: Tensor = self.last(self.drop(torch.cat(found, 1)))
        return y


class TextLSTM(nn.Module):
    """An LSTM over the words."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.read = nn.Embedding(WORDS, WIDTH), nn.LSTM(WIDTH, 6, batch_first=True)
        self.drop, self.last = nn.Dropout(0.3), nn.Linear(6, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        y: Tensor = self.last(self.drop(self.read(self.words(ids))[0][:, -1]))
        return y


NETS: dict[str, Callable[[], nn.Module]] = {"bag": Bag, "cnn": TextCNN, "lstm": TextLSTM}


def texts(count: int, seed: int) -> NDArray[np.float32]:
    """Frequent and rare words, and padding at the end."""
    rng = np.random.default_rng(seed)
    ids = np.minimum(rng.geometric(0.08, (count, TOKENS)), WORDS - 1)
    ids[np.arange(TOKENS) >= rng.integers(3, TOKENS + 1, (count, 1))] = 0
    return ids.astype(np.float32)


def compiled(name: str) -> tuple[Model, Model]:
    """The float network and the compiled one."""
    torch.manual_seed(8)
    net = NETS[name]()
    graph = read_module(net.eval(), torch.from_numpy(texts(2, 1)), dropout="active")
    exact = Model((graph,), Head(Task.RAW))
    options = Options(Quantisation(Bits.parse("w8a7")), samples=4)
    return exact, quantise_model(exact, texts(256, 2), options)


@pytest.mark.few(1)
@pytest.mark.parametrize("name", NETS)
def test_the_same_bits_and_the_float_networks_distribution(name: str) -> None:
    exact, model = compiled(name)
    x = texts(7, 3)
    expected = oracle_samples(model, x, samples=4, seed=6, first_row=1)[0]
    for backend in (OnnxArtefact.from_bytes(emit(model)), load(model)):
        made = backend.predict(x, seed=6, first_row=1)["samples"]
        assert (bits(made) == bits(expected)).all()
    rows = texts(64, 4)
    wanted = run(exact.graph, rows, 64, 6)[0]
    found = oracle_samples(model, rows, samples=64, seed=6)[0]
    apart = np.sqrt(np.mean((wanted - found) ** 2) / np.mean((wanted - wanted.mean()) ** 2))
    assert apart < MOST_APART[name], apart
    spread = found.std(0).mean() / wanted.std(0).mean()
    assert 0.97 < spread < 1.03, spread


@pytest.mark.slow
def test_the_same_bits_in_c(tmp_path: Path) -> None:
    check_runs(HOST[0])
    check_equal(tmp_path, HOST[0], {name: compiled(name)[1] for name in NETS})
