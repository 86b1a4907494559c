"""Losses and training loops. Inputs, targets and weights float32; labels int64."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qbnnc.study.paper.training.recipes import ChainRecipe, Recipe
from qbnnc.study.paper.training.sghmc import Chain, ChainOptions
from tools.models import BBBLayer

Weights = dict[str, Tensor]
Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]


def cross_entropy(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Mean cross entropy of the logits `model(x)` (N, classes) with the labels y (N,)."""
    return F.cross_entropy(model(x), y)


def gaussian_nll(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Mean of (log_var + (y - mu)^2 / exp(log_var)) / 2; the constant is left out."""
    mu, log_var = model(x)
    loss: Tensor = (log_var + (y - mu) ** 2 * torch.exp(-log_var)).mean() / 2
    return loss


def divergence(model: nn.Module, prior: float) -> Tensor:
    """KL(q || N(0, prior^2)) of all Gaussian weights, in nats: () float32, 0 if there are none.

    sum of log(prior/sigma) + (sigma^2 + mu^2)/(2*prior^2) - 1/2.
    """
    total = torch.zeros(())
    for layer in model.modules():
        if isinstance(layer, BBBLayer):
            sigma = layer.sigma()
            spread = (sigma**2 + layer.weight_mu**2) / (2 * prior**2)
            total = total + (spread - torch.log(sigma / prior) - 0.5).sum()
    return total


def batches(x: Tensor, y: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The rows of x and y in a new random order, `size` at a time."""
    for rows in torch.split(torch.randperm(len(x)), size):
        yield x[rows], y[rows]


def fit(model: nn.Module, loss: Loss, x: Tensor, y: Tensor, recipe: Recipe) -> Weights:
    """Adam with an L2 penalty, its rate falling to zero along half a cosine.

    Minimises the mean loss of a batch + kl_weight * KL / rows: the evidence lower bound for a
    weight of 1. The rate falls with every step.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    steps = recipe.epochs * -(-len(x) // recipe.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model.train()
    for _ in range(recipe.epochs):
        for x_batch, y_batch in batches(x, y, recipe.batch):
            optimizer.zero_grad()
            objective = loss(model, x_batch, y_batch)
            if recipe.kl_weight:
                kl = divergence(model, recipe.prior)
                objective = objective + recipe.kl_weight * kl / len(x)
            objective.backward()
            optimizer.step()
            schedule.step()
    return weights_of(model)


def sample(
    model: nn.Module, loss: Loss, x: Tensor, y: Tensor, recipe: ChainRecipe
) -> list[Weights]:
    """Members of an SGHMC chain: one every `recipe.spacing` epochs after the burn-in."""
    chain = Chain(model.parameters(), len(x), ChainOptions(recipe.rate))
    members = []
    for epoch in range(recipe.epochs):
        burn_in = epoch < recipe.burn_in
        for x_batch, y_batch in batches(x, y, recipe.batch):
            model.zero_grad()
            loss(model, x_batch, y_batch).backward()
            chain.step(burn_in=burn_in)
        if not burn_in and (epoch + 1 - recipe.burn_in) % recipe.spacing == 0:
            members.append(weights_of(model))
    return members


def weights_of(model: nn.Module) -> Weights:
    """A copy of the state_dict."""
    return copy.deepcopy(model.state_dict())
