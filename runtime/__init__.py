"""Run compiled models: `load("model.qbnn").predict(x)`. This needs no compiler and no PyTorch."""

from qbnnc.runtime.prediction import Prediction
from qbnnc.runtime.session import Session, load

__all__ = ["Prediction", "Session", "load"]
