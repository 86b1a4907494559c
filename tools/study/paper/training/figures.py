"""Figures of float networks, in float64, that show a bad training at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from qbnnc.study.paper.training.fit import Weights

Outputs = tuple[Tensor, ...]
ROWS = 500  # rows of a batch
PASSES = 20
TEST, OOD = 4000, 1000  # images behind the line of a classifier


@torch.no_grad()
def samples(model: nn.Module, members: Sequence[Weights], x: Tensor) -> Outputs:
    """Outputs (L, N, ...) float64: one pass of each member, or PASSES passes of a single one."""
    model.eval()
    passes = []
    for weights in members if len(members) > 1 else [members[0]] * PASSES:
        model.load_state_dict(weights)
        passes.append(_outputs(model, x))
    return tuple(torch.stack(column) for column in zip(*passes, strict=True))


def _outputs(model: nn.Module, x: Tensor) -> Outputs:
    parts = [model(rows) for rows in torch.split(x, ROWS)]
    columns = zip(*(part if isinstance(part, tuple) else (part,) for part in parts), strict=True)
    return tuple(torch.cat(column).double() for column in columns)


def regression_line(outputs: Outputs, y: Tensor) -> str:
    """RMSE and NLL of samples of (mu, log_var), with the total variance; standardised units."""
    mu, log_var = outputs
    variance = log_var.exp().mean(0) + mu.var(0, correction=0)
    error = (mu.mean(0) - y) ** 2
    nll = (torch.log(2 * math.pi * variance) + error / variance).mean() / 2
    return f"RMSE {error.mean().sqrt().item():.3f}, NLL {nll.item():.3f} (standardised)"


def classification_line(logits: Tensor, y: Tensor, ood: Tensor) -> str:
    """Error, NLL and entropy of samples (L, N, classes), and the entropy of OOD samples."""
    p = logits.softmax(-1).mean(0)
    error = 100 * (p.argmax(1) != y).double().mean().item()
    nll = -p[torch.arange(len(y)), y].clamp_min(1e-12).log().mean().item()
    other = entropy(ood.softmax(-1).mean(0))
    return f"error {error:.2f} %, NLL {nll:.3f}, aPE {entropy(p):.3f}, OOD aPE {other:.3f} nats"


def entropy(p: Tensor) -> float:
    """Average predictive entropy of p (N, classes), nats."""
    return float(torch.special.entr(p).sum(1).mean())
