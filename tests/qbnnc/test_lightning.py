"""The callback in a real Trainer: what it checks, which weights it compiles, what it writes."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from qbnnc.ir import format
from qbnnc.runtime import load
from qbnnc.support.errors import FileError, InputError, UserError

PACKAGES = [
    name
    for name in ("lightning.pytorch", "pytorch_lightning")
    if find_spec(name.partition(".")[0]) is not None
]
pytestmark = [
    pytest.mark.skipif(not PACKAGES, reason="needs lightning or pytorch-lightning"),
    pytest.mark.filterwarnings("ignore"),  # Lightning's own, of small trainings
    pytest.mark.slow,
]


class Dropout(nn.Module):
    """Dropout that stays active."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, 0.2, True)


@pytest.fixture(params=PACKAGES)
def lightning(request: pytest.FixtureRequest) -> Any:
    return import_module(request.param)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def module_of(lightning: Any, steps: list[int] | None = None) -> Any:
    """A LightningModule of one hidden layer; it counts its steps."""
    counted = [] if steps is None else steps

    class Regression(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), Dropout(), nn.Linear(8, 1))

        def forward(self, x: Tensor) -> Tensor:
            made: Tensor = self.net(x)
            return made

        def training_step(self, batch: Any, index: int) -> Tensor:
            counted.append(index)
            x, y = batch
            return nn.functional.mse_loss(self(x), y)

        def validation_step(self, batch: Any, index: int) -> None:
            # Greater with each epoch: the first one is the best.
            self.log("worse", float(self.current_epoch))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.05)

    torch.manual_seed(0)
    return Regression()


def data() -> tuple[Tensor, Tensor]:
    x = torch.randn(160, 4, generator=torch.Generator().manual_seed(1))
    return x, x.sum(1, keepdim=True)


def loader() -> Any:
    return DataLoader(TensorDataset(*data()), batch_size=32, shuffle=True)


def trainer(lightning: Any, *callbacks: object, epochs: int = 1, **options: Any) -> Any:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", callbacks=list(callbacks), **quiet, **options
    )


def fit(lightning: Any, module: Any, *callbacks: object, **options: Any) -> None:
    options = {"enable_checkpointing": False, **options}
    trainer(lightning, *callbacks, **options).fit(module, loader())


def callback(outputs: object = "model.qbnn", **options: Any) -> Any:
    from qbnnc.lightning import CompileAfterFit

    asked = {"distribution_check": None, "spread_check": False} | options.pop("options", {})
    return CompileAfterFit(outputs, options=asked, **options)  # type: ignore[arg-type]


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def predicted(path: str, weights: Any) -> tuple[float, float]:
    """The spread of the means about float's without dropout, and that of float's own outputs."""
    x, _ = data()
    mean = load(path).predict(x.numpy(), samples=200)["mean"]
    plain = nn.Sequential(weights.net[0], nn.ReLU(), weights.net[3])
    with torch.no_grad():
        expected = plain(x).numpy()
    return float(np.abs(mean - expected).mean()), float(np.abs(expected).mean())


def test_the_last_weights_are_compiled_verified_and_evaluated(lightning: Any, folder: Path) -> None:
    x, y = data()
    module = module_of(lightning)
    found = callback(
        ["m.onnx", "m.qbnn", "m.c"],
        calibration=x,
        evaluation=(x.numpy(), y.numpy()),
        options={"task": "regression", "bits": "w8a8"},
    )
    fit(lightning, module, found, epochs=3)
    assert files(folder) == {"m.onnx", "m.qbnn", "m.c", "m.h", "m_test.c"}
    assert format.digest(format.load("m.qbnn")) == format.digest(found.compiled)
    assert found.compiled.provenance.bits == "w8a8"
    assert found.scores.scores.measures["rmse"].mean < 2
    off, size = predicted("m.qbnn", module)
    assert off < 0.2 * size


def test_training_is_the_same_with_and_without(lightning: Any, folder: Path) -> None:
    x, _ = data()
    trained = []
    for callbacks in ([], [callback(calibration=x)], [callback("other.qbnn")]):
        module = module_of(lightning)
        torch.manual_seed(3)
        fit(lightning, module, *callbacks)
        trained.append(module.net[0].weight.detach().clone())
    assert torch.equal(trained[0], trained[1])
    assert torch.equal(trained[0], trained[2])
    assert files(folder) == {"model.qbnn", "other.qbnn"}


def test_inputs_of_the_training_calibrate_where_none_are_given(
    lightning: Any, folder: Path
) -> None:
    found = callback("m.qbnn", options={"task": "regression"}, network="net")
    fit(lightning, module_of(lightning), found)
    assert "160 rows" in found.compiled.provenance.calibration


