"""Changes to the records and tensors of a .qbnn file that know what these mean."""

from __future__ import annotations

import copy
from random import Random

import numpy as np

from qbnnc.ir.ops import OPS
from qbnnc.ir.types import Array
from tests.fuzz.signing import Parts
from tests.fuzz.trees import WHOLE, Tree, mutate

_FLOATS = (0.0, -0.0, 1e-45, 1e38, -1.0, np.nan, np.inf, 1e-38, 2.0**30)
_DTYPES = ("i1", "u1", "i4", "f4", "f8", "i8", "f2", "?", "u4")
_CODES = (0, 1, 3, 127, 128, 255, 256, -1, -128, 2**31 - 1)
_EXTENTS = (0, 1, 2, -1, -2, 7, 1000, 2**31, 2**62)
_MISFITS = (TypeError, KeyError, IndexError, ValueError, AttributeError)


def change(rng: Random, parts: Parts, other: Parts) -> None:
    """One change in place; `other` is a file to take ops from."""
    changes = (
        _field,
        _field,
        _field,
        _outputs,
        _operands,
        _member,
        _codes,
        _input,
        _repeat,
        _splice,
        _tensor,
        _tensor,
        _swap,
        _head,
        _anything,
        _anything,
        _shared,
    )
    try:
        rng.choice(changes)(rng, parts, other)
    except _MISFITS:  # an earlier change left a tree that this one does not fit
        mutate(rng, parts.model)


def _graph(rng: Random, parts: Parts) -> Tree:
    return rng.choice(parts.model["members"])


def _nodes(rng: Random, parts: Parts) -> list[Tree]:
    """A member's own; a 0 stands for a record of the first member's."""
    return [node for node in _graph(rng, parts)["nodes"] if isinstance(node, dict)]


def _field(rng: Random, parts: Parts, other: Parts) -> None:
    """A field of one op: another number, or an enormous one."""
    op = rng.choice(_nodes(rng, parts))["op"]
    name = rng.choice([k for k in op if k not in ("op", "quant", "function")])
    if rng.random() < 0.2:
        mutate(rng, op)
        return
    value = op[name]
    if isinstance(value, list) and value:
        place = rng.randrange(len(value))
        value[place] = _near(rng, value[place])
    else:
        op[name] = _near(rng, value)


def _near(rng: Random, value: Tree) -> Tree:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return rng.choice((True, False, 0, "x", None, [1, 1]))
    if rng.random() < 0.5:
        return value + rng.choice((-1, 1, 2)) if isinstance(value, int) else value * 1.5
    return rng.choice(WHOLE)


def _outputs(rng: Random, parts: Parts, other: Parts) -> None:
    """Outputs that are more, fewer or others than those of the other members."""
    graph = _graph(rng, parts)
    values = 1 + len(graph["constants"]) + len(graph["nodes"])
    kind = rng.randrange(4)
    if kind == 0:
        graph["outputs"] = graph["outputs"] * rng.choice((2, 3, 50))
    elif kind == 1:
        graph["outputs"] = [rng.randrange(values) for _ in range(rng.choice((1, 1, 2, 3)))]
    elif kind == 2:
        graph["outputs"].append(rng.randrange(values))
    else:
        graph["outputs"] = graph["outputs"][1:]


def _operands(rng: Random, parts: Parts, other: Parts) -> None:
    graph = _graph(rng, parts)
    node = rng.choice([n for n in graph["nodes"] if isinstance(n, dict)])["node"]
    inputs, values = node["inputs"], 1 + len(graph["constants"]) + len(graph["nodes"])
    if rng.random() < 0.7 and inputs:
        inputs[rng.randrange(len(inputs))] = rng.choice((rng.randrange(values), -1, values, 0))
    else:
        node["inputs"] = inputs[:-1] if rng.random() < 0.5 else [*inputs, rng.randrange(values)]


def _member(rng: Random, parts: Parts, other: Parts) -> None:
    """One more member with the first one's tensors, which may then be changed on its own."""
    members = parts.model["members"]
    if len(members) > 1 and rng.random() < 0.3:
        del members[rng.randrange(len(members))]
        return
    number = len(members)
    members.append(copy.deepcopy(members[0]))
    for name in [n for n in parts.tensors if n.startswith("0/")]:
        parts.tensors[f"{number}/{name[2:]}"] = parts.tensors[name]
    if rng.random() < 0.8:
        own = copy.copy(parts)
        own.model = {**parts.model, "members": [members[number]]}
        rng.choice((_field, _outputs, _operands, _codes, _input, _repeat))(rng, own, other)


