"""An INTEGER Model as an ONNX file."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir

from qbnnc.backends.onnx.content_digest import KEY, content_digest
from qbnnc.backends.onnx.head import write_statistics
from qbnnc.backends.onnx.interface import Inputs, inputs_of
from qbnnc.backends.onnx.layout import Layout
from qbnnc.backends.onnx.lower import write_nodes
from qbnnc.backends.onnx.metadata import compiler_version, description, properties
from qbnnc.backends.onnx.moves import separate_reshapes
from qbnnc.backends.onnx.names import (
    PRODUCER,
    RNG_CHECK,
    ROW_IDS,
    interface_names,
    member_prefix,
    value_names,
)
from qbnnc.backends.onnx.random_values import write_random_values
from qbnnc.backends.onnx.scope import Scope, Twin
from qbnnc.backends.onnx.streams import Counters, counters, write_check
from qbnnc.backends.onnx.writer import Writer
from qbnnc.ir.format import shared_tensors
from qbnnc.ir.graph import Value
from qbnnc.ir.model import Model
from qbnnc.ir.sharing import shared_values
from qbnnc.ir.types import PER_ROW_AND_SAMPLE, DType, Stage
from qbnnc.support import limits
from qbnnc.support.errors import CompileError, UserError
from qbnnc.support.inputs import MOST_ROWS_AT_ONCE, as_count, as_integer

OPSET, IR_VERSION = 21, 10


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
    """The ONNX file of an INTEGER model with `samples` Monte-Carlo samples (the model's own by
    default). The same bytes for the same model and version of qbnnc.

    Inputs: `input` f32 [batch, *shape], or several by the user's names; `seed` and `first_row` i64
    scalars. Outputs: the samples [L, batch, ...] and the statistics [batch, ...] of the model's
    head, all f32. Values that do not depend on samples are computed once. The batch is repeated at
    the first mask or sampled weight. Masks and noise are drawn by a few large calls
    (docs/semantics.md, section 5). A file without the `embedded_model` can only be run, or verified
    beside its .qbnn. With `batch` the file takes exactly so many rows, and every shape is known. An
    `inline` file is for engines other than onnxruntime (docs/how-to/engines.md); where it draws, it
    has the output `rng_check` i32 [4]. With `row_ids` the file has the input `row_ids` i64 [batch]
    in place of `first_row`. With a `default_seed` callers may leave `seed` and `first_row` out
    (docs/how-to/serving.md).
    Raises UserError for a number of samples the model cannot give, CompileError for what has no
    ONNX form.
    """
    if model.stage is not Stage.INTEGER:
        raise CompileError(f"is at stage {model.stage.name}, not INTEGER", "the model")
    count = model.samples if samples is None else samples
    draws = _draws(model, count)
    rows = None if batch is None else as_count(batch, "batch", MOST_ROWS_AT_ONCE)
    seed = None if default_seed is None else as_integer(default_seed, "default_seed")
    interface = interface_names(model, inline=inline, row_ids=row_ids)
    writer = Writer(_reserved(model, interface), inline=inline)
    inputs = inputs_of(model, rows, row_ids=row_ids, default_seed=seed)
    writer.initializers += inputs.defaults
    outputs = _write_graph(model, writer, interface, inputs, draws, rows)
    metadata = properties(
        model, count, with_model=embedded_model, row_ids=row_ids, default_seed=seed
    )
    proto = onnx_ir.to_proto(_onnx_model(model, writer, inputs, outputs, count, metadata))
    onnx.checker.check_model(proto, full_check=True)
    digest = content_digest(proto.SerializeToString(deterministic=True))
    proto.metadata_props.add(key=KEY, value=digest)
    return bytes(proto.SerializeToString(deterministic=True))


def _draws(model: Model, samples: int) -> range:
    try:
        draws = model.draws_for(
            as_count(samples, "samples", limits.DRAWS.most * len(model.members))
        )
    except ValueError:
        raise UserError(
            f"{samples} samples cannot be shared among {len(model.members)} members",
            remedy="give a positive multiple",
        ) from None
    if len(draws) > 1 and not model.stochastic:
        raise UserError(
            f"nothing is random in this model: it gives {len(model.members)} samples, not "
            f"{samples}",
            remedy="leave `samples` out",
        )
    return draws


def _reserved(model: Model, interface: tuple[str, ...]) -> list[str]:
    names = list(interface)
    for number, graph in enumerate(model.members):
        names += value_names(graph, member_prefix(number, len(model.members)), interface)
    return names


def _write_graph(
    model: Model,
    writer: Writer,
    interface: tuple[str, ...],
    inputs: Inputs,
    draws: range,
    batch: int | None,
) -> list[onnx_ir.Value]:
    """The nodes of all members, the samples, the statistics; returns the outputs."""
    layout = Layout(writer, len(draws), _rows(writer, inputs.x[0], batch))
    random = counters(layout, inputs, model.graph) if model.stochastic else None
    made = []
    for scope in _scopes(model, layout, interface, inputs):
        if random is not None:
            write_random_values(scope, random, model.sample_numbers(scope.number, draws))
        write_nodes(scope)
        made.append([_samples(scope, value) for value in scope.graph.outputs])
    samples = _joined(model, layout, made)
    statistics = _statistics(model, batch)
    write_statistics(writer, model.head, samples, statistics)
    return [*samples, *statistics, *_check(writer, random)]


def _rows(writer: Writer, x: onnx_ir.Value, batch: int | None) -> onnx_ir.Value | int:
    """The number of rows: the `batch`, or i64 [1]."""
    if batch is not None:
        return batch
    return writer.op("Shape", x, out="layout/rows", start=0, end=1)


def _check(writer: Writer, random: Counters | None) -> list[onnx_ir.Value]:
    """The output `rng_check` of an inline file that draws."""
    if random is None or not writer.inline:
        return []
    out = onnx_ir.val(RNG_CHECK, onnx_ir.DataType.INT32, [4])
    write_check(writer, random, out)
    return [out]


def _scopes(
    model: Model, layout: Layout, interface: tuple[str, ...], inputs: Inputs
) -> list[Scope]:
    """A scope for each member, which knows the values that earlier ones write."""
    members, scopes = tuple(map(separate_reshapes, model.members)), list[Scope]()
    owners = _owners(model)
    for number, (graph, shared) in enumerate(zip(members, shared_values(members), strict=True)):
        twins = {mine: Twin(scopes[owner], value) for mine, (owner, value) in shared.items()}
        prefix, known = member_prefix(number, len(members)), inputs.by_value(graph)
        scopes.append(Scope(graph, layout, prefix, interface, known, number, twins, owners[number]))
    return scopes


def _owners(model: Model) -> list[dict[str, tuple[str, str]]]:
    """For each member, the constants that equal an earlier one: its member's prefix, its name."""
    owners: list[dict[str, tuple[str, str]]] = [{} for _ in model.members]
    for name, owner in shared_tensors(model).items():
        (member, mine), (other, its) = name.split("/", 1), owner.split("/", 1)
        owners[int(member)][mine] = member_prefix(int(other), len(model.members)), its
    return owners


