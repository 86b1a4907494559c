"""The errors of the public interface: arguments, files, and networks that it does not run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qbnnc.ir import format
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Dequantize, Linear, MaxPool2d, QuantizeInput
from qbnnc.ir.types import Stage
from qbnnc.runtime import load
from qbnnc.support.errors import CompileError, FileError, InputError
from tests.graphs import mlp as float_mlp
from tests.runtime.nets import Net, lenet, mlp
from tests.strategies import input_batch, random_integer_model


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": np.zeros((2, 11))}, r"the shape is \[2, 11\], and the network takes \[batch, 10\]"),
        ({"x": np.zeros(10)}, "the shape"),
        ({"x": np.full((2, 10), np.nan)}, "NaN in row 0"),
        ({"x": np.zeros((2, 10), complex)}, "real numbers"),
        ({"samples": 0}, "samples: 0"),
        ({"samples": -3}, "samples: -3"),
        ({"samples": 2.5}, "samples: 2.5 is not a whole number"),
        ({"samples": True}, "samples: True"),
        ({"seed": 1.0}, "seed: 1.0"),
        ({"seed": "1"}, "seed: '1'"),
        ({"first_row": -1}, "first_row: -1"),
        ({"batch_size": 0}, "batch_size: 0"),
        ({"batch_size": "all"}, "batch_size: 'all'"),
    ],
)
def test_input_errors(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(mlp()).predict(**{"x": np.zeros((2, 10)), **arguments})


def test_nothing_random_gives_one_sample() -> None:
    session, x = load(lenet(p=None)), np.zeros((2, 1, 28, 28))
    assert session.predict(x).samples.shape == session.predict(x, 1).samples.shape == (1, 2, 10)
    with pytest.raises(InputError, match="nothing is random here"):
        session.predict(x, 20)


def test_ensembles_share_out_the_samples() -> None:
    model = random_integer_model(3, members=2)
    assert model.stochastic
    with pytest.raises(InputError, match="multiple of the 2 ensemble"):
        load(model).predict(input_batch(model, 2), 3)


def test_a_model_that_is_not_compiled(tmp_path: Path) -> None:
    model, path = Model((float_mlp(),), Head(Task.REGRESSION)), tmp_path / "net.qbnn"
    format.save(model, path)
    with pytest.raises(FileError, match=r"net.qbnn: .*FLOAT.*compile it first: qbnnc compile"):
        load(path)
    with pytest.raises(FileError, match="compile it first"):
        load(model)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be read"):
        load(tmp_path / "missing.qbnn")
    (tmp_path / "text.qbnn").write_text("hello")
    with pytest.raises(FileError, match="not a qbnnc model"):
        load(tmp_path / "text.qbnn")


def test_ops_without_a_kernel_are_refused_at_their_place() -> None:
    net = Net((2, 4, 4))
    pooled = net.emit(MaxPool2d((2, 2), (2, 2)), net.emit(Dequantize()))
    with pytest.raises(CompileError, match=r"^max_pool2d2: max_pool2d: the runtime computes on"):
        load(net.model(pooled))
    assert Stage.INTEGER in QuantizeInput.stages
    assert Stage.INTEGER not in Linear.stages
