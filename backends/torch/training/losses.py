"""Losses of fine-tuning: means over the rows of a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from qbnnc.backends.torch.training.settings import Loss
from qbnnc.ir.head import Head, Task, is_binary
from qbnnc.ir.model import Model
from qbnnc.ir.outputs import MEAN, Spread, role_of
from qbnnc.passes.head.assign_head import with_head
from qbnnc.support.errors import UserError

_LEAST_VARIANCE = 1e-6
_LEAST_SQUARE = 1e-12


def check_loss(loss: Loss, model: Model) -> None:
    """UserError if the network's outputs are not what this loss compares."""
    count = len(model.graph.outputs)
    if loss is Loss.GAUSSIAN_NLL and count != 2:
        raise UserError(
            f"needs two outputs (mu, log variance), and the network has {count}",
            place="`loss` gaussian-nll",
            remedy="if the one holds both, say `output_names='mean,log_var'`",
        )
    if loss is Loss.MSE and count != 1:
        raise UserError(
            f"trains one output, and the network has {count}: the others, such as a log "
            "variance, would drift",
            place="`loss` mse",
            remedy="use gaussian-nll for (mu, log variance), or match",
        )
    if loss is Loss.CROSS_ENTROPY and count != 1:
        raise UserError(
            "needs one output, the logits [classes]",
            place="`loss` cross-entropy",
            remedy="return these alone, or use match",
        )


def task_for(loss: Loss, model: Model) -> Task:
    """The task a loss implies where the model does not say: RAW otherwise."""
    if model.head.task is not Task.RAW:
        return model.head.task
    if loss is Loss.CROSS_ENTROPY or with_head(model, None).head.task is Task.CLASSIFICATION:
        return Task.CLASSIFICATION
    return Task.REGRESSION if loss in (Loss.MSE, Loss.GAUSSIAN_NLL) else Task.RAW


def could_classify(model: Model) -> bool:
    """Whether its one output could be logits, and its task does not say what it is."""
    outputs = model.graph.outputs
    return model.head.task is Task.RAW and len(outputs) == 1 and outputs[0].type.size > 1


def compared_head(model: Model) -> Head:
    """The head by which MATCH compares outputs: two that the names tell are a normal distribution.

    A network of task RAW keeps its task; only the loss reads its outputs so.
    """
    outputs = model.graph.outputs
    if model.head.task is not Task.RAW or len(outputs) != 2:
        return model.head
    mean, spread = (role_of(name) for name in model.head.outputs or [v.name for v in outputs])
    told = mean == MEAN and spread not in (None, MEAN)
    if not told or outputs[0].type.shape != outputs[1].type.shape:
        return model.head
    return Head(Task.REGRESSION, (MEAN, str(spread)))


def loss_title(loss: Loss, head: Head, outputs: int) -> str:
    """The loss in words; for MATCH it depends on the `head` by which outputs are compared."""
    match loss:
        case Loss.CROSS_ENTROPY:
            return "of logits against labels"
        case Loss.MSE:
            return "squared error of the output against targets"
        case Loss.GAUSSIAN_NLL:
            return "of (mu, log variance) against targets"
        case Loss.MATCH if head.task is Task.CLASSIFICATION:
            return "KL divergence of class probabilities from the float network's"
        case Loss.MATCH if _is_normal(head, outputs):
            return "KL divergence of normal distributions from the float network's"
        case Loss.MATCH:
            return "relative squared error of the outputs against the float network's"


