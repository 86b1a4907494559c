"""Fine-tuning with simulated quantisation (Algorithm 1): a FLOAT Model to a SIMULATED one."""

from qbnnc.finetuning.member import Diverged
from qbnnc.finetuning.settings import Loss, Progress, Training
from qbnnc.finetuning.tune import FineTuning, finetune

__all__ = ["Diverged", "FineTuning", "Loss", "Progress", "Training", "finetune"]
