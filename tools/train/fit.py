"""The training loop, and the figures measured on what it trained. Inputs and weights float32."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]


def cross_entropy(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Mean cross entropy of the logits `model(x)` (N, classes) with the labels y (N,)."""
    return F.cross_entropy(model(x), y)


def gaussian_nll(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Mean of (log_var + (y - mu)^2 / exp(log_var)) / 2; the constant is left out."""
    mu, log_var = model(x)
    loss: Tensor = (log_var + (y - mu) ** 2 * torch.exp(-log_var)).mean() / 2
    return loss


def batches(x: Tensor, y: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The rows of x and y in a new random order, `size` at a time."""
    for rows in torch.split(torch.randperm(len(x)), size):
        yield x[rows], y[rows]


def fit(
    model: nn.Module, loss: Loss, x: Tensor, y: Tensor, *, epochs: int, batch: int, decay: float
) -> None:
    """Train in place: AdamW, the rate falling from 2e-3 to zero along half a cosine."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    model.train()
    for _ in range(epochs):
        for x_batch, y_batch in batches(x, y, batch):
            optimizer.zero_grad()
            loss(model, x_batch, y_batch).backward()
            optimizer.step()
        schedule.step()
    model.eval()


@torch.no_grad()
def probabilities(model: nn.Module, x: Tensor, samples: int) -> Tensor:
    """Predictive mean of the softmax over `samples` calls: (N, classes)."""
    return torch.stack([model(x).softmax(1) for _ in range(samples)]).mean(0)


@torch.no_grad()
def mean_and_variance(model: nn.Module, x: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """Moments of the mixture of `samples` Gaussians, each (N, 1): total variance."""
    drawn = [model(x) for _ in range(samples)]
    mu = torch.stack([mu for mu, _ in drawn])
    noise = torch.stack([log_var.exp() for _, log_var in drawn])
    return mu.mean(0), noise.mean(0) + mu.var(0, correction=0)


def classification_figures(model: nn.Module, x: Tensor, y: Tensor, samples: int) -> str:
    """Error and negative log likelihood of the predictive mean."""
    p = probabilities(model, x, samples)
    error = (p.argmax(1) != y).double().mean().item()
    nll = -p[torch.arange(len(y)), y].clamp_min(1e-12).log().mean().item()
    return f"error {100 * error:.2f} %, NLL {nll:.3f}"


def entropy(model: nn.Module, x: Tensor, samples: int) -> float:
    """Mean entropy of the predictive mean, in nats."""
    p = probabilities(model, x, samples)
    return float(-(p * p.clamp_min(1e-12).log()).sum(1).mean())


def regression_figures(model: nn.Module, x: Tensor, y: Tensor, samples: int) -> str:
    """Root mean square error and Gaussian NLL with the total variance, standardised units."""
    mu, variance = mean_and_variance(model, x, samples)
    rmse = ((mu - y) ** 2).mean().sqrt().item()
    nll = 0.5 * (torch.log(2 * torch.pi * variance) + (y - mu) ** 2 / variance).mean().item()
    return f"RMSE {rmse:.3f}, NLL {nll:.3f}"
