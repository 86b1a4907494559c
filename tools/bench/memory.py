"""Memory and time of loading and compiling VGG16 with random weights, for 224x224 images.

    python -m tools.bench.memory [load | compile]

Each is done in a process of its own. Peaks are those of the resident set, as the system counts
them, and what importing takes is told apart. `load`: an INTEGER file of 138 million random int8
weights, made here, is read, checked and planned. `compile`: a FLOAT model of the same shapes.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from qbnnc.ir import format
from qbnnc.ir.arithmetic import f32
from qbnnc.ir.graph import Builder, Value
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import (
    Clamp,
    Conv2d,
    Conv2dInteger,
    Dequantize,
    Linear,
    LinearInteger,
    MaxPool2d,
    Op,
    QuantizeInput,
    Requantize,
    Reshape,
)
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.scales import multiplier
from qbnnc.ir.types import PER_ROW, DType, QuantParams, Stage, TensorType
from qbnnc.support.errors import Loc

_CONVOLUTIONS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
_FEATURES = (4096, 4096, 1000)
_IMAGE = (3, 224, 224)
_PADDING = (1, 1, 1, 1)
_CODES = QuantParams((f32(0.03),), (0,), 0, 127)
_ROWS = 4  # to calibrate on
_MIB = 1 << 20


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("load", "compile"), nargs="?", default="load")
    parser.add_argument("--make", type=Path, help="write the file, and nothing else")
    parser.add_argument("--measure", type=Path, help="measure this file here")
    given = parser.parse_args(arguments)
    if given.make is not None:
        format.save(integer_vgg16() if given.what == "load" else float_vgg16(), given.make)
    elif given.measure is not None:
        _measure(given.what, given.measure)
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "vgg16.qbnn")
            for step in ("--make", "--measure"):  # a child's peak is never below its parent's
                command = [sys.executable, "-m", "tools.bench.memory", given.what, step, path]
                subprocess.run(command, check=True)


def _measure(what: str, path: Path) -> None:
    import qbnnc.runtime
    from qbnnc.runtime.cache import kernels

    kernels()  # compiling them is another measurement
    before, size, start = _peak(), path.stat().st_size / _MIB, time.perf_counter()
    if what == "load":
        model = format.load(path)
        _tell("read and checked", before, size, start)
        qbnnc.runtime.load(model)
        _tell("planned", before, size, start)
        return
    from qbnnc.passes.pipeline import Options, quantise_model
    from qbnnc.passes.ranges.calibrate import Calibration

    model = format.load(path)
    rows = np.random.default_rng(0).normal(0, 1, (_ROWS, *_IMAGE)).astype(np.float32)
    quantise_model(model, rows, Options(calibration=Calibration(passes=1)))
    _tell("compiled", before, size, start)


def _tell(done: str, before: float, size: float, start: float) -> None:
    peak, seconds = _peak() - before, time.perf_counter() - start
    print(
        f"{done}: {peak:.0f} MiB above the import's {before:.0f}, {peak / size:.2f} times the "
        f"file's {size:.0f} MiB, {seconds:.1f} s"
    )


def _peak() -> float:
    """The largest resident set so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class _Net:
    """VGG16, layer by layer."""

    def __init__(self, stage: Stage) -> None:
        self.build, self.rng, self.stage = Builder(), np.random.default_rng(0), stage
        self.value = self.build.input("input", TensorType(DType.F32, _IMAGE, PER_ROW))

    def emit(self, op: Op, name: str, *more: Value) -> None:
        self.value = self.build.emit(op, self.value, *more, loc=Loc(name), name=name)

    def layer(self, name: str, shape: tuple[int, ...], *, last: bool = False) -> None:
        """A convolution or linear layer and its ReLU."""
        if self.stage is Stage.FLOAT:
            self._float_layer(name, shape, last=last)
        else:
            self._integer_layer(name, shape, last=last)

    def _float_layer(self, name: str, shape: tuple[int, ...], *, last: bool) -> None:
        spread = np.float32((2 / np.prod(shape[1:])) ** 0.5)
        array = self.rng.standard_normal(shape, np.float32) * spread
        weight = self.build.constant(f"{name}.weight", array)
        bias = self.build.constant(f"{name}.bias", np.zeros(shape[0], np.float32))
        op = Linear() if len(shape) == 2 else Conv2d(padding=_PADDING)
        self.emit(op, name, weight, bias)
        if not last:
            self.emit(Clamp(0.0, None), f"{name}.relu")

    def _integer_layer(self, name: str, shape: tuple[int, ...], *, last: bool) -> None:
        quant = QuantParams((f32(0.001),) * shape[0], (0,) * shape[0], -127, 127, 0)
        array = self.rng.integers(-127, 128, shape, np.int8)
        weight = self.build.constant(f"{name}.weight", array, quant)
        bias = self.build.constant(f"{name}.bias", np.zeros(shape[0], np.int32))
        op = LinearInteger() if len(shape) == 2 else Conv2dInteger(padding=_PADDING)
        self.emit(op, name, weight, bias)
        if last:
            self.emit(Dequantize(), "output")
            return
        factor = multiplier(codes_of(self.value.type).scale, 0.03)
        factor = factor.reshape(-1, *[1] * (len(self.value.type.shape) - 1))
        self.emit(
            Requantize(_CODES, 0, 127), f"{name}.relu", self.build.constant(f"{name}.m", factor)
        )

    def model(self) -> Model:
        """The whole network."""
        if self.stage is Stage.INTEGER:
            self.emit(QuantizeInput((0.0,), _CODES.scale, _CODES, 0, 127), "input.codes")
        for number, filters in enumerate(_CONVOLUTIONS):
            if filters:
                self.layer(f"conv{number}", (filters, self.value.type.shape[0], 3, 3))
            else:
                self.emit(MaxPool2d((2, 2), (2, 2)), f"pool{number}")
        self.emit(Reshape((self.value.type.size,)), "flatten")
        for number, features in enumerate(_FEATURES):
            shape = features, self.value.type.shape[0]
            self.layer(f"fc{number}", shape, last=number == len(_FEATURES) - 1)
        graph = self.build.graph((self.value,), self.stage)
        return Model((graph,), Head(Task.CLASSIFICATION))


def integer_vgg16() -> Model:
    """138 million int8 weights."""
    return _Net(Stage.INTEGER).model()


def float_vgg16() -> Model:
    """The same shapes in float32."""
    return _Net(Stage.FLOAT).model()


if __name__ == "__main__":
    main()
