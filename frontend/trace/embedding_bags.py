"""Bags of embeddings, written as embeddings of rows that are summed, while a module is traced.

torch joins the bags of all rows to one list, in which the rows of the batch are lost.
"""

from __future__ import annotations

import inspect
from typing import NoReturn, cast

import torch.nn.functional as F
from torch import Tensor

from qbnnc.frontend.torch_modes import Arguments, Function, FunctionMode, Keywords
from qbnnc.support.errors import CompileError

_SIGNATURE = inspect.signature(F.embedding_bag)


class BagsAsRows(FunctionMode):
    """Replaces F.embedding_bag of ids [batch, T] by an embedding, summed or averaged over T.

    CompileError for bags of any other kind.
    """

    def called(self, function: Function, args: Arguments, kwargs: Keywords) -> object:
        if function is F.embedding_bag:
            bound = _SIGNATURE.bind(*args, **kwargs)
            bound.apply_defaults()
            return _bags(**bound.arguments)
        return function(*args, **kwargs)


def _bags(input: Tensor, weight: Tensor, offsets: Tensor | None, **options: object) -> Tensor:
    if offsets is not None or input.ndim != 2:
        _refuse("is given offsets, or ids of one axis", "give ids [batch, T], all of one length")
    if options["per_sample_weights"] is not None:
        _refuse(
            "weighs what it sums (per_sample_weights)",
            "write (embedding(ids) * weights.unsqueeze(-1)).sum(1)",
        )
    if options["max_norm"] is not None:
        _refuse(
            "changes its table in each call (max_norm)",
            "set max_norm=None, after the rows are scaled: weight.data.renorm_(2, 0, max_norm)",
        )
    rows, mode = F.embedding(input, weight), cast(str, options["mode"])
    padding = cast("int | None", options["padding_idx"])
    if padding is None:
        return _reduced(rows, mode)
    padding %= len(weight)
    held = (input != padding).to(weight.dtype).unsqueeze(-1)
    if mode == "max":
        _refuse("takes the maxima of bags with padding", "use mode='sum' or 'mean'")
    total = (rows * held).sum(1)
    return total if mode == "sum" else total / held.sum(1).clamp(min=1)


def _reduced(rows: Tensor, mode: str) -> Tensor:
    match mode:
        case "sum":
            return rows.sum(1)
        case "mean":
            return rows.mean(1)
    return rows.amax(1)


def _refuse(message: str, remedy: str) -> NoReturn:
    raise CompileError(
        f"embedding_bag: {message}, which is not supported",
        "EmbeddingBag",
        remedy,
    )
