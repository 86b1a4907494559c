"""`pip install qbnnc` is the runtime, `qbnnc[compile]` the compiler: say so when it is missing."""

from __future__ import annotations

from importlib.util import find_spec

from qbnnc.support.errors import UserError

_COMPILER = ("torch", "onnx", "onnx_ir", "onnxscript", "onnxruntime")


def require(*modules: str, what: str) -> None:
    """UserError unless every module of the compiler's extra that `what` needs is installed."""
    missing = [m for m in modules if find_spec(m) is None]
    if missing:
        assert set(missing) <= set(_COMPILER)
        raise UserError(
            f"{what} needs {', '.join(missing)}",
            remedy="install the compiler with pip install 'qbnnc[compile]'",
        )
