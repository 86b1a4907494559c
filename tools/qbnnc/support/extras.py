"""The extras of the distribution: what is missing for a task, and how to install it."""

from __future__ import annotations

from importlib.util import find_spec

from qbnnc.support.errors import UserError

_EXTRAS = {
    "onnx": frozenset({"onnxruntime"}),
    "sklearn": frozenset({"sklearn"}),
    "tables": frozenset({"pandas", "pyarrow"}),
    "zarr": frozenset({"zarr"}),
    "distributed": frozenset({"distributed"}),
    "plots": frozenset({"matplotlib"}),
    "compile": frozenset({"torch", "onnx", "onnx_ir", "onnxscript", "onnxruntime"}),
}


def require(*modules: str, what: str) -> None:
    """UserError, with the smallest extra that has them, unless all these modules are installed."""
    missing = [m for m in modules if find_spec(m) is None]
    if missing:
        extra = next(name for name, has in _EXTRAS.items() if has.issuperset(missing))
        raise UserError(
            f"{what} needs {', '.join(missing)}",
            remedy=f"install it with pip install 'qbnnc[{extra}]'",
        )
