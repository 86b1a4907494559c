"""Run compiled models: `load("model.qbnn").predict(x)`. This needs no compiler and no PyTorch."""

from qbnnc.runtime.kernels.records import Status
from qbnnc.runtime.native_call import NativeCall
from qbnnc.runtime.prediction import Prediction
from qbnnc.runtime.session import Session, load

__all__ = ["NativeCall", "Prediction", "Session", "Status", "load"]
