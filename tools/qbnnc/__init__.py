"""qbnnc: trained Bayesian neural networks as integer programs, with their uncertainty intact.

    import qbnnc
    qbnnc.save(module, "model.pt", example_inputs, calibration=x)
    qbnnc.compile("model.pt", ["model.onnx", "model.qbnn"], bits="w8a7")

    from qbnnc.runtime import load
    prediction = load("model.qbnn").predict(x, samples=20, seed=0)

Nothing is imported before it is needed: `qbnnc.runtime` needs no compiler, no torch and no onnx.
"""

import logging
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from qbnnc.version import __version__

if TYPE_CHECKING:
    from qbnnc.api import compile, save
    from qbnnc.backends.torch.training import Training
    from qbnnc.batches.predict_file import predict_file
    from qbnnc.evaluation.files import evaluate_files as evaluate
    from qbnnc.qat import finetune, prepare_qat
    from qbnnc.verification.source import verify

__all__ = [
    "Training",
    "__version__",
    "compile",
    "evaluate",
    "finetune",
    "predict_file",
    "prepare_qat",
    "save",
    "verify",
]

_PLACES = {
    "Training": ("qbnnc.backends.torch.training", "Training"),
    "compile": ("qbnnc.api", "compile"),
    "evaluate": ("qbnnc.evaluation.files", "evaluate_files"),
    "finetune": ("qbnnc.qat", "finetune"),
    "predict_file": ("qbnnc.batches.predict_file", "predict_file"),
    "prepare_qat": ("qbnnc.qat", "prepare_qat"),
    "save": ("qbnnc.api", "save"),
    "verify": ("qbnnc.verification.source", "verify"),
}

logging.getLogger("qbnnc").addHandler(logging.NullHandler())


def __getattr__(name: str) -> object:
    """Import a public name, or a module of the package, when it is first asked for."""
    if name in _PLACES:
        module, attribute = _PLACES[name]
        value: object = getattr(import_module(module), attribute)
        globals()[name] = value
        return value
    if not name.startswith("_") and find_spec(f"qbnnc.{name}") is not None:
        return import_module(f"qbnnc.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "runtime"])
