"""Spellings of masks on rows of six features."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Spelling = Callable[[Tensor], Tensor]


def bernoulli(*shape: int, p: float = 0.7) -> Tensor:
    return torch.bernoulli(torch.full(shape, p))


def complement(h: Tensor, p: float = 0.5) -> Tensor:
    mask = bernoulli(len(h), 1, p=p)
    return h * mask + torch.tanh(h) * (1 - mask)


def comparisons(h: Tensor) -> Tensor:
    u = torch.rand_like(h)
    return h * (u < 0.5) + torch.tanh(h) * (u >= 0.5)


def nested(h: Tensor) -> Tensor:
    u = torch.rand_like(h)
    return h * (u < 0.3) + torch.tanh(h) * (u < 0.6) + torch.sigmoid(h) * (u > 0.9)


def turned_uniform(h: Tensor) -> Tensor:
    u = torch.rand_like(h)
    return h * (1 - u < 0.3) + torch.tanh(h) * (2 * u - 1 > 0.2)


def negation(h: Tensor) -> Tensor:
    mask = torch.rand(h.shape) < 0.3
    return h * mask + torch.tanh(h) * ~mask + torch.sigmoid(h) * (mask == 0)


def chosen(h: Tensor) -> Tensor:
    return torch.where(torch.rand_like(h) < 0.3, h, torch.tanh(h))


def only_the_complement(h: Tensor) -> Tensor:
    return h * (1 - bernoulli(*h.shape, p=0.2)) / 0.8


def of_itself(h: Tensor) -> Tensor:
    mask = bernoulli(*h.shape)
    return h + h * mask * (1 - mask) + h * mask * mask


def two_draws(h: Tensor) -> Tensor:
    return h * (bernoulli(len(h), 1) * bernoulli(6)) / 0.49


def over_dropout(h: Tensor) -> Tensor:
    return bernoulli(len(h), 1) * F.dropout(h, 0.3, training=True)


def logical(h: Tensor) -> Tensor:
    return h * ((torch.rand_like(h) < 0.7) & (torch.rand(6) < 0.8))


def expanded_then_reshaped(h: Tensor) -> Tensor:
    return h * bernoulli(len(h), 1).expand_as(h).reshape(len(h), 6) / 0.7


def expanded_then_viewed(h: Tensor) -> Tensor:
    return h * bernoulli(1, 6).expand(len(h), 6).reshape(-1, 2, 3).flatten(1)


def shared_row_unsqueezed(h: Tensor) -> Tensor:
    return h * bernoulli(6).unsqueeze(0).expand(len(h), -1)


def in_groups(h: Tensor) -> Tensor:
    """One draw for three features that follow each other."""
    return h * bernoulli(len(h), 2).unsqueeze(2).expand(-1, -1, 3).reshape(-1, 6)


def in_turns(h: Tensor) -> Tensor:
    """One draw for every other feature."""
    return h * bernoulli(len(h), 2).unsqueeze(1).expand(-1, 3, -1).flatten(1)


def interleaved(h: Tensor) -> Tensor:
    return h * bernoulli(len(h), 2).repeat_interleave(3, 1) + bernoulli(3).repeat(2) * torch.tanh(h)


def transposed(h: Tensor) -> Tensor:
    return h * bernoulli(6, len(h)).t()


def sliced(h: Tensor) -> Tensor:
    return h * bernoulli(len(h), 9)[:, 2:8]


def sliced_uniform(h: Tensor) -> Tensor:
    return h * (torch.rand(len(h), 9)[:, :6] < 0.4)


def in_two_parts(h: Tensor) -> Tensor:
    first, second = bernoulli(len(h), 12).chunk(2, dim=1)
    return h * first + torch.tanh(h) * (1 - second) + torch.sigmoid(h) * second


def in_two_batches(h: Tensor) -> Tensor:
    first, second = bernoulli(2 * len(h), 6).chunk(2)
    return h * first + torch.tanh(h) * second


def selected(h: Tensor) -> Tensor:
    masks = bernoulli(2, len(h), 6)
    return h * masks[0] + torch.tanh(h) * masks[1]


def stacked_parts(h: Tensor) -> Tensor:
    mask = bernoulli(len(h), 6)
    return h * torch.cat([mask[:, 3:], mask[:, :3]], dim=1)


def of_one_row(h: Tensor) -> Tensor:
    """All rows take the mask of the first."""
    return h * bernoulli(len(h), 6)[:1]


def two_shapes(h: Tensor) -> Tensor:
    mask = (torch.rand(len(h), 6) > 0.5).float()
    return h * mask + (h.unsqueeze(1) * mask.unsqueeze(1)).reshape(-1, 2, 3).reshape(-1, 6)


def floored(h: Tensor) -> Tensor:
    return h * (torch.rand(len(h), 1) + 0.8).int() / 0.8


def negative_mask(h: Tensor) -> Tensor:
    return h + torch.relu(h) * -bernoulli(*h.shape) + h * (bernoulli(*h.shape) - 1)


def negative_dropout(h: Tensor) -> Tensor:
    return h - 0.5 * F.dropout(torch.relu(h), 0.3, training=True)


def no_factor(h: Tensor) -> Tensor:
    return h + 0.0 * F.dropout(h, 0.3, training=True)


def union(h: Tensor) -> Tensor:
    return h * ((torch.rand_like(h) < 0.5) | (torch.rand(len(h), 1) < 0.3))


def exclusive(h: Tensor) -> Tensor:
    return h * ((torch.rand_like(h) < 0.5) ^ (torch.rand(6) < 0.3))


def not_both(h: Tensor) -> Tensor:
    return h * ~((torch.rand_like(h) < 0.5) & (torch.rand(len(h), 1) < 0.3))


def number_or_row(h: Tensor) -> Tensor:
    mask = bernoulli(len(h), 6)
    return torch.where(torch.rand_like(h) < 0.5, 0.3, h) + h * mask + 0.25 * (1 - mask)


def two_factors(h: Tensor) -> Tensor:
    """0.5 or 0.3, beside the complement of a product."""
    product = bernoulli(6) * bernoulli(len(h), 6)
    return h * (0.5 - 0.2 * bernoulli(len(h), 1)) * (1 - product)


def random_signs(h: Tensor) -> Tensor:
    return h * (2 * bernoulli(len(h), 6, p=0.5) - 1)


def product_moved(h: Tensor) -> Tensor:
    return h * (1 - bernoulli(len(h), 1, 1) * bernoulli(len(h), 2, 3)).flatten(1)


def chosen_by_either(h: Tensor) -> Tensor:
    either = (torch.rand_like(h) < 0.5) | (torch.rand(len(h), 1) < 0.3)
    return torch.where(either, h, torch.tanh(h))


def masks_added(h: Tensor) -> Tensor:
    return h + bernoulli(len(h), 6) - 0.3 * bernoulli(len(h), 1)


def of_two_batches(h: Tensor) -> Tensor:
    return h * torch.bernoulli(torch.zeros(2 * h.shape[0], 6), p=0.5).chunk(2)[1]


def above_a_half(h: Tensor) -> Tensor:
    return h * (bernoulli(len(h), 6) > 0.5) + torch.tanh(h) * (bernoulli(len(h), 1) <= 0)


def one_and_mask(h: Tensor) -> Tensor:
    return h * (1 + bernoulli(*h.shape))


SPELLINGS = [
    complement, comparisons, nested, turned_uniform, negation, chosen, only_the_complement,
    of_itself, two_draws, over_dropout, logical, expanded_then_reshaped, expanded_then_viewed,
    shared_row_unsqueezed, in_groups, in_turns, interleaved, transposed, sliced, sliced_uniform,
    in_two_parts, in_two_batches, selected, stacked_parts, of_one_row, two_shapes, floored,
    negative_mask,
    negative_dropout, no_factor, union, exclusive, not_both, number_or_row, two_factors,
    random_signs, product_moved, chosen_by_either, masks_added, of_two_batches, above_a_half,
    one_and_mask,
]  # fmt: skip
