"""INTEGER models as ONNX files that onnxruntime runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qbnnc.ir.model import Model


def emit(
    model: Model,
    *,
    samples: int | None = None,
    embedded_model: bool = True,
    batch: int | None = None,
    inline: bool = False,
    row_ids: bool = False,
    default_seed: int | None = None,
) -> bytes:
    """The ONNX file of a model: `qbnnc.backends.onnx.emission.emit`.

    It is imported by the call, as running a file needs neither onnx_ir nor onnxscript.
    """
    from qbnnc.backends.onnx import emission

    return emission.emit(
        model,
        samples=samples,
        embedded_model=embedded_model,
        batch=batch,
        inline=inline,
        row_ids=row_ids,
        default_seed=default_seed,
    )
