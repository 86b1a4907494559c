"""Cosine similarities, written as products of normalised tensors, while a module is traced."""

from __future__ import annotations

import inspect

import torch
import torch.nn.functional as F
from torch import Tensor

from qbnnc.frontend.torch_modes import Arguments, Function, FunctionMode, Keywords


def _cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (max(|x1|, eps) * max(|x2|, eps)) over an axis of the broadcast shape."""
    axis = dim - max(x1.ndim, x2.ndim) if dim >= 0 else dim
    if min(x1.ndim, x2.ndim) < -axis or x1.shape[axis] != x2.shape[axis]:
        x1, x2 = torch.broadcast_tensors(x1, x2)
    one, other = (F.normalize(each, dim=axis, eps=eps) for each in (x1, x2))
    return (one * other).sum(axis)


_SIGNATURE = inspect.signature(_cosine_similarity)


class CosinesAsProducts(FunctionMode):
    """Replaces F.cosine_similarity, which nn.CosineSimilarity calls, by F.normalize and a sum."""

    def called(self, function: Function, args: Arguments, kwargs: Keywords) -> object:
        if function is F.cosine_similarity:
            bound = _SIGNATURE.bind(*args, **kwargs)
            return _cosine_similarity(**bound.arguments)
        return function(*args, **kwargs)
