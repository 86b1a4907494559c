"""Losses of fine-tuning: means over the rows of a batch, of one Monte-Carlo sample."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from qbnnc.backends.torch.training.settings import Loss
from qbnnc.ir.head import Head, Task, is_binary
from qbnnc.ir.model import Model
from qbnnc.ir.outputs import Spread
from qbnnc.passes.head.assign_head import with_head
from qbnnc.support.errors import UserError

_LEAST_VARIANCE = 1e-6


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


def loss_title(loss: Loss, task: Task) -> str:
    """The loss in words; for MATCH it depends on the task."""
    match loss:
        case Loss.CROSS_ENTROPY:
            return "of logits against labels"
        case Loss.MSE:
            return "squared error of the output against targets"
        case Loss.GAUSSIAN_NLL:
            return "of (mu, log variance) against targets"
        case Loss.MATCH if task is Task.CLASSIFICATION:
            return "KL divergence of class probabilities from the float network's"
        case Loss.MATCH:
            return "squared error of the outputs against the float network's"


def loss_of(loss: Loss, head: Head, outputs: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    """The loss, a scalar. `target` holds labels or targets [B, ...], or for MATCH float outputs."""
    match loss:
        case Loss.CROSS_ENTROPY:
            return F.cross_entropy(class_logits(outputs[0]), target[0])
        case Loss.MSE:
            return F.mse_loss(outputs[0], target[0])
        case Loss.GAUSSIAN_NLL:
            return gaussian_nll(outputs[0], log_variance(outputs[1], head.spread), target[0])
        case Loss.MATCH if head.task is Task.CLASSIFICATION:
            return divergence(class_logits(outputs[0]), class_logits(target[0]))
        case Loss.MATCH:
            pairs = zip(outputs, target, strict=True)
            return torch.stack([F.mse_loss(ours, theirs) for ours, theirs in pairs]).sum()


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


def divergence(logits: Tensor, target: Tensor) -> Tensor:
    """KL(p_target || p) in nats, classes on axis 1; a mean over the rows and any other axes."""
    log_p, log_target = F.log_softmax(logits, dim=1), F.log_softmax(target, dim=1)
    return F.kl_div(log_p, log_target, reduction="none", log_target=True).sum(dim=1).mean()
