"""Wrappers of libraries that are no posterior themselves: the error names what is inside."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from dataclasses import dataclass

from torch import nn

from qbnnc.frontend.objects.structure import class_names, libraries, name_of
from qbnnc.support.errors import CompileError


@dataclass(frozen=True, slots=True)
class _Wrapper:
    """The attribute `holds` of a class, and why the class itself is not compiled."""

    holds: str
    why: str
    members: bool = False


_AVERAGED = "averages its members, and an average has lost their spread"
_JOINED = "joins the predictions of its members along the batch"
_TRAINER = "trains and calls the network that it holds"
_KINDS: Mapping[tuple[str, str], _Wrapper] = {
    ("torchensemble", "BaseModule"): _Wrapper("estimators_", _AVERAGED, members=True),
    ("torch_uncertainty", "_DeepEnsembles"): _Wrapper("core_models", _JOINED, members=True),
    ("torch_uncertainty", "CheckpointCollector"): _Wrapper("saved_models", _JOINED, members=True),
    ("torch_uncertainty", "MCDropout"): _Wrapper("core_model", "draws its samples itself"),
    ("torch_uncertainty", "_MCDropout"): _Wrapper("core_model", "draws its samples itself"),
    ("torch_uncertainty", "StochasticModel"): _Wrapper("core_model", "draws its samples itself"),
    ("torch_uncertainty", "ClassificationRoutine"): _Wrapper("model", _TRAINER),
    ("torch_uncertainty", "RegressionRoutine"): _Wrapper("model", _TRAINER),
    ("baal", "ModelWrapper"): _Wrapper("model", _TRAINER),
    ("baal", "BaalTrainer"): _Wrapper("model", _TRAINER),
}
_SUMS = ("GradientBoostingClassifier", "GradientBoostingRegressor", "_BaseGradientBoosting")


def check_wrapper(value: object) -> None:
    """Raise CompileError for a wrapper, or a layer of vbll; the remedy says what compiles."""
    names, of = class_names(value), libraries(value)
    for (library, name), wrapper in _KINDS.items():
        if library in of and name in names and not set(_SUMS) & set(names):
            _refuse(value, wrapper)
    layers = value.named_modules() if isinstance(value, nn.Module) else ()
    for path, layer in layers:
        if "vbll" in libraries(layer):
            raise CompileError(
                "is a layer of vbll, which returns a distribution that it computes in closed form, "
                "and no sample",
                path or name_of(layer),
                remedy="put a layer in its place that draws the weights, W_mean + exp(W_logdiag / "
                "2) * torch.randn_like(W_mean), or compile the network before it",
            )


def _refuse(value: object, wrapper: _Wrapper) -> None:
    inside = f".{wrapper.holds}"
    held = getattr(value, wrapper.holds, None)
    if wrapper.members:
        count = f" ({len(held)})" if isinstance(held, Sized) else ""
        remedy = f"compile its members{count}: qbnnc.compile(list(ensemble{inside}), ...)"
    else:
        remedy = f"compile {inside} instead"
    raise CompileError(wrapper.why, name_of(value), remedy=remedy)
