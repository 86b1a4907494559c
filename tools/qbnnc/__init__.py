"""qbnnc: trained Bayesian neural networks as integer programs, with their uncertainty intact.

    import qbnnc
    qbnnc.save(module, "model.pt", example_inputs, calibration=x)
    qbnnc.compile("model.pt", ["model.onnx", "model.qbnn"], bits="w8a7")

    from qbnnc.runtime import load
    prediction = load("model.qbnn").predict(x, samples=20, seed=0)

Nothing heavy is imported before it is needed: `qbnnc.runtime` needs neither torch nor onnx.
"""

import logging
from typing import TYPE_CHECKING

from qbnnc.api import compile, save
from qbnnc.evaluation.files import evaluate_files as evaluate
from qbnnc.qat import finetune, prepare_qat
from qbnnc.verification.source import verify
from qbnnc.version import __version__

if TYPE_CHECKING:
    from qbnnc.backends.torch.training import Training

__all__ = [
    "Training",
    "__version__",
    "compile",
    "evaluate",
    "finetune",
    "prepare_qat",
    "save",
    "verify",
]

logging.getLogger("qbnnc").addHandler(logging.NullHandler())


def __getattr__(name: str) -> object:
    """Give `Training`, the settings of `finetune`, which need torch, when it is asked for."""
    if name == "Training":
        from qbnnc.backends.torch.training import Training

        return Training
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
