"""A program that holds a C model against golden vectors of the oracle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qbnnc.backends.c.arguments import of_row
from qbnnc.backends.c.embedding import number_type
from qbnnc.backends.c.program import real
from qbnnc.ir.graph import Graph, Value
from qbnnc.ir.ids import holds_only_ids, rows_taken_by
from qbnnc.ir.inputs import input_values, inputs_of
from qbnnc.ir.model import Model
from qbnnc.ir.ops.quantize import QuantizeInput
from qbnnc.ir.oracle import oracle_prediction, oracle_samples
from qbnnc.ir.types import Array

SEED, FIRST_ROW, ROWS = 20261, 5, 2
_TOLERANCE = "1e-5"  # of statistics: docs/semantics.md, section 4


def golden_program(
    model: Model,
    name: str,
    rows: NDArray[np.float32] | None = None,
    samples: int | None = None,
    *,
    file: str | None = None,
) -> str:
    """Write FILE_test.c for `rows` [N, *shape], or for rows drawn over the range of the input.

    The functions that it tests begin with `name`, by default the name of the `file` too.
    The program prints how many values differ, and returns 1 if one does. Samples are compared bit
    for bit. It also tries what must fail, and that another seed gives other samples.
    """
    x = drawn_rows(model.graph, ROWS) if rows is None else rows
    count = samples or len(model.members) * (3 if model.stochastic else 1)
    golden = oracle_samples(model, x, samples=count, seed=SEED, first_row=FIRST_ROW)
    summary = oracle_prediction(model, x, samples=count, seed=SEED, first_row=FIRST_ROW)
    names = model.head.statistic_names(len(golden))
    upper = name.upper()
    number = number_type(model.graph)
    error = "NO_ID" if number == "int32_t" else "NOT_FINITE"
    arrays = [
        _numbers("inputs", x, number),
        *(_words(f"golden{k}", g) for k, g in enumerate(golden)),
    ]
    arrays += [_reals(f"summary_{n}", summary[n]) for n in names]
    outs = ", ".join(f"out{k}" for k in range(len(golden)))
    sizes = [value.type.size for value in model.graph.outputs]
    declared = "\n".join(f"static float out{k}[{size}];" for k, size in enumerate(sizes))
    compared = "\n".join(
        f"      differing += compare(out{k}, golden{k} + (s * {len(x)} + row) * {n}, {n});"
        for k, n in enumerate(sizes)
    )

    def reference(statistic: str) -> str:
        one = summary[statistic][0].size == 1
        return f"{'&' * one}prediction.{statistic}"

    close = "\n".join(
        f"    far += distant({reference(n)}, summary_{n} + row * {summary[n][0].size}, "
        f"{summary[n][0].size});"
        for n in names
    )
    values = sum(g.size for g in golden)
    other = oracle_samples(model, x[:1], samples=count, seed=SEED + 1, first_row=FIRST_ROW)
    moves = any(not np.array_equal(a[0, 0], b[0, 0]) for a, b in zip(golden, other, strict=True))
    given, bad, first = (of_row(model.inputs, row) for row in ("x", "bad", "inputs"))
    seeds = _other_seed(name, first, outs, sizes) if moves else ""
    return f"""/* Golden vectors of {file or name}.c: the samples that the definition gives. */
#include "{file or name}.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

{chr(10).join(arrays)}

static {name}_state state;
static {name}_prediction prediction;
{declared}

static int compare(const float *made, const uint32_t *wanted, int n) {{
  int i, differing = 0;
  for (i = 0; i < n; i++) {{
    uint32_t bits;
    memcpy(&bits, made + i, sizeof bits);
    differing += bits != wanted[i];
  }}
  return differing;
}}

static int distant(const float *made, const float *wanted, int n) {{
  int i, far = 0;
  double most = 1.0;
  for (i = 0; i < n; i++) {{
    const double size = wanted[i] < 0 ? -(double)wanted[i] : (double)wanted[i];
    if (size > most) most = size;
  }}
  most *= {_TOLERANCE};
  for (i = 0; i < n; i++) {{
    const double distance = (double)made[i] - (double)wanted[i];
    far += made[i] != wanted[i] && !(distance < most && -distance < most);
  }}
  return far;
}}

