"""A float32 network in other engines: what `qbnnc bench` compares artefacts with."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qbnnc.bench.timing import Contender
from qbnnc.ir.graph import Graph
from qbnnc.ir.model import Model
from qbnnc.ir.types import Array, Stage
from qbnnc.loading.sources import SourceOptions, read
from qbnnc.passes.fusion.noise import remove_noise
from qbnnc.support.errors import UserError
from qbnnc.support.extras import require

if TYPE_CHECKING:
    from torch import nn

LOWER_BOUND, EAGER, COMPILED = "onnxruntime float32", "torch eager", "torch.compile"


@dataclass(frozen=True, slots=True)
class Rivals:
    """The engines that run a network, and why the others do not."""

    calls: dict[str, Contender]
    reasons: dict[str, str]


@dataclass(frozen=True, slots=True)
class FloatNetwork:
    """A FLOAT Model for L = `samples` samples; UserError if its members do not divide them.

    onnxruntime gets a network without dropout, with weights at their means, and all L * B rows at
    once: no float engine that draws samples does less. PyTorch runs L passes of the network as it
    was read, the samples' mean and variance; softplus and the like of parameters are done before.
    """

    model: Model
    samples: int
    _files: dict[int, bytes] = field(default_factory=dict)
    _modules: dict[int, nn.Module] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require("torch", "onnx", "onnxscript", "onnxruntime", what="comparing with float32")
        if self.samples % len(self.model.members):
            raise UserError(
                f"its {len(self.model.members)} members do not divide {self.samples} samples",
                place="the float32 network",
                remedy="give `samples` a multiple",
            )

    def rivals(self, x: Array, threads: int, without: Collection[str] = ()) -> Rivals:
        """Each engine on x [B, *shape], called once; PyTorch uses `threads` from then on."""
        import torch

        from qbnnc.frontend.torch_messages import quiet_torch

        torch.set_num_threads(threads)
        makers: dict[str, Callable[[], Contender]] = {
            LOWER_BOUND: lambda: self._lower_bound(x, threads),
            EAGER: lambda: self._passes(x, lambda module: module),
            COMPILED: lambda: self._passes(x, lambda m: torch.compile(m, dynamic=False)),
        }
        makers = {name: make for name, make in makers.items() if name not in without}
        found = Rivals({}, {})
        if COMPILED in makers and torch.backends.cpu.get_cpu_capability() == "AVX512":
            del makers[COMPILED]
            found.reasons[COMPILED] = "left out: with AVX-512 its code may write beyond its memory"
        for name, make in makers.items():
            try:
                with quiet_torch():
                    found.calls[name] = make()
            except Exception as error:  # whatever the engines raise
                found.reasons[name] = f"does not work here ({_line(error)})"
        return found

    @property
    def passes(self) -> int:
        """The passes of all members that give the samples."""
        return len(self.model.draws_for(self.samples))

    def stacked(self, x: Array) -> Array:
        """The rows of all passes at once, [passes * B, *shape]."""
        return np.tile(x, (self.passes, *[1] * (x.ndim - 1)))

    @property
    def fixed_members(self) -> list[Graph]:
        """The members with nothing drawn."""
        return [remove_noise(member) for member in self.model.members]

    def fixed(self, rows: Array) -> bytes:
        """The ONNX file of the network with nothing drawn, for as many rows."""
        import torch

        from qbnnc.backends.torch.float_export import as_onnx

        if len(rows) not in self._files:
            self._files[len(rows)] = as_onnx(self.fixed_members, torch.from_numpy(rows))
        return self._files[len(rows)]

    def module(self, x: Array) -> nn.Module:
        """The network as a module for batches of the size of x: a pass of all members a call."""
        import torch

        from qbnnc.backends.torch.float_export import as_module

        if len(x) not in self._modules:
            self._modules[len(x)] = as_module(self.model.members, torch.from_numpy(x))
        return self._modules[len(x)]

    def _lower_bound(self, x: Array, threads: int) -> Contender:
        import torch

        from qbnnc.backends.onnx.engine import open_session
        from qbnnc.backends.torch.float_export import as_module

        rows = self.stacked(x)
        session = open_session(self.fixed(rows), "the float32 network", threads)
        feed = {session.get_inputs()[0].name: rows}
        batch = torch.from_numpy(x)
        for ours, theirs in zip(
            as_module(self.fixed_members, batch)(batch), session.run(None, feed), strict=True
        ):
            if not np.allclose(ours.numpy(), theirs[: len(x)], rtol=1e-2, atol=1e-3):
                raise UserError("torch.onnx.export has made another network of it")
        return lambda: session.run(None, feed)

    def _passes(self, x: Array, prepare: Callable[[nn.Module], Callable[..., Any]]) -> Contender:
        import torch

        batch, heads = torch.from_numpy(x), len(self.model.graph.outputs)
        module, draws = prepare(self.module(x)), range(self.passes)

        def call() -> object:
            with torch.inference_mode():
                made = [output for _ in draws for output in module(batch)]
                samples = [torch.stack(made[head::heads]) for head in range(heads)]
                return [(each.mean(0), each.var(0, correction=0)) for each in samples]

        call()
        return call


def read_float(paths: Sequence[str | os.PathLike[str]], x: Array, options: SourceOptions) -> Model:
    """The FLOAT Model in files, traced with rows like x; UserError if it is lowered already."""
    os.environ.setdefault(
        "OMP_WAIT_POLICY", "passive"
    )  # else torch's threads spin in others' turns
    model = read(paths, x, options)
    if model.stage is not Stage.FLOAT:
        raise UserError(
            f"{model.stage.name}, not float32 any more",
            place=Path(paths[0]),
            remedy="give the network that it was made of",
        )
    return model


def _line(error: Exception) -> str:
    lines = (line.strip() for line in str(error).splitlines())
    return f"{type(error).__name__}: {next(filter(None, lines), 'no message')[:200]}"
