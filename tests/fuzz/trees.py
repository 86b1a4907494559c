"""JSON trees, and what a stranger may put in the place of one of their values."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from random import Random
from typing import Any, TypeAlias

Tree: TypeAlias = Any  # JSON that a mutation may turn into any other JSON
Path: TypeAlias = tuple[str | int, ...]

# Text that stands for a number which Python's JSON writer has no way to say (`signing.text`).
RAW = "\x01raw:"
RAW_NUMBERS = (f"{RAW}1e999", f"{RAW}-1e999", f"{RAW}1{'0' * 5000}", f"{RAW}NaN")

WHOLE = (
    *(0, -1, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 63, 64, 65, 127, 128, 255, 256, 257, -2, -128),
    *(1000, 4095, 4097, 65535, 65536, 2**24, 2**28, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1),
    *(-(2**31), 2**53 + 1, 2**61, 2**62, 2**63 - 1, 2**63, 2**64 - 2, 2**64, -(2**62), -(2**63)),
    10**30,
)
REAL = (
    *(0.0, -0.0, 1e-45, 1e-38, 1.1754943508222875e-38, 1e-300, 1e38, 3.4028234663852886e38, 1e39),
    *(1e300, -1.0, 0.5, 0.25, 0.999999, 1 - 2**-17, 1.0, 2.0, 65535.5),
)
OTHER: tuple[Tree, ...] = (
    None,
    True,
    False,
    "",
    "x",
    "é" * 40,
    [],
    {},
    [0],
    [[]],
    {"scale": [1.0]},
    1.5,
    -1,
)


def leaves(tree: Tree, path: Path = ()) -> Iterator[Path]:
    """The path of every value in a tree, the containers' too."""
    items: list[tuple[str | int, Tree]] = []
    if isinstance(tree, dict):
        items = list(tree.items())
    elif isinstance(tree, list):
        items = list(enumerate(tree))
    for key, value in items:
        yield from leaves(value, (*path, key))
    yield path


def get(tree: Tree, path: Path) -> Tree:
    """The value at a path."""
    for key in path:
        tree = tree[key]
    return tree


def put(tree: Tree, path: Path, value: Tree) -> None:
    """Set the value at a path that is not the root."""
    get(tree, path[:-1])[path[-1]] = value


def mutate(rng: Random, tree: Tree, below: tuple[str, ...] = ()) -> None:
    """Change one value in place, or the order and number of a container's.

    `below` names keys of the root: only what is under these is changed.
    """
    paths = [p for p in leaves(tree) if p and (not below or p[0] in below)]
    if paths:
        path = rng.choice(paths)
        put(tree, path, mutated(rng, get(tree, path), tree))


def mutated(rng: Random, value: Tree, tree: Tree = None) -> Tree:
    """Something in the place of `value`; a container is one that is a little different."""
    if rng.random() < 0.04:
        return copy.deepcopy(rng.choice((*OTHER, *RAW_NUMBERS)))
    match value:
        case bool():
            return not value
        case int():
            return _number(rng, value)
        case float():
            return rng.choice((*REAL, value * 2, -value, value / 3, value * 1e10))
        case str():
            return rng.choice(_texts(tree) or [value[::-1]])
        case list():
            return _list(rng, value)
        case dict():
            return _object(rng, value, tree)
        case _:
            return copy.deepcopy(rng.choice((0, 1, [], 0.5, [1], [4], 2, "x")))


def _number(rng: Random, value: int) -> int:
    kind = rng.random()
    if kind < 0.4:
        return rng.choice(WHOLE)
    if kind < 0.8:
        return value + rng.choice((-1, 1, 1, 2, -2, 3))
    return value * rng.choice((2, -1, 3, 1000, 2**31))


def _texts(tree: Tree) -> list[str]:
    return [v for p in leaves(tree) if isinstance(v := get(tree, p), str)]


def _list(rng: Random, value: list[Tree]) -> list[Tree]:
    made = list(value)
    if not made:
        return [rng.choice((0, 1, -1))]
    kind, place = rng.random(), rng.randrange(len(made))
    if kind < 0.25:
        del made[place]
    elif kind < 0.5:
        made.insert(rng.randrange(len(made) + 1), copy.deepcopy(made[place]))
    elif kind < 0.7:
        other = rng.randrange(len(made))
        made[place], made[other] = made[other], made[place]
    elif kind < 0.85 and len(made) < 50:
        made += copy.deepcopy(made) * rng.choice((1, 2, 5))
    else:
        made.reverse()
    return made


def _object(rng: Random, value: dict[str, Tree], tree: Tree) -> Tree:
    made = dict(value)
    kind = rng.random()
    if not made or kind < 0.1:
        return {**made, rng.choice(("x", "op", "name", "shape")): rng.choice((*WHOLE, *OTHER))}
    if kind < 0.5:
        del made[rng.choice(list(made))]
        return made
    alike = [v for p in leaves(tree) if isinstance(v := get(tree, p), dict) and v.keys() & made]
    return copy.deepcopy(rng.choice(alike or [made]))


def flipped(rng: Random, data: bytes) -> bytes:
    """Some bytes changed, cut out, repeated or added."""
    made = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if not made:
            break
        place, kind = rng.randrange(len(made)), rng.random()
        if kind < 0.5:
            made[place] ^= 1 << rng.randrange(8)
        elif kind < 0.7:
            made[place] = rng.choice((0, 1, 127, 128, 255, 0x7B, 0x22))
        elif kind < 0.8:
            del made[place : place + rng.choice((1, 8, 100))]
        elif kind < 0.9:
            made[place:place] = made[place : place + rng.choice((1, 8, 100))]
        else:
            del made[place:]
    return bytes(made)