int main(void) {{
  int row, s, differing = 0, far = 0, wrong = 0;
  for (row = 0; row < {len(x)}; row++) {{
    const {number} *x = inputs + row * {upper}_INPUTS;
    wrong += {name}_begin(&state, {given}, {SEED}u, (uint64_t)({FIRST_ROW} + row)) != {upper}_OK;
    for (s = 0; s < {count}; s++) {{
      {name}_sample(&state, (uint64_t)s, {outs});
{compared}
    }}
    wrong += {name}_predict(&state, {given}, {SEED}u, (uint64_t)({FIRST_ROW} + row), {count}u,
                            &prediction) != {upper}_OK;
{close}
  }}
  {{
    static {number} bad[{upper}_INPUTS];
    const uint32_t nan = 0x7FC00000u;
    memcpy(bad, inputs, sizeof bad);
    wrong += {name}_predict(&state, {bad}, 1u, 0u, 0u, &prediction) != {upper}_NO_SAMPLES;
    memcpy(bad, &nan, sizeof nan);
    wrong += {name}_begin(&state, {bad}, 1u, 0u) != {upper}_{error};
  }}
{seeds}  printf("{name}: %d of {values} values differ, %d statistics are far, ", differing, far);
  printf("%d answers are wrong\\n", wrong);
  return differing != 0 || far != 0 || wrong != 0;
}}
"""


def _other_seed(name: str, inputs: str, outs: str, sizes: list[int]) -> str:
    compared = " + ".join(f"compare(out{k}, golden{k}, {n})" for k, n in enumerate(sizes))
    return f"""  {name}_begin(&state, {inputs}, {SEED + 1}u, {FIRST_ROW}u);
  for (s = 0, row = 0; s < 1; s++) {{
    {name}_sample(&state, 0u, {outs});
    row += {compared};
  }}
  wrong += row == 0; /* another seed gave the same samples */
"""


def drawn_rows(graph: Graph, count: int) -> NDArray[np.float32]:
    """Draw rows [count, *shape] over a little more than the range of the input's codes, or ids."""
    rng, drawn = np.random.default_rng(2026), rows_taken_by(graph).drawn(count)
    if len(inputs_of(graph)) == 1:
        only_ids = holds_only_ids(graph)
        return drawn if only_ids else _drawn(graph, graph.input, count, rng)
    for entry, value in zip(inputs_of(graph), input_values(graph), strict=True):
        if not holds_only_ids(graph, value):
            part = _drawn(graph, value, count, rng).reshape(count, -1)
            drawn[:, entry.start : entry.stop] = part
    return drawn


def _drawn(graph: Graph, value: Value, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Rows of one input."""
    shape = value.type.shape
    read = [node for node in graph.nodes if isinstance(node.op, QuantizeInput)]
    op = next(node.op for node in read if node.inputs[0] is value)
    assert isinstance(op, QuantizeInput)
    channels = [1] * max(0, len(shape) - 1)
    offset, scale = (
        np.asarray(v, np.float64).reshape(-1, *channels) for v in (op.offset, op.scale)
    )
    low, high, zero = op.low, op.high, op.quant.per_tensor[1]
    margin = (high - low) * 0.05
    codes = rng.uniform(low - zero - margin, high - zero + margin, (count, *shape))
    return (codes * scale + offset).astype(np.float32).reshape(count, *shape)


def _reals(name: str, values: Array) -> str:
    flat = np.ascontiguousarray(values, np.float32).reshape(-1)
    text = ", ".join("INFINITY" if v == np.inf else real(v) for v in flat.tolist())
    return f"static const float {name}[{flat.size}] = {{{text}}};"


def _numbers(name: str, values: Array, ctype: str) -> str:
    if ctype == "float":
        return _reals(name, values)
    flat = values.reshape(-1).astype(np.int32)
    return f"static const int32_t {name}[{flat.size}] = {{{', '.join(map(str, flat.tolist()))}}};"


def _words(name: str, values: Array) -> str:
    flat = np.ascontiguousarray(values, np.float32).reshape(-1).view(np.uint32)
    text = ", ".join(f"{v}u" for v in flat.tolist())
    return f"static const uint32_t {name}[{flat.size}] = {{{text}}};"