def _codes(rng: Random, parts: Parts, other: Parts) -> None:
    """Change the meaning of a constant's or a result's codes, and their range."""
    graph = _graph(rng, parts)
    ops = [n["op"]["quant"] for n in graph["nodes"] if isinstance(n, dict) and n["op"].get("quant")]
    constants = [c["codes"] for c in graph["constants"] if isinstance(c, dict) and c["codes"]]
    quant = rng.choice(ops + constants)
    name = rng.choice([*quant, "low", "high", "axis"])
    if name == "axis":
        quant[name] = rng.choice((None, 0, 1, 2, 5, -1))
    elif name in ("low", "high"):
        quant[name] = rng.choice((*_CODES, quant[name] + 1, quant[name] - 1))
    else:
        mutate(rng, quant)


def _input(rng: Random, parts: Parts, other: Parts) -> None:
    shape = _graph(rng, parts)["input"]["shape"]
    if rng.random() < 0.2 or not shape:
        shape.append(rng.choice(_EXTENTS))
    else:
        place = rng.randrange(len(shape))
        shape[place] = rng.choice((*_EXTENTS, shape[place] + 1, shape[place] * 2))


def _repeat(rng: Random, parts: Parts, other: Parts) -> None:
    """A node again, elsewhere, or gone: later operands then mean other values."""
    nodes = _graph(rng, parts)["nodes"]
    place = rng.randrange(len(nodes))
    if rng.random() < 0.3:
        del nodes[place]
        return
    nodes.insert(rng.randrange(len(nodes) + 1), copy.deepcopy(nodes[place]))


def _splice(rng: Random, parts: Parts, other: Parts) -> None:
    """An op of another model in the place of one, or the fields of one under another's name."""
    node = rng.choice(_nodes(rng, parts))
    if rng.random() < 0.3:
        node["op"]["op"] = rng.choice(list(OPS))
    else:
        node["op"] = copy.deepcopy(rng.choice(_nodes(rng, other))["op"])


def _tensor(rng: Random, parts: Parts, other: Parts) -> None:
    name = rng.choice(list(parts.tensors))
    parts.tensors[name] = changed(rng, parts.tensors[name])


def changed(rng: Random, array: Array) -> Array:
    """Another content, shape or element type."""
    kind = rng.randrange(9)
    if kind == 0:
        return array.reshape(-1) if rng.random() < 0.5 else array[None]
    if kind == 1 and array.ndim:
        return rng.choice((array[:0], array[:-1], array[1:], np.concatenate([array, array])))
    if kind == 2:
        return array.astype(rng.choice(_DTYPES))
    if kind == 3:
        return array.T.copy()
    if array.dtype == np.float32:
        filled = np.float32(rng.choice(_FLOATS))
    elif array.dtype.kind in "iu":
        info = np.iinfo(array.dtype)
        filled = array.dtype.type(rng.choice((info.min, info.max, 0, 1, info.max // 2)))
    else:
        return array
    if kind < 6 or not array.size:
        return np.full_like(array, filled)
    made = array.copy()
    made.reshape(-1)[rng.randrange(array.size)] = filled
    return made


def _swap(rng: Random, parts: Parts, other: Parts) -> None:
    first, second = rng.sample(list(parts.tensors), 2)
    tensors = parts.tensors
    tensors[first], tensors[second] = tensors[second], tensors[first]


def _head(rng: Random, parts: Parts, other: Parts) -> None:
    model = parts.model
    kind = rng.randrange(4)
    if kind == 0:
        model["head"]["task"] = rng.choice(("raw", "classification", "regression", "x"))
    elif kind == 1:
        model["draws"] = rng.choice((*WHOLE, "2", None, 1.0, "\x01raw:1e999", "\x01raw:1e3"))
    elif kind == 2:
        model["head"]["outputs"] = rng.choice(
            (["mean", "variance"], ["a"], ["a", "a"], ["mean"], [])
        )
    else:
        model["stage"] = rng.choice(("FLOAT", "SIMULATED", "INTEGER", "2", ""))


def _anything(rng: Random, parts: Parts, other: Parts) -> None:
    below = rng.choice((("members",), ("members",), ("head", "draws", "stage", "provenance"), ()))
    mutate(rng, parts.model, below)


def _shared(rng: Random, parts: Parts, other: Parts) -> None:
    """Change the list of tensors that are stored under another's name, and the version."""
    if rng.random() < 0.4:
        parts.version = rng.choice((0, 1, 2, 3, -1, "2", None, 2.0, True, 2**70))
    elif rng.random() < 0.5 and len(parts.tensors) > 1:
        first, second = rng.sample(list(parts.tensors), 2)
        parts.shared = {**parts.shared, first: second}
    else:
        mutate(rng, holder := {"shared": parts.shared})
        parts.shared = holder["shared"]