def _samples(scope: Scope, value: Value) -> onnx_ir.Value:
    """One member's samples of one output, ready to be joined: [L, 1, B, *shape]."""
    if value.type.dtype is not DType.F32:
        raise CompileError("the output is codes", value.name, remedy="dequantise it")
    stored = scope.operand(value, PER_ROW_AND_SAMPLE)
    shape = scope.writer.ints(scope.layout.samples, 1, -1, *value.type.shape)
    return scope.writer.op("Reshape", stored, shape, out=f"{scope.name(value)}/samples")


def _joined(model: Model, layout: Layout, made: list[list[onnx_ir.Value]]) -> list[onnx_ir.Value]:
    """The samples of all members, s = draw*M + member: [L, B, *shape]."""
    joined, names = [], model.head.sample_names(len(model.graph.outputs))
    writer, samples = layout.writer, layout.samples * len(model.members)
    rows = layout.rows if isinstance(layout.rows, int) else "batch"
    for name, value, parts in zip(names, model.graph.outputs, zip(*made, strict=True), strict=True):
        every = parts[0]
        if len(parts) > 1:
            every = writer.op("Concat", *parts, out=f"{name}/members", axis=1)
        out = onnx_ir.val(name, onnx_ir.DataType.FLOAT, [samples, rows, *value.type.shape])
        shape = writer.ints(samples, -1, *value.type.shape)
        joined.append(writer.op("Reshape", every, shape, out=out))
    return joined


def _statistics(model: Model, batch: int | None) -> list[onnx_ir.Value]:
    """The statistics' values, with the shapes the head gives them."""
    zeros = tuple(np.zeros((1, 1, *v.type.shape), np.float32) for v in model.graph.outputs)
    return [
        onnx_ir.val(name, onnx_ir.DataType.FLOAT, [batch or "batch", *array.shape[1:]])
        for name, array in model.head.evaluate(zeros).items()
    ]


def _onnx_model(
    model: Model,
    writer: Writer,
    inputs: Inputs,
    outputs: list[onnx_ir.Value],
    samples: int,
    metadata: dict[str, str],
) -> onnx_ir.Model:
    graph = onnx_ir.Graph(
        inputs.every,
        outputs,
        nodes=writer.nodes,
        initializers=writer.initializers,
        opset_imports={"": OPSET},
        name=PRODUCER,
    )
    return onnx_ir.Model(
        graph,
        ir_version=IR_VERSION,
        producer_name=PRODUCER,
        producer_version=compiler_version(),
        doc_string=description(model, samples, inputs.rows.name == ROW_IDS),
        metadata_props=metadata,
    )
