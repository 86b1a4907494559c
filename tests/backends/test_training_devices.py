"""Fine-tuning makes every tensor on the device of the parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

import qbnnc
from qbnnc.backends.torch.training import FineTuning, Progress, Training
from qbnnc.backends.torch.training.loop import Loop, Run
from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.passes.options import Bits, Quantisation
from qbnnc.passes.pipeline import Options
from qbnnc.support.errors import UserError
from tests.graphs import bayesian_mlp, dense, inputs, mlp, unet
from tests.study.sweeps import classifier, labelled

LOW = Options(
    Quantisation(Bits(3, 3)),
)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
_MADE_FROM_NUMBERS = {
    torch.tensor,
    torch.as_tensor,
    torch.zeros,
    torch.ones,
    torch.full,
    torch.empty,
    torch.arange,
    torch.rand,
    torch.randn,
    torch.randint,
}


class Homeless(TorchFunctionMode):
    """Fails where a tensor was made on no device in particular and is used before it is moved.

    Where the default device is the right one nothing else would tell.
    """

    def __init__(self) -> None:
        super().__init__()
        self._homeless: list[torch.Tensor] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = {} if kwargs is None else kwargs
        if func is not torch.Tensor.to:
            for value in (*args, *given.values()):
                assert not any(value is tensor for tensor in self._homeless), func
        made = func(*args, **given)
        if func is torch.Tensor.to:
            self._homeless = [tensor for tensor in self._homeless if tensor is not args[0]]
        elif func is torch.from_numpy or (func in _MADE_FROM_NUMBERS and "device" not in given):
            self._homeless.append(made)
        return made


def tuning(graph: Graph, device: str = "cpu") -> FineTuning:
    model = Model((graph,), Head(Task.RAW), calibration=inputs(graph, 64))
    training = Training(steps=200, batch_size=16)
    x = inputs(graph, 80, seed=5)
    return FineTuning(model, x, None, LOW, training, device=torch.device(device))


def test_the_watch_sees_a_tensor_without_a_device() -> None:
    with Homeless(), pytest.raises(AssertionError):
        torch.zeros(3) + 1
    with Homeless():
        torch.zeros(3, device="cpu") + 1
        torch.zeros(3).to("cpu") + 1


@pytest.mark.parametrize(
    "graph",
    [mlp(), bayesian_mlp(), unet(), dense()],
    ids=["dropout", "sampled weights", "concat", "moves"],
)
def test_every_tensor_of_a_training_step_is_made_on_the_device_of_the_rows(graph: Graph) -> None:
    loop = Loop(tuning(graph).job(0), Run(1e-3, 4))
    with Homeless():
        loop.validate()
        loop.advance(4)  # the ranges are frozen before the last


def test_a_device_that_is_not_there_is_refused_with_those_that_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    x, _ = labelled(40)
    with pytest.raises(UserError, match=r"^`device` abacus: no device of torch; here there is cpu"):
        qbnnc.finetune(classifier(), x, device="abacus")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match=r"^`device` cuda: cannot be used here; .* is cpu$"):
            qbnnc.finetune(classifier(), x, device="cuda")


def test_auto_is_the_cpu_where_there_is_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    x, _ = labelled(40)
    tuned = qbnnc.finetune(classifier(), x, training=Training(steps=1, lr=1e-3), device="auto")
    assert tuned.provenance.training.startswith("1 step of match")


@needs_cuda
@pytest.mark.parametrize("graph", [mlp(), bayesian_mlp()], ids=["dropout", "sampled weights"])
def test_a_cuda_device_gains_about_as_much_as_the_cpu(graph: Graph) -> None:
    gained = []
    for device in ("cpu", "cuda"):
        progress: list[Progress] = []
        tuning(graph, device).run(progress.append)
        gained.append(progress[-1].best / progress[0].best)
    assert gained[1] == pytest.approx(gained[0], abs=0.2)


@needs_cuda
def test_a_module_on_a_cuda_device_is_prepared_there() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1)).cuda()
    x = torch.randn(100, 4, device="cuda")
    qat = qbnnc.prepare_qat(net, x, bits="w4a4")
    assert {tensor.device.type for tensor in qat.parameters()} == {"cuda"}
    assert next(net.parameters()).is_cuda
    qat(x).sum().backward()
