"""The costs of a C model: a table at the end of the .c, which `qbnnc inspect` reads."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import prod

from qbnnc.backends.c.head import Statistics
from qbnnc.backends.c.parameters import parameter
from qbnnc.backends.c.program import Constants, Layout, Phase
from qbnnc.backends.c.scope import Form, Scope
from qbnnc.ir.format import digest
from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.model import Model
from qbnnc.ir.ops.dropout import KeepMask
from qbnnc.ir.ops.integer import Conv2dInteger, LinearInteger
from qbnnc.ir.ops.matmul import MatMulInteger
from qbnnc.ir.ops.normalize import NormalizeInteger

_OPENING = "/* Costs, for qbnnc inspect: sizes in bytes.\n"
_TABLE = re.compile(re.escape(_OPENING) + r"(\{.*\}) \*/\n", re.DOTALL)
_VERSION = 1
_PRODUCTS_OF_A_NORM = 4  # of an element: its square, and three that scale it


@dataclass(frozen=True, slots=True)
class State:
    """The members of the state in bytes; `total` is with padding, where numbers are aligned."""

    values: int
    statistics: int
    outputs: int
    row: int
    seeds: int
    total: int


@dataclass(frozen=True, slots=True)
class BufferCost:
    """A part of the values, and the layers whose steps need it first and last.

    A `scratch` buffer serves one step; `kept` is what a row leaves for all of its samples.
    """

    layer: str
    use: str
    ctype: str
    nbytes: int
    offset: int
    last: str


@dataclass(frozen=True, slots=True)
class LayerCost:
    """The products of a layer: once a row, and of one sample, as expected over the masks."""

    layer: str
    form: str
    row: int
    sample: int


@dataclass(frozen=True, slots=True)
class Costs:
    """All that is known of a C model without compiling it.

    `constants` are the bytes of arrays by layer. Those of layers that share an array count once.
    """

    prefix: str
    method: str
    bits: str
    task: str
    digest: str
    samples: int
    members: int
    inputs: int
    outputs: tuple[int, ...]
    blob: bool
    constants: dict[str, int]
    state: State
    buffers: tuple[BufferCost, ...]
    layers: tuple[LayerCost, ...]

    @property
    def text(self) -> str:
        """The table as a comment of C, a line for each field."""
        fields = {"version": _VERSION, **asdict(self)}
        lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in fields.items()]
        # A name of a layer must not end the comment; JSON knows \/ for /.
        return (
            f"{_OPENING}{{{(',' + chr(10)).join(lines).replace('*/', '*' + chr(92) + '/')}}} */\n"
        )


def read_costs(text: str) -> Costs | None:
    """Read the table of a .c; None if it has none, or one of another version."""
    found = _TABLE.search(text)
    try:
        fields = json.loads(found[1]) if found else {}
        if not isinstance(fields, dict) or fields.pop("version", None) != _VERSION:
            return None
        state = State(**fields.pop("state"))
        buffers = tuple(BufferCost(**each) for each in fields.pop("buffers"))
        layers = tuple(LayerCost(**each) for each in fields.pop("layers"))
        outputs = tuple(fields.pop("outputs"))
        return Costs(state=state, buffers=buffers, layers=layers, outputs=outputs, **fields)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def costs_of(
    model: Model,
    name: str,
    scope: Scope,
    layout: Layout,
    stats: Statistics,
    constants: Constants,
    *,
    blob: bool,
) -> Costs:
    """Count what the first member's steps and all constants cost."""
    by_layer = Counter[str]()
    for constant in constants.arrays:
        by_layer[constant.layer] += constant.values.nbytes
    outputs = tuple(value.type.size for value in model.graph.outputs)
    return Costs(
        prefix=name,
        method=model.method,
        bits=model.provenance.bits,
        task=model.head.task.value,
        digest=digest(model),
        samples=model.samples,
        members=len(model.members),
        inputs=model.graph.input.type.size,
        outputs=outputs,
        blob=blob,
        constants=dict(by_layer),
        state=_state(model, layout, stats, sum(outputs)),
        buffers=tuple(_buffers(layout)),
        layers=tuple(_layers(model.graph, scope)),
    )


def _state(model: Model, layout: Layout, stats: Statistics, outputs: int) -> State:
    row = 4 * model.graph.input.type.size if len(model.members) > 1 else 0
    seeds, statistics = 16, _aligned(stats.bytes)
    total = seeds + _aligned(layout.nbytes) + statistics + row + 4 * outputs
    return State(layout.nbytes, statistics, 4 * outputs, row, seeds, _aligned(total))


def _aligned(size: int) -> int:
    return -(-size // 8) * 8


def _buffers(layout: Layout) -> Iterator[BufferCost]:
    for buffer, need in sorted(layout.needs.items(), key=lambda item: item[1].first):
        first, last = layout.steps[need.first], layout.steps[need.last]
        users = sum(buffer in step.buffers for step in layout.steps)
        kept = first.phase is Phase.ROW and last.phase is Phase.SAMPLE
        use = "scratch" if users == 1 else "kept" if kept else "value"
        offset = layout.offsets[buffer]
        yield BufferCost(first.layer, use, buffer.ctype, buffer.nbytes, offset, last.layer)


def _layers(graph: Graph, scope: Scope) -> Iterator[LayerCost]:
    for node in graph.nodes:
        if isinstance(node.op, MatMulInteger):
            yield _product(node, scope)
        once = scope.phase(node.output) is Phase.ROW
        if isinstance(node.op, NormalizeInteger):
            products = _PRODUCTS_OF_A_NORM * node.output.type.size
            yield LayerCost(node.output.name, "norm", products * once, products * (not once))
        if not isinstance(node.op, Conv2dInteger | LinearInteger):
            continue
        products = node.output.type.size * prod(node.inputs[1].type.shape[1:])
        name = node.output.name
        select = scope.masked_input(node)
        if select is not None:
            form = scope.forms.form(name)
            dropped = _dropped(select.inputs[1], scope) if form is Form.SUBTRACT else 0.0
            yield LayerCost(name, form.value, products, round(dropped * products))
            continue
        form_name = _form(node.inputs[1], scope)
        yield LayerCost(name, form_name, products * once, products * (not once))


def _product(node: Node, scope: Scope) -> LayerCost:
    """The products of two computed matrices."""
    products = node.output.type.size * node.inputs[0].type.shape[-1]
    once = scope.phase(node.output) is Phase.ROW
    form = Form.DIRECT.value
    return LayerCost(node.output.name, form, products * once, products * (not once))


def _form(weight: Value, scope: Scope) -> str:
    """The form of a layer that subtracts nothing, by its weight."""
    source = parameter(weight, scope)
    if source is None:
        return "sampled"
    if source.select is not None:
        return "dropped"
    return Form.DIRECT.value if source.index is None else "chosen"


def _dropped(mask: Value, scope: Scope) -> float:
    """The probability with which a mask drops an element."""
    node = scope.producers[mask]
    while not isinstance(node.op, KeepMask):
        node = scope.producers[node.inputs[0]]
    return node.op.p
