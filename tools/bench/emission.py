"""The worth of the choices in our ONNX files: onnxruntime on them, and on naive ones.

    python -m tools.bench.emission [--cases lenet_mcd ...] [--batches 1 32] [--seconds 2]

The same integer model is emitted as it is, and with one choice undone at a time. Every mask and
noise is then drawn by nodes of its own, or tables and noise use Gather in place of GatherElements,
or masks use Where in place of multiplications, or residual adds are computed in float32, or large
sampled weights are drawn whole. Then all are undone, and last comes a file of one sample that is
run L times. All but the last are checked to give the same bits. Figures are ratios to our emission,
one thread, contenders in turns.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx_ir

from qbnnc.backends.onnx import elementwise, lower, random_values
from qbnnc.backends.onnx.emission import emit
from qbnnc.backends.onnx.scope import Scope, quant_scalars
from qbnnc.backends.onnx.streams import Stream, groups
from qbnnc.backends.onnx.writer import Writer
from qbnnc.bench.timing import Contender, ratio, take_turns
from qbnnc.ir import format
from qbnnc.ir.graph import Graph, Node
from qbnnc.ir.ops import Select
from qbnnc.loading.artefacts import open_artefact
from qbnnc.loading.sources import CalibrationWarning
from tools.bench.networks import DRAWS, SEED, Files, cases, compile_files, network_of

Undo = Callable[[], AbstractContextManager[object]]
_TO_BOOL = int(onnx_ir.DataType.BOOL)


def apart() -> AbstractContextManager[object]:
    """A stream a group."""

    def each(graph: Graph, samples: int) -> list[list[Stream]]:
        return [[stream] for group in groups(graph, samples) for stream in group]

    return patch.object(random_values, "groups", each)


def gathered() -> AbstractContextManager[object]:
    """Gather, which takes any shape of indices."""
    write = Writer.op

    def op(self: Writer, kind: str, *inputs: onnx_ir.Value, **more: Any) -> onnx_ir.Value:
        return write(self, "Gather" if kind == "GatherElements" else kind, *inputs, **more)

    return patch.object(Writer, "op", op)


def chosen() -> AbstractContextManager[object]:
    """Emit masks as Where(mask, code, zero)."""

    def select(scope: Scope, node: Node, _: Select) -> None:
        writer, name, out = scope.writer, scope.name(node.output), scope.result(node.output)
        (stored, keep), far = scope.aligned(node.inputs, node.output.type.axes)
        zero = writer.constant(quant_scalars(node.inputs[0].type)[1])
        mask = writer.op("Cast", keep, out=f"{name}/mask", to=_TO_BOOL)
        made = writer.op("Where", mask, stored, zero, out=f"{name}/selected" if far else out)
        if far:
            scope.layout.merge(made, node.output.type.shape, out)

    return patch.dict(lower.WRITERS, {Select: select})


def in_float() -> AbstractContextManager[object]:
    """Sum residual adds in float32, between DequantizeLinear and QuantizeLinear."""
    return patch.object(elementwise, "fused_ratios", lambda *_: None)


def whole() -> AbstractContextManager[object]:
    """Draw all samples of all channels of a weight at once."""
    return patch.object(random_values, "parts_of", lambda *_: None)


def together() -> AbstractContextManager[object]:
    stack = ExitStack()
    for undo in UNDONE.values():
        stack.enter_context(undo())
    return stack


UNDONE: dict[str, Undo] = {
    "draws apart": apart,
    "Gather": gathered,
    "Where": chosen,
    "adds in float": in_float,
    "weights whole": whole,
}


def variants(files: Files, folder: Path) -> Iterator[tuple[str, Path]]:
    """Files, ours first; of those undone, the ones that differ."""
    model = format.load(files.qbnn)
    first = emit(model)
    yield "ours", files.onnx
    for name, undo in {**UNDONE, "all of these": together}.items():
        with undo():
            data = emit(model)
        if data != first:
            path = folder / f"{name}.onnx"
            path.write_bytes(data)
            yield name, path
    if model.draws > 1:
        path = folder / "one.onnx"
        path.write_bytes(emit(model, samples=len(model.members)))
        yield "a sample a run", path


def each_alone(one: Callable[[], object]) -> None:
    """Run one sample as many times as a prediction has samples."""
    for _ in range(DRAWS):
        one()


def main() -> None:
    """Print a row for each network and batch."""
    parser = argparse.ArgumentParser(description="What the choices in our ONNX files are worth.")
    names = [case.name for case in cases()]
    parser.add_argument("--cases", nargs="*", default=names[:5], choices=names)
    parser.add_argument("--batches", nargs="*", type=int, default=[1, 32])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each row")
    options = parser.parse_args()
    warnings.simplefilter("ignore", CalibrationWarning)
    for case in cases():
        if case.name not in options.cases:
            continue
        with tempfile.TemporaryDirectory() as folder:
            files = compile_files(network_of(case, Path(folder)), Path(folder), case.name, "w8a7")
            opened = {n: open_artefact(p, 1) for n, p in variants(files, Path(folder))}
            for batch in options.batches if len(opened) > 1 else ():
                x = np.random.default_rng(1).standard_normal((batch, *case.shape))
                x = x.astype(np.float32)
                calls: dict[str, Contender] = {
                    name: partial(artefact.predict, x, seed=SEED)
                    for name, artefact in opened.items()
                }
                if (one := calls.pop("a sample a run", None)) is not None:
                    calls["a sample a run"] = partial(each_alone, one)
                want = opened["ours"].predict(x, seed=SEED)["samples"]
                for name, artefact in opened.items():
                    made = artefact.predict(x, seed=SEED)["samples"]
                    if name != "a sample a run" and made.tobytes() != want.tobytes():
                        raise SystemExit(f"{case.name}, {name}: other samples than ours")
                times = take_turns(calls, options.seconds)
                cells = [f"{n} {ratio(t, times['ours'])}" for n, t in times.items() if n != "ours"]
                print(f"{case.title}, batch {batch}: " + "; ".join(cells), flush=True)


if __name__ == "__main__":
    main()
