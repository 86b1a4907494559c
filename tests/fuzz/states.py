"""The target `states`: weights as torch.save or safetensors write them, for a network in code.

Dictionaries whose keys, nesting, shapes and kinds of tensors are not those of the network, and
lists of them, which are ensembles.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable
from random import Random
from typing import TypeAlias

import numpy as np
import torch
from safetensors.torch import save as save_safetensors
from torch import Tensor

from qbnnc.frontend import read_file
from qbnnc.frontend.read import _members
from qbnnc.frontend.read_weights import WeightReader
from qbnnc.ir.evaluate import evaluate
from qbnnc.ir.rng import Draw
from tests.fuzz.folder import new_folder
from tests.fuzz.networks import Small
from tests.fuzz.target import Unmade
from tests.fuzz.trees import flipped
from tests.fuzz.verdict import Kind, Verdict, WrongAnswer

State: TypeAlias = "dict[str, object]"

_FACTORY = "tests.fuzz.networks:Small"
_ROWS = np.zeros((2, 6), np.float32)
_TRACED = 0.02
_SHAPES = ((), (0,), (1,), (5,), (5, 6), (6, 5), (2, 5), (5, 6, 1), (1, 5, 6), (7, 7))
_DTYPES = (
    *(torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.int64),
    *(torch.bool, torch.complex64, torch.float8_e4m3fn),
)
_NUMBERS = (0.0, float("nan"), float("inf"), -float("inf"), 1e38, 1e-45, 1e-38, 1e10)
_KEYS = (
    "",
    "x",
    "fc1",
    "fc1.weight.x",
    "module",
    ".",
    "é" * 50,
    "fc1.weight\n",
    "_orig_mod.fc1.weight",
)


def open_target() -> StateTarget:
    """With the weights of two networks."""
    torch.set_num_threads(1)
    return StateTarget()


class StateTarget:
    """Files of weights."""

    suffix = ".pt"

    def __init__(self) -> None:
        self.path = new_folder() / "net.pt"
        self.reader = WeightReader(_FACTORY, {}, _ROWS, "active", trust_pickle=False)
        self.states = list[dict[str, Tensor]]()
        for seed in (0, 1):
            torch.manual_seed(seed)
            self.states.append(dict(Small().state_dict()))
        for content in (self.states[0], self.states):
            if self.attempt(_saved(content)).kind is not Kind.RAN:
                raise WrongAnswer("an honest file")

    def make(self, rng: Random) -> bytes:
        """A file of one state or a list, changed before it was saved; now and then after."""
        members = [self.state(rng) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
        try:
            if rng.random() < 0.2:
                tensors = {str(k): v for k, v in members[0].items() if isinstance(v, Tensor)}
                data = save_safetensors({k: v.clone().contiguous() for k, v in tensors.items()})
            else:
                data = _saved(_wrapped(rng, members))
        except (RuntimeError, ValueError, TypeError, NotImplementedError, KeyError) as error:
            raise Unmade(str(error)) from None
        return flipped(rng, data) if rng.random() < 0.15 else data

    def state(self, rng: Random) -> State:
        """The weights of one network, with some changes or none."""
        made: State = dict(rng.choice(self.states))
        for _ in range(rng.choice((0, 1, 1, 2))):
            _change(rng, made)
        return made

    def attempt(self, data: bytes) -> Verdict:
        """Read the weights into the network, and run the graph.

        torch takes long to trace a network: it is traced once, and anew for few of the inputs.
        """
        self.path.write_bytes(data)
        if Random(data).random() < _TRACED:
            source = read_file(self.path, factory=_FACTORY, example=_ROWS, dropout="active")
            graphs = source.graphs
        else:
            graphs = tuple(member.graph for member in _members(self.path, self.reader))
        for graph in graphs:
            evaluate(graph, _ROWS, Draw.of(0, range(2), range(2)))
        return Verdict(Kind.RAN)


def _change(rng: Random, state: State) -> None:
    """One entry gone, renamed, added, or with another value."""
    name = rng.choice(list(state) or ["x"])
    kind = rng.randrange(5)
    if kind == 0:
        state.pop(name, None)
    elif kind == 1:
        state[rng.choice(_KEYS)] = state.pop(name, None)
    elif kind == 2:
        state[rng.choice(_KEYS)] = torch.zeros(rng.choice(_SHAPES))
    else:
        value = state.get(name)
        state[name] = _other(rng, value if isinstance(value, Tensor) else torch.zeros(2))


def _other(rng: Random, tensor: Tensor) -> object:
    """Something in the place of a tensor."""
    made: dict[int, Callable[[], object]] = {
        0: lambda: torch.zeros(rng.choice(_SHAPES)),
        1: lambda: tensor.to(rng.choice(_DTYPES)),
        2: lambda: torch.full_like(tensor, rng.choice(_NUMBERS)),
        3: lambda: _one_of(rng, tensor),
        4: lambda: tensor.to_sparse(),
        5: lambda: tensor.to("meta"),
        6: lambda: rng.choice((None, 1, 1.5, "x", [], {}, b"x", [tensor], {"a": tensor}, True)),
        7: lambda: tensor.expand(3, *tensor.shape),
        8: lambda: tensor.T if tensor.ndim == 2 else tensor.flip(0) if tensor.ndim else tensor,
        9: lambda: torch.quantize_per_tensor(tensor.float(), 0.1, 0, torch.qint8),
        10: lambda: torch.nn.Parameter(tensor.float()),
        11: lambda: torch.empty(0).set_(tensor.untyped_storage(), 0, tensor.shape, tensor.stride()),
    }
    try:
        return made[rng.randrange(len(made))]()
    except (RuntimeError, NotImplementedError, TypeError) as error:
        raise Unmade(str(error)) from None


def _one_of(rng: Random, tensor: Tensor) -> Tensor:
    made = tensor.clone()
    if made.numel() and made.is_floating_point():
        made.view(-1)[rng.randrange(made.numel())] = rng.choice(_NUMBERS)
    return made


def _wrapped(rng: Random, members: list[State]) -> object:
    """The states as people keep them: alone, in a list, in a checkpoint."""
    if len(members) > 1:
        return rng.choice((members, tuple(members), {"models": members}, dict(enumerate(members))))
    (state,) = members
    forms: tuple[object, ...] = (
        state,
        state,
        state,
        OrderedDict(state),
        {"state_dict": state},
        {"model": state, "optimizer": {"lr": 0.1}, "epoch": 3},
        {f"module.{name}": value for name, value in state.items()},
        {"state_dict": {"state_dict": state}},
        [state],
        [state, None],
        [],
        {},
        list(state.values()),
        {1: state},
    )
    return rng.choice(forms)


def _saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()
