"""How ops take tensors whose batch is not torch's first axis, or leave it there.

1. An op that moves elements is run on their numbers (`moves`).
2. A product is written as an einsum of batch-first forms (`products`).
3. An op along named axes, or over the last axes, is the same op of the batch-first form.
4. So is an op on pairs of elements, after constants and masks are turned like the activations.
5. A dropout draws in torch's order of axes, and its mask is turned.
6. Recurrent layers run several sequences of a row side by side (`recurrences`).
7. Any other op takes [before * batch * after, ...] position by position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, fx

from qbnnc.frontend.convert.activation_forms import Merged
from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.dropout_masks.drawn_elements import Drawn, Shape
from qbnnc.frontend.convert.layouts import moves, products
from qbnnc.frontend.convert.layouts.joined_rows import joined_rows
from qbnnc.frontend.convert.layouts.layout import (
    Layout,
    is_activation,
    is_laid_out,
    laid,
    layout_of,
    value_of,
)
from qbnnc.frontend.convert.layouts.operands import Run, paired
from qbnnc.frontend.convert.layouts.positions import by_position
from qbnnc.frontend.convert.layouts.recurrences import LAYERS, recurrent
from qbnnc.frontend.convert.layouts.scratch import Given, given_nodes, made
from qbnnc.frontend.convert.tracked import (
    DropoutMask,
    Result,
    Tracked,
)
from qbnnc.frontend.program.random_ops import DROPOUTS, op_name

# Ops whose rules take the batch at any axis; `select` and `unbind` know steps of recurrent layers.
_NATIVE = frozenset(
    "embedding gru gru_cell lstm lstm_cell rnn_relu rnn_relu_cell rnn_tanh rnn_tanh_cell select "
    "unbind".split()
)
_LAST = frozenset(
    "constant_pad_nd gru_cell layer_norm linear lstm_cell native_layer_norm pad rms_norm "
    "rnn_relu_cell rnn_tanh_cell scaled_dot_product_attention".split()
)
# Moves that leave the batch in front, if it is there, or that have rules for any order of axes.
_KEEPING = frozenset(
    "flip gather index index_select narrow permute roll select slice transpose".split()
)
_CONCATENATING = frozenset("cat concat concatenate".split())
_JOINING = _CONCATENATING | {"stack"}
MERGING = _CONCATENATING | moves.MOVES  # may merge the batch with other axes


def concerns(call: Call, inputs: Sequence[Tracked]) -> bool:
    """Whether an op takes a tensor whose batch is not the first axis, or gives one."""
    name = op_name(call.node)
    if name in _NATIVE:
        return any(isinstance(each, Merged) for each in inputs)
    if any(is_laid_out(each) for each in inputs):
        return True
    meta = call.node.meta["val"]
    if not isinstance(meta, Tensor) or not any(is_activation(each) for each in inputs):
        return False
    leaves = not meta.ndim or not call.context.is_batch(meta.shape[0])
    merging = (MERGING | _JOINING) - _KEEPING
    return leaves and (name in products.PRODUCTS or name in merging)


def by_layout(call: Call, run: Run, elementwise: frozenset[str]) -> Result:
    """The result of an op that `concerns`; `elementwise` are the ops on pairs of elements."""
    name = op_name(call.node)
    if name in LAYERS:
        return recurrent(call, run)
    if name in moves.MOVES and not _adds(call):
        return moves.moved(call)
    if name in products.PRODUCTS:
        return products.product(call, run)
    if name in DROPOUTS:
        return _dropped(call, run)
    if name in elementwise and call.arguments.get("dim") is None:
        return _element_by_element(call, run)
    if "dim" in call.arguments or name in _JOINING:
        return _along_axes(call, run)
    if name in _LAST:
        return _over_last_axes(call, run, _count(call))
    return by_position(call, run)


def _adds(call: Call) -> bool:
    """Whether an op that moves elements puts new ones beside them that are no zeros."""
    value = call.arguments.get("value")
    return op_name(call.node) in ("pad", "constant_pad_nd") and bool(value)


def _main(call: Call) -> Layout:
    """The layout of the tensors that the op takes, which is one."""
    inputs = [each for each in _tensors(call) if is_activation(each)]
    return layout_of(next((each for each in inputs if is_laid_out(each)), inputs[0]))


def _tensors(call: Call) -> list[Tracked]:
    values = call.arguments.values()
    flat = [item for value in values for item in (value if isinstance(value, list) else [value])]
    return cast("list[Tracked]", flat)


def _element_by_element(call: Call, run: Run) -> Result:
    nodes, rank = given_nodes(call), len(call.shape())
    layout, missing = _main(call), 0
    for name, node in nodes.items():
        if is_laid_out(cast(Tracked, call.arguments[name])) and isinstance(node, fx.Node):
            missing = rank - node.meta["val"].ndim
            layout = layout_of(cast(Tracked, call.arguments[name]))
    to = Layout(layout.axis + missing, layout.before, layout.after)
    if missing < 0:
        call.fail("over all axes, of which one is the batch", "name the other axes (dim=...)")
    arguments: dict[str, object] = {}
    for name, value in call.arguments.items():
        node = nodes.get(name)
        is_tensor = isinstance(node, fx.Node) and isinstance(node.meta.get("val"), Tensor)
        arguments[name] = (
            paired(call, run, cast(fx.Node, node), value, to, rank) if is_tensor else value
        )
    return _in_front(call, run, arguments, to)


def _in_front(
    call: Call, run: Run, arguments: dict[str, object], to: Layout, *also: Layout
) -> Result:
    """The op on batch-first forms, whose results are of the layout `to`."""
    target = cast(torch._ops.OpOverload, call.node.target)
    meta, batch = call.node.meta["val"], call.context.batch
    if isinstance(meta, Tensor):
        done = run(made(call, target, arguments, to.batch_first(call.shape(), batch)))
        return _placed(call, done, to)
    shapes = [to.batch_first(call.shape(i), batch) for i in range(len(meta))]
    several = run(made(call, target, arguments, shapes))
    assert isinstance(several, tuple)
    return tuple(_placed(call, each, to) for each in several)


def _placed(call: Call, done: Result, to: Layout) -> Tracked:
    tracked = cast(Tracked, done)
    return laid(value_of(call, tracked), to) if is_activation(tracked) else tracked


def _along_axes(call: Call, run: Run) -> Result:
    """An op along axes that `dim` names, which are the same ones of the batch-first form."""
    layout, given, name = _main(call), call.arguments.get("dim"), op_name(call.node)
    first = next(node for node in call.node.all_input_nodes)
    rank = first.meta["val"].ndim + (name == "stack")
    if given is None or given == []:
        call.fail("over all axes, of which one is the batch", "name the other axes (dim=...)")
    axes = [axis % rank for axis in (given if isinstance(given, list) else [given])]
    if name == "stack":
        return _stacked(call, run, layout, axes[0])
    if layout.axis in axes and name in _CONCATENATING:
        return joined_rows(call, cast("list[Tracked]", call.arguments["tensors"]))
    if layout.axis in axes:
        call.fail(
            f"over the axes {sorted(axes)}, of which {layout.axis} "
            f"{'holds' if layout.merged else 'is'} the batch",
            "every row must be predicted by itself, so name the other axes (dim=...)",
        )
    places = [layout.place(axis) for axis in axes]
    meta = call.node.meta["val"]
    kept = (meta if isinstance(meta, Tensor) else meta[0]).ndim == rank
    to = layout if kept else _moved_up(layout, axes)
    arguments = _all_in_front(call, run, layout, rank)
    return _in_front(
        call, run, arguments | {"dim": places if isinstance(given, list) else places[0]}, to
    )


def _moved_up(layout: Layout, gone: Sequence[int]) -> Layout:
    before = sum(axis < layout.axis for axis in gone)
    return Layout(layout.axis - before, layout.before, layout.after)


def _stacked(call: Call, run: Run, layout: Layout, axis: int) -> Result:
    to = Layout(layout.axis + (axis <= layout.axis), layout.before, layout.after)
    place = axis + 1 if axis <= layout.axis else axis + len(layout.merged)
    rank = len(call.shape()) - 1
    return _in_front(call, run, _all_in_front(call, run, layout, rank) | {"dim": place}, to)


def _count(call: Call) -> int:
    """The number of last axes that an op runs over."""
    if op_name(call.node) == "linear" or op_name(call.node).endswith("_cell"):
        return 1
    if "normalized_shape" in call.arguments:
        return len(cast("Sequence[int]", call.arguments["normalized_shape"]))
    return len(cast("Sequence[int]", call.arguments["pad"])) // 2 if "pad" in call.arguments else 2


def _over_last_axes(call: Call, run: Run, count: int) -> Result:
    layout = _main(call)
    first = next(node for node in call.node.all_input_nodes)
    rank = first.meta["val"].ndim
    if layout.axis >= rank - count:
        call.fail(
            f"runs over the last {count} axes, and axis {layout.axis} of {rank} holds the batch",
            "transpose before, so that the batch is in front of them",
        )
    return _in_front(call, run, _all_in_front(call, run, layout, rank), layout)


def _all_in_front(call: Call, run: Run, layout: Layout, rank: int) -> dict[str, object]:
    """The arguments with all activations of this rank in the batch-first form.

    Constants and masks of this rank are turned with them.
    """
    nodes = given_nodes(call)

    def turned(node: object, tracked: object) -> object:
        if not isinstance(node, fx.Node) or not isinstance(node.meta.get("val"), Tensor):
            return tracked
        whole = node.meta["val"].ndim == rank
        if whole and (is_activation(tracked) or op_name(call.node) in _JOINING):
            return paired(call, run, node, tracked, layout, rank)
        return Given(node, tuple(node.meta["val"].shape), tracked)

    found: dict[str, object] = {}
    for name, value in call.arguments.items():
        node = nodes.get(name)
        if isinstance(value, list) and isinstance(node, list | tuple):
            found[name] = [turned(n, v) for n, v in zip(node, value, strict=True)]
        else:
            found[name] = turned(node, value)
    return found


def _dropped(call: Call, run: Run) -> Result:
    """Dropout of an activation; the mask is drawn in torch's order of axes."""
    x = cast(Tracked, call.arguments["input"])
    layout, value, p = layout_of(x), value_of(call, x), call.number("p")
    name, shape = op_name(call.node), call.shape(0)
    if call.arguments["train"] is False:
        return (x, x) if name == "native_dropout" else x
    if not 0 <= p < 1 or "alpha" in name:
        call.fail(f"drops with probability {p:g}", "it must be at least 0 and below 1")
    drawn: Shape = shape[:2] + (1,) * (len(shape) - 2) if "feature" in name else shape
    keep = DropoutMask(Drawn(call.node, drawn), shape, p, 1 / (1 - p))
    source = next(iter(call.node.all_input_nodes))
    turned = paired(call, run, source, keep, layout, len(shape))
    mask = cast(DropoutMask, turned.tracked)
    done = laid(call.context.value(call.context.masked(value, mask, call), call), layout)
    if name == "native_dropout":
        return done, DropoutMask(Drawn(call.node, drawn), shape, p)
    return done