def test_the_best_checkpoint(lightning: Any, folder: Path) -> None:
    x, _ = data()
    module = module_of(lightning)
    best = lightning.callbacks.ModelCheckpoint("saved", monitor="worse", mode="min")
    found = callback("best.qbnn", calibration=x, weights="best", options={"task": "regression"})
    last = callback("last.qbnn", calibration=x, options={"task": "regression"})
    with torch.random.fork_rng():
        trainer(lightning, best, found, last, epochs=6).fit(
            module, loader(), DataLoader(TensorDataset(*data()), 80)
        )
    first = module_of(lightning)
    stored = torch.load(best.best_model_path, weights_only=True)
    assert stored["epoch"] == 0
    first.load_state_dict(stored["state_dict"])
    off, size = predicted("best.qbnn", first)
    assert off < 0.2 * size
    other, _ = predicted("best.qbnn", module)
    assert other > 2 * off
    off, size = predicted("last.qbnn", module)
    assert off < 0.2 * size


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"outputs": "missing/m.qbnn"}, FileError, "there is no folder missing"),
        ({"outputs": "m.txt"}, UserError, "m.txt"),
        ({"outputs": []}, UserError, "no output"),
        ({"options": {"bits": "w9a9"}}, UserError, "`bits` w9a9"),
        ({"options": {"bit": "w8a7"}}, UserError, "bit: there is no such option"),
        ({"options": {"task": "ranking"}}, UserError, "`task` 'ranking'"),
        ({"options": {"layers": {"nn.9": "w4a4"}}}, UserError, r"nn\.9"),
        ({"options": {"task": "classification", "samples": 0}}, UserError, "`samples` 0"),
        ({"options": {"output_names": "a,b"}}, UserError, "`output_names` a,b"),
        ({"weights": "best"}, UserError, "no ModelCheckpoint has a monitor"),
        ({"weights": "first"}, UserError, "`weights` 'first': choose last or best"),
        ({"network": "body"}, UserError, "`network` 'body'"),
        (
            {"calibration": torch.zeros(20, 3)},
            UserError,
            r"forward fails on the example inputs \[8, 3\]",
        ),
    ],
)
def test_mistakes_are_told_before_the_first_step(
    lightning: Any, folder: Path, arguments: dict[str, Any], error: type[UserError], message: str
) -> None:
    steps = list[int]()
    asked = {"outputs": "m.qbnn", "calibration": data()[0]} | arguments
    found = callback(asked.pop("outputs"), **asked)
    with pytest.raises(error, match=message):
        fit(lightning, module_of(lightning, steps), found)
    assert steps == []
    assert files(folder) == set()


def test_calibration_of_no_rows_is_told_at_once() -> None:
    for wrong in (torch.zeros(0, 4), np.array(["a"])):
        with pytest.raises(InputError, match="`calibration`"):
            callback(calibration=wrong)


def test_batches_without_known_inputs_are_told_before_the_first_step(
    lightning: Any, folder: Path
) -> None:
    steps = list[int]()
    rows = [{"x": row} for row in data()[0]]
    with pytest.raises(InputError, match="a training batch is a dict"):
        trainer(lightning, callback(), enable_checkpointing=False).fit(
            module_of(lightning, steps),
            DataLoader(rows, 32),  # type: ignore[arg-type]
        )
    assert steps == []


def test_a_training_that_fails_or_is_for_trial_writes_nothing(lightning: Any, folder: Path) -> None:
    x, _ = data()

    class Failing(lightning.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, *_: object) -> None:
            raise ArithmeticError("stopped")

    with pytest.raises(ArithmeticError):
        fit(lightning, module_of(lightning), callback(calibration=x), Failing())
    fit(lightning, module_of(lightning), callback(calibration=x), fast_dev_run=True)
    assert files(folder) == set()


def test_an_artefact_with_other_bits_is_not_written(
    lightning: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qbnnc.verification.oracle import Comparison

    def differing(*_: object) -> list[Comparison]:
        return [Comparison("m.qbnn", 10, 1)]

    monkeypatch.setattr("qbnnc.lightning.callback.verify", differing)
    with pytest.raises(UserError, match=r"m\.qbnn: 1 of 10 samples are not the oracle's"):
        fit(lightning, module_of(lightning), callback("m.qbnn", calibration=data()[0]))
    assert files(folder) == set()


def test_other_ranks_do_nothing(lightning: Any, folder: Path) -> None:
    class Rank1:
        is_global_zero, fast_dev_run = False, False

    found = callback("missing/m.qbnn")
    for hook in (found.on_fit_start, found.on_fit_end):
        hook(Rank1(), module_of(lightning))
    found.on_train_batch_start(Rank1(), module_of(lightning), {"x": 1}, 0)
    assert files(folder) == set()


def test_without_lightning_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from qbnnc.lightning import callback as module

    assert sys.modules["qbnnc.lightning.callback"] is module
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install lightning"):
        module._callback()
