"""Fine-tuning with simulated quantisation (Algorithm 1): a FLOAT Model to a SIMULATED one."""

from qbnnc.backends.torch.training.loop import Diverged
from qbnnc.backends.torch.training.settings import Loss, Progress, Training
from qbnnc.backends.torch.training.tune import FineTuning, finetune

__all__ = ["Diverged", "FineTuning", "Loss", "Progress", "Training", "finetune"]
