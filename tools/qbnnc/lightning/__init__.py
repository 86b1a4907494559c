"""Compile a network when Lightning has trained it: `lightning.pytorch` or `pytorch_lightning`.

from qbnnc.lightning import CompileAfterFit

callback = CompileAfterFit(["model.onnx", "model.qbnn"], calibration=x, weights="best")
Trainer(max_epochs=10, callbacks=[callback]).fit(module, loader)
"""

from qbnnc.support.extras import require

require("torch", "onnx", what="qbnnc.lightning")

from qbnnc.lightning.callback import CompileAfterFit  # noqa: E402

__all__ = ["CompileAfterFit"]