def loss_of(loss: Loss, head: Head, outputs: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    """The loss, a scalar. `target` holds labels or targets [B, ...], or for MATCH float outputs.

    For MATCH `head` is the `compared_head`.
    """
    match loss:
        case Loss.CROSS_ENTROPY:
            return F.cross_entropy(class_logits(outputs[0]), target[0])
        case Loss.MSE:
            return F.mse_loss(outputs[0], target[0])
        case Loss.GAUSSIAN_NLL:
            return gaussian_nll(outputs[0], log_variance(outputs[1], head.spread), target[0])
        case Loss.MATCH:
            return distance(head, distribution(head, outputs), distribution(head, target))


def distribution(head: Head, outputs: Sequence[Tensor]) -> list[Tensor]:
    """Give what MATCH compares: log probabilities [B, K, ...], (mean, log variance), or outputs."""
    if head.task is Task.CLASSIFICATION:
        return [F.log_softmax(class_logits(outputs[0]), dim=1)]
    if _is_normal(head, len(outputs)):
        return [outputs[0], log_variance(outputs[1], head.spread)]
    return list(outputs)


def predictive(head: Head, samples: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """The distribution that several samples of it predict together.

    Class probabilities are their mean. A normal distribution has the mean and the variance of the
    mixture. Outputs of another meaning are listed one sample after the other, [S*B, ...].
    """
    made = [torch.stack(parts) for parts in zip(*samples, strict=True)]
    if head.task is Task.CLASSIFICATION:
        return [torch.logsumexp(made[0], dim=0) - math.log(len(samples))]
    if _is_normal(head, len(made)):
        mean, log_variances = made
        variance = mean.var(dim=0, unbiased=False) + log_variances.exp().mean(dim=0)
        return [mean.mean(dim=0), torch.log(variance)]
    return [part.flatten(0, 1) for part in made]


def epistemic_deviation(head: Head, samples: Sequence[Sequence[Tensor]]) -> Tensor:
    """The disagreement of the samples, which are `distribution`s.

    It is the root of the mutual information [B, ...] of classes, and else the standard deviation of
    the first output.
    """
    made = torch.stack([parts[0] for parts in samples])
    if head.task is not Task.CLASSIFICATION:
        return made.std(dim=0, unbiased=False)
    mean = torch.logsumexp(made, dim=0) - math.log(len(samples))
    information = (made.exp() * (made - mean)).sum(dim=2).mean(dim=0)
    return information.clamp(min=0).sqrt()


def distance(head: Head, ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Tensor:
    """The mean distance over the rows of two `distribution`s; `theirs` is the float network's."""
    if head.task is Task.CLASSIFICATION:
        return divergence(ours[0], theirs[0])
    if _is_normal(head, len(ours)):
        return normal_divergence(ours[0], ours[1], theirs[0], theirs[1])
    pairs = zip(ours, theirs, strict=True)
    return torch.stack([relative_error(our, their) for our, their in pairs]).sum()


def _is_normal(head: Head, outputs: int) -> bool:
    return head.task is Task.REGRESSION and outputs == 2


def relative_error(ours: Tensor, theirs: Tensor) -> Tensor:
    """The mean squared error in units of the mean square of `theirs`."""
    return F.mse_loss(ours, theirs) / theirs.square().mean().clamp(min=_LEAST_SQUARE)


def class_logits(logits: Tensor) -> Tensor:
    """Logits of classes [B, K, *map], which are (0, z) for one logit z a row or pixel."""
    if not is_binary(tuple(logits.shape[1:])):
        return logits
    z = logits.reshape(len(logits), 1, *logits.shape[2:])
    return torch.cat([torch.zeros_like(z), z], dim=1)


def log_variance(x: Tensor, spread: Spread) -> Tensor:
    """The log variance that each number of a second output stands for.

    A variance that codes have rounded to 0 counts as 1e-6, as in torch's GaussianNLLLoss.
    """
    match spread:
        case Spread.LOG_VARIANCE:
            return x
        case Spread.VARIANCE:
            return torch.log(x.clamp(min=_LEAST_VARIANCE))
        case Spread.STD:
            return torch.log((x * x).clamp(min=_LEAST_VARIANCE))
        case Spread.LOG_STD:
            return 2 * x


def gaussian_nll(mean: Tensor, log_variance: Tensor, target: Tensor) -> Tensor:
    """Equation (3) of the paper, without its constant."""
    error = (target - mean) ** 2 * torch.exp(-log_variance)
    return 0.5 * (log_variance + error).mean()


def normal_divergence(
    mean: Tensor, log_variance: Tensor, target_mean: Tensor, target_log_variance: Tensor
) -> Tensor:
    """KL(target || ours) in nats of normal distributions, a mean over all elements."""
    excess = target_log_variance - log_variance
    error = (target_mean - mean) ** 2 * torch.exp(-log_variance)
    return 0.5 * (torch.exp(excess) - 1 - excess + error).mean()


def divergence(logits: Tensor, target: Tensor) -> Tensor:
    """KL(p_target || p) in nats, classes on axis 1; a mean over the rows and any other axes."""
    log_p, log_target = F.log_softmax(logits, dim=1), F.log_softmax(target, dim=1)
    return F.kl_div(log_p, log_target, reduction="none", log_target=True).sum(dim=1).mean()
