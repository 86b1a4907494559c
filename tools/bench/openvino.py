"""OpenVINO, where it is installed: networks of which nothing is drawn, on one thread."""

from __future__ import annotations

import importlib
from io import BytesIO
from typing import Any

import numpy as np

from qbnnc.bench.timing import Contender
from qbnnc.ir.types import Array


def compiled_by_openvino(data: bytes, rows: Array) -> Contender:
    """Compile an ONNX file for these rows, with bound inputs; ImportError if it is not installed.

    Weights and activations in int8 stay so, and float32 stays float32: nothing becomes bfloat16.
    """
    ov: Any = importlib.import_module("openvino")
    core = ov.Core()
    model = core.read_model(BytesIO(data))
    numbers: dict[str, Array] = {"seed": np.array(0, np.int64), "first_row": np.array(0)}
    feed = {port.get_any_name(): numbers.get(port.get_any_name(), rows) for port in model.inputs}
    model.reshape({name: list(array.shape) for name, array in feed.items()})
    settings = {
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    for name, array in feed.items():
        request.set_tensor(name, ov.Tensor(array, shared_memory=True))
    call: Contender = request.infer
    call()
    return call
