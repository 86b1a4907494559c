"""Tensors of every kind that a module may hold: which can be copied, and which are the same."""

from __future__ import annotations

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.parameter import is_lazy


def can_be_kept(value: Tensor) -> bool:
    """Whether it has numbers of its own, one for each element, that can be copied and put back."""
    unusual = value.is_quantized or value.layout != torch.strided or value.is_meta
    if unusual or isinstance(value, FakeTensor) or is_lazy(value):
        return False
    strides = zip(value.shape, value.stride(), strict=True)
    return not any(extent > 1 and stride == 0 for extent, stride in strides)


def same_tensor(a: Tensor, b: Tensor) -> bool:
    """Equal in shape, element type and value; NaN is NaN."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.is_floating_point() or a.is_complex():
        return bool(torch.equal(a.isnan(), b.isnan()) and torch.equal(_numbers(a), _numbers(b)))
    return torch.equal(a, b)


def _numbers(value: Tensor) -> Tensor:
    return torch.where(value.isnan(), torch.zeros_like(value), value)
