"""Attention, as ops of its own.

torch hides products, a softmax and a dropout in one op or one function. Here they become ops, so
that masks are found where all others are.

    F.scaled_dot_product_attention     one op of a program, which `with_attention_spelt_out` divides
    F.multi_head_attention_forward     a function of nn.MultiheadAttention, which moves the batch
                                       about; `PlainAttention` writes it with the batch first
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.nn.modules import transformer

from qbnnc.frontend.program.random_ops import op_name
from qbnnc.frontend.torch_modes import Arguments, Function, FunctionMode, Keywords
from qbnnc.frontend.trace.op_writer import OpWriter

_ATEN = torch.ops.aten
_ATTENTION = "scaled_dot_product_attention"


def with_attention_spelt_out(program: ExportedProgram) -> None:
    """Divide the attention ops of a program in training IR, in place."""
    for module in program.graph_module.modules():
        if not isinstance(module, fx.GraphModule):
            continue
        found = [node for node in module.graph.nodes if op_name(node) == _ATTENTION]
        for node in found:
            with module.graph.inserting_before(node):
                node.replace_all_uses_with(_spelt_out(OpWriter(module.graph, node)))
            module.graph.erase_node(node)
        if found:
            module.graph.lint()
            module.recompile()


def _spelt_out(write: OpWriter) -> fx.Node:
    """softmax(scale * q k^T + mask) v, with a dropout behind the softmax."""
    schema = cast(torch._ops.OpOverload, write.node.target)._schema.arguments
    given = dict(zip((a.name for a in schema), write.node.args, strict=False))
    said = {a.name: a.default_value for a in schema} | given | dict(write.node.kwargs)
    query, key, value = (cast(fx.Node, said[name]) for name in ("query", "key", "value"))
    if said["enable_gqa"]:
        key, value = (_for_all_heads(write, each, query) for each in (key, value))
    width = query.meta["val"].shape[-1]
    scale = 1 / math.sqrt(width) if said["scale"] is None else said["scale"]
    turned = write.call(_ATEN.transpose.int, key, -2, -1)
    scores = write.call(_ATEN.mul.Tensor, write.call(_ATEN.matmul.default, query, turned), scale)
    for mask in _masks(write, said, scores):
        scores = mask
    weights = write.call(_ATEN.softmax.int, scores, -1)
    if said["dropout_p"]:
        weights = write.call(_ATEN.dropout.default, weights, said["dropout_p"], True)
    return write.call(_ATEN.matmul.default, weights, value)


def _masks(write: OpWriter, said: dict[str, object], scores: fx.Node) -> Iterator[fx.Node]:
    """The scores under the causal mask, or under the one that is given."""
    extents = list(scores.meta["val"].shape[-2:])
    if said["is_causal"]:
        whole = write.call(_ATEN.ones.default, extents, dtype=torch.bool)
        kept = write.call(_ATEN.tril.default, whole)
        yield _masked(write, scores, kept)
    if isinstance(mask := said["attn_mask"], fx.Node):
        if mask.meta["val"].dtype is torch.bool:
            yield _masked(write, scores, mask)
        else:
            yield write.call(_ATEN.add.Tensor, scores, mask)


def _masked(write: OpWriter, scores: fx.Node, kept: fx.Node) -> fx.Node:
    dropped = write.call(_ATEN.logical_not.default, kept)
    return write.call(_ATEN.masked_fill.Scalar, scores, dropped, -math.inf)


def _for_all_heads(write: OpWriter, of_groups: fx.Node, query: fx.Node) -> fx.Node:
    """Keys or values of groups of heads, for each head."""
    heads, groups = (each.meta["val"].shape[-3] for each in (query, of_groups))
    if heads == groups:
        return of_groups
    return write.call(_ATEN.repeat_interleave.self_int, of_groups, heads // groups, -3)


class PlainAttention(FunctionMode):
    """Computes nn.MultiheadAttention with the batch as the first axis, from its ops."""

    def called(self, function: Function, args: Arguments, kwargs: Keywords) -> object:
        is_attention = function == F.multi_head_attention_forward
        said = _arguments(args, kwargs) if is_attention else None
        return function(*args, **kwargs) if said is None else _multi_head(said)


def _arguments(args: Arguments, kwargs: Keywords) -> dict[str, object] | None:
    """The arguments of a call by name; None if the batch has no axis, or keys are given twice."""
    given = signature(F.multi_head_attention_forward).bind(*args, **kwargs)
    given.apply_defaults()
    said = given.arguments
    usual = said["query"].dim() == 3 and said["static_k"] is None and said["static_v"] is None
    return said if usual else None


def _multi_head(said: dict[str, object]) -> tuple[Tensor, Tensor | None]:
    """(outputs [T, B, E], weights): what F.multi_head_attention_forward gives for [T, B, E]."""
    given = [cast(Tensor, said[name]).transpose(0, 1) for name in ("query", "key", "value")]
    heads = cast(int, said["num_heads"])
    q, k, v = (F.linear(x, *pair) for x, pair in zip(given, _projections(said), strict=True))
    added = [_added(said, each, x) for each, x in (("bias_k", k), ("bias_v", v))]
    k, v = (torch.cat([x, *more], 1) if more else x for x, more in zip((k, v), added, strict=True))
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    scores = torch.matmul(q, k.transpose(-2, -1)) * (1 / math.sqrt(q.shape[-1]))
    scores = _with_masks(said, scores, len(added[0]))
    weights = scores.softmax(-1)
    if said["training"] and said["dropout_p"]:
        weights = F.dropout(weights, cast(float, said["dropout_p"]))
    joined = torch.matmul(weights, v).transpose(1, 2).flatten(2)
    projection = (cast(Tensor, said[f"out_proj_{name}"]) for name in ("weight", "bias"))
    output = F.linear(joined, *projection).transpose(0, 1)
    if not said["need_weights"]:
        return output, None
    return output, weights.mean(1) if said["average_attn_weights"] else weights


def _projections(said: dict[str, object]) -> list[tuple[Tensor, Tensor | None]]:
    """Weight and bias for queries, keys and values."""
    biases = cast("Tensor | None", said["in_proj_bias"])
    each = (None, None, None) if biases is None else biases.chunk(3)
    names = [f"{name}_proj_weight" for name in "qkv"]
    if said["use_separate_proj_weight"]:
        weights = tuple(cast(Tensor, said[name]) for name in names)
    else:
        weights = cast(Tensor, said["in_proj_weight"]).chunk(3)
    return list(zip(weights, each, strict=True))


def _added(said: dict[str, object], name: str, x: Tensor) -> list[Tensor]:
    """Positions that the layer adds to keys or values [B, S, E]: a learned one, and zeros."""
    found, bias = list[Tensor](), cast("Tensor | None", said[name])
    if bias is not None:
        found.append(bias.transpose(0, 1).expand(x.shape[0], 1, x.shape[2]))
    if said["add_zero_attn"]:
        found.append(x.new_zeros(x.shape[0], 1, x.shape[2]))
    return found


def _with_masks(said: dict[str, object], scores: Tensor, added: int) -> Tensor:
    """The scores [B, H, T, S] under the masks that are given; `added` positions have none."""
    mask = cast("Tensor | None", said["attn_mask"])
    if mask is not None:
        if mask.dim() == 3:  # one a row and head
            mask = mask.unflatten(0, (-1, scores.shape[1]))
        scores = _under(scores, F.pad(mask, (0, added)) if added else mask)
    padding = cast("Tensor | None", said["key_padding_mask"])
    if padding is not None:
        padding = F.pad(padding, (0, added)) if added else padding
        scores = _under(scores, padding[:, None, None, :])
    return scores


def _under(scores: Tensor, mask: Tensor) -> Tensor:
    """The scores without those where a mask of booleans is true, or plus a mask of numbers."""
    return scores.masked_fill(mask, -math.inf) if mask.dtype is torch.bool else scores + mask


@contextmanager
def spelt_out() -> Iterator[None]:
    """Trace attention layers by `PlainAttention`, and not by torch's fused form of them.

    nn.TransformerEncoder would ask for the numbers of a mask, which tracing does not know, to
    find out whether it is causal.
    """
    asked, fused = transformer._detect_is_causal_mask, torch.backends.mha.get_fastpath_enabled()
    transformer._detect_is_causal_mask = lambda mask, is_causal=None, size=None: bool(is_causal)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with PlainAttention():
            yield
    finally:
        transformer._detect_is_causal_mask = asked
        torch.backends.mha.set_fastpath_enabled(fused)
