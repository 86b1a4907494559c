"""The engines that take turns on one network, each on one thread with the least work around it.

Two kinds of prediction are compared, like with like:

- SAMPLES: the samples alone, in buffers of the caller: `Session.predict_into`, and onnxruntime and
  OpenVINO with bound inputs and outputs. The file that onnxruntime runs has no statistics.
- STATISTICS: samples and statistics from Python: `predict` of both runtimes, and PyTorch.

Two engines only bound others: they run the network with fixed weights and no masks on L * B rows,
onnxruntime in float32 and OpenVINO in float32 and int8. OpenVINO does not run our files: it refuses
the optional value that their seed passes through. Without it, all samples would be equal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from qbnnc.backends.onnx.engine import open_session
from qbnnc.bench.baselines import COMPILED, EAGER, FloatNetwork
from qbnnc.bench.timing import Contender
from qbnnc.ir.types import PER_SAMPLE, Array
from qbnnc.loading.artefacts import open_artefact
from qbnnc.runtime import load
from tools.bench.networks import SEED, Files
from tools.bench.openvino import compiled_by_openvino

SAMPLES, STATISTICS = "qbnnc predict_into", "qbnnc predict"
BOUND, WRAPPED = "onnxruntime int8, bound", "onnxruntime int8, predict"
FLOAT = "onnxruntime float32, fixed weights"
OPENVINO_INT8, OPENVINO_FLOAT = "OpenVINO int8, fixed weights", "OpenVINO float32, fixed weights"
STACKED = "torch eager, rows stacked"
# Each contender by what it is compared with, in the order of the columns.
COMPARED = {
    BOUND: SAMPLES,
    FLOAT: SAMPLES,
    OPENVINO_INT8: SAMPLES,
    OPENVINO_FLOAT: SAMPLES,
    WRAPPED: STATISTICS,
    EAGER: STATISTICS,
    STACKED: STATISTICS,
    COMPILED: STATISTICS,
}


@dataclass(frozen=True, slots=True)
class Field:
    """The contenders that work here, by name, and why the others do not."""

    calls: dict[str, Contender]
    reasons: dict[str, str]


def field_of(network: FloatNetwork, files: Files, x: Array, *, quick: bool) -> Field:
    """Prepare all contenders on x [B, *shape]; stop if the two runtimes differ in a bit.

    `quick` leaves out torch.compile.
    """
    ours, theirs = load(files.qbnn, 1), open_artefact(files.onnx, 1)
    out = ours.new_out(len(x))
    bound, made = _bound(_samples_alone(files.onnx), x)
    calls: dict[str, Contender] = {
        SAMPLES: lambda: ours.predict_into(x, out, SEED),
        STATISTICS: lambda: list(ours.predict(x, seed=SEED).values()),
        BOUND: bound,
        WRAPPED: lambda: list(theirs.predict(x, seed=SEED).values()),
    }
    calls[SAMPLES](), calls[BOUND]()
    views = ours.outputs_in(out, len(x))
    for name, samples in views.items():
        if not np.array_equal(samples.view(np.uint32), made[name].view(np.uint32)):
            raise SystemExit("the two runtimes differ")
    rows, reasons = network.stacked(x), dict[str, str]()
    rivals = network.rivals(x, 1, without=(COMPILED,) if quick else ())
    calls |= {name: call for name, call in rivals.calls.items() if name in COMPARED}
    makers: dict[str, Callable[[], Contender]] = {
        FLOAT: lambda: _bound(network.fixed(rows), rows)[0],
        OPENVINO_INT8: lambda: compiled_by_openvino(files.fixed.read_bytes(), rows),
        OPENVINO_FLOAT: lambda: compiled_by_openvino(network.fixed(rows), rows),
        STACKED: lambda: _stacked(network, x),
    }
    for name, make in makers.items():
        try:
            calls[name] = make()
        except Exception as error:  # whatever the engines raise: the table has a gap then
            reasons[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"
    return Field(calls, reasons | rivals.reasons)


def _samples_alone(path: Path) -> bytes:
    """The file without statistics, which predictions into buffers do not compute either."""
    proto = onnx.load_model(path)
    kept = [output for output in proto.graph.output if output.name.startswith("samples")]
    del proto.graph.output[:]
    proto.graph.output.extend(kept)
    return bytes(proto.SerializeToString())


def _bound(data: bytes, x: Array) -> tuple[Contender, Mapping[str, Array]]:
    """A raw run of onnxruntime with bound inputs and outputs, and the arrays of the outputs."""
    import onnxruntime

    session = open_session(data, "the bound network", 1)
    numbers: dict[str, Array] = {"seed": np.array(SEED, np.int64), "first_row": np.array(0)}
    feed = {given.name: numbers.get(given.name, x) for given in session.get_inputs()}
    binding = session.io_binding()
    for name, array in feed.items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
    names = [output.name for output in session.get_outputs()]
    made: dict[str, Array] = {}
    for name, array in zip(names, session.run(names, feed), strict=True):
        made[name] = np.zeros_like(array)
        value = onnxruntime.OrtValue.ortvalue_from_numpy(made[name])
        binding.bind_ortvalue_output(name, value)
    return lambda: session.run_with_iobinding(binding), made


def _stacked(network: FloatNetwork, x: Array) -> Contender:
    """One pass of PyTorch over the rows of all samples, where each row draws for itself."""
    if len(network.model.members) > 1:
        raise ValueError("each member is a pass of its own")
    if any(n.output.type.axes == PER_SAMPLE for n in network.model.graph.nodes):
        raise ValueError("rows of a pass share its weights or masks")
    rows = torch.from_numpy(network.stacked(x))
    module, passes = network.module(network.stacked(x)), network.passes

    def call() -> object:
        with torch.inference_mode():
            found: Any = module(rows)
            samples = [output.reshape(passes, len(x), *output.shape[1:]) for output in found]
            return [(each.mean(0), each.var(0, correction=0)) for each in samples]

    call()
    return call
