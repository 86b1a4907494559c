"""Small changes of a Python source that its tests should notice.

A mutation replaces one node: an operator by its neighbour, a number by the next, a condition by its
opposite, or a function by its twin (min and max). It may also drop a keyword or a statement. Texts,
types, `raise` statements and `assert` statements stay as they are.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass

_OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
_TWINS = {
    "min": "max",
    "minimum": "maximum",
    "argmin": "argmax",
    "all": "any",
    "floor": "ceil",
    "zeros": "ones",
    "zeros_like": "ones_like",
    "rows": "columns",
    "low": "high",
    "start": "stop",
}
_TWINS |= {b: a for a, b in _TWINS.items()} | {"rint": "floor", "round": "floor"}
_FIRST = set("abs clip f32 float32 max maximum min minimum rint sorted sqrt".split())
_FIXED = ast.Raise, ast.Assert, ast.Import, ast.ImportFrom, ast.JoinedStr


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change of a source: `name` says where and which, `source` is the text with the change.

    `lines` are the numbers of the lines that change.
    """

    name: str
    source: str
    lines: range


@dataclass(frozen=True, slots=True)
class _Place:
    """A node that may be replaced, and what stands around it."""

    node: ast.expr | ast.stmt | ast.pattern
    parent: ast.AST
    scope: str


def mutations(path: str, source: str) -> Iterator[Mutation]:
    """Every change of a source, in the order of the text; names are unique."""
    lines = source.encode().splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    seen = Counter[str]()
    for place in _places(ast.parse(source)):
        node = place.node
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        begin = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        for changed in _changes(place):
            text = ast.unparse(changed)
            is_part = not isinstance(changed, ast.expr) or isinstance(changed, ast.Slice)
            text = text if is_part else f"({text})"
            name = f"{path} {place.scope}: {_shown(place, changed)}"
            seen[name] += 1
            name += f" #{seen[name]}" if seen[name] > 1 else ""
            data = source.encode()
            mutated = (data[:begin] + text.encode() + data[end:]).decode()
            yield Mutation(name, mutated, range(node.lineno, node.end_lineno + 1))


def _shown(place: _Place, changed: ast.AST) -> str:
    """The change, with what stands around a small node."""
    if not isinstance(place.parent, ast.expr) or isinstance(place.parent, ast.Lambda):
        return f"{ast.unparse(place.node)} -> {ast.unparse(changed)}"
    return f"{ast.unparse(place.parent)} -> {ast.unparse(_with(place, changed))}"


def _with(place: _Place, changed: ast.AST) -> ast.AST:
    """The parent with the changed node."""
    parent = copy(place.parent)
    for field, value in ast.iter_fields(parent):
        if value is place.node:
            setattr(parent, field, changed)
        elif isinstance(value, list) and place.node in value:
            setattr(parent, field, [changed if each is place.node else each for each in value])
    return parent


def _places(tree: ast.Module) -> Iterator[_Place]:
    for statement in tree.body:
        yield from _below(statement, tree, "module")


def _below(node: ast.AST, parent: ast.AST, scope: str) -> Iterator[_Place]:
    if isinstance(node, _FIXED):
        return
    if isinstance(node, ast.expr | ast.stmt | ast.pattern):
        yield _Place(node, parent, scope)
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        scope = node.name if scope == "module" else f"{scope}.{node.name}"
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "type_params", "bases"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _below(child, node, scope)


def _changes(place: _Place) -> Iterator[ast.AST]:
    """Yield the nodes that may stand in place of a node."""
    node = place.node
    match node:
        case ast.BinOp(op=op) if type(op) in _OPERATORS and not _is_text(node):
            if not _is_type(node):
                yield _copy(node, op=_OPERATORS[type(op)]())
        case ast.Compare(ops=[op, *rest]):
            yield _copy(node, ops=[_OPERATORS[type(op)](), *rest])
        case ast.BoolOp(op=op, values=values):
            yield _copy(node, op=_OPERATORS[type(op)]())
            yield values[0]
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.IfExp(body=body, orelse=orelse):
            yield _copy(node, body=orelse, orelse=body)
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield ast.Constant(value + 1)
        case ast.Constant(value=float(value)):
            yield ast.Constant(value * 2 if value else 1.0)
        case ast.Call(func=func, args=args, keywords=keywords):
            yield from _calls(node, func, args, keywords)
        case ast.Attribute(attr=attr) if attr in _TWINS and not isinstance(place.parent, ast.Call):
            yield _copy(node, attr=_TWINS[attr])
        case ast.Slice(lower=ast.expr()) | ast.Slice(upper=ast.expr()):
            yield _copy(node, lower=None) if node.lower is not None else _copy(node, upper=None)
        case ast.AugAssign(op=op) if type(op) in _OPERATORS:
            yield _copy(node, op=_OPERATORS[type(op)]())
        case ast.Expr(value=ast.Call()):
            yield ast.Pass()
        case ast.MatchOr(patterns=patterns):
            for dropped in patterns:
                yield _copy(node, patterns=[p for p in patterns if p is not dropped])
    is_test = getattr(place.parent, "test", None) is node
    if is_test and isinstance(node, ast.Name | ast.Attribute | ast.Call):
        yield ast.UnaryOp(ast.Not(), node)


def _calls(
    node: ast.Call, func: ast.expr, args: list[ast.expr], keywords: list[ast.keyword]
) -> Iterator[ast.AST]:
    """The twin of a function, its first argument alone, or a keyword left out."""
    name = func.id if isinstance(func, ast.Name) else getattr(func, "attr", "")
    if name in _TWINS:
        twin = {"id": _TWINS[name]} if isinstance(func, ast.Name) else {"attr": _TWINS[name]}
        yield _copy(node, func=_copy(func, **twin))
    if name in _FIRST and args and not isinstance(args[0], ast.Starred):
        yield args[0]
    if name in ("isinstance", "errstate") or "Error" in name:
        return
    for keyword in keywords:
        if keyword.arg not in (None, "strict", "loc", "name"):
            yield _copy(node, keywords=[k for k in keywords if k is not keyword])


def _copy(node: ast.AST, **changes: object) -> ast.AST:
    made = copy(node)
    for field, value in changes.items():
        setattr(made, field, value)
    return made


def _is_text(node: ast.BinOp) -> bool:
    return any(
        isinstance(side, ast.JoinedStr)
        or (isinstance(side, ast.Constant) and isinstance(side.value, str))
        for side in (node.left, node.right)
    )


def _is_type(node: ast.BinOp) -> bool:
    """Whether it is a union of classes: `A | B`, `A | None`."""
    sides = (node.left, node.right)
    return isinstance(node.op, ast.BitOr) and all(
        (isinstance(s, ast.Name) and s.id[:1].isupper())
        or (isinstance(s, ast.Name) and s.id in ("int", "float", "str", "bool"))
        or (isinstance(s, ast.Constant) and s.value is None)
        or (isinstance(s, ast.Attribute) and s.attr[:1].isupper())
        or (isinstance(s, ast.BinOp) and _is_type(s))
        for s in sides
    )
