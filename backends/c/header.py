"""The header of a C model: its state, its functions and what they answer."""

from __future__ import annotations

from math import prod

from qbnnc.backends.c.arguments import declared_inputs, input_sizes
from qbnnc.backends.c.embedding import number_type
from qbnnc.backends.c.head import Statistics, declared
from qbnnc.backends.c.program import Layout
from qbnnc.ir.model import Model


def _outputs(model: Model) -> list[int]:
    return [prod(value.type.shape) for value in model.graph.outputs]


def parameters(model: Model) -> str:
    return ", ".join(f"float *out{k}" for k in range(len(model.graph.outputs)))


def header(model: Model, name: str, layout: Layout, stats: Statistics, *, codes: bool) -> str:
    upper, outputs, inputs = name.upper(), _outputs(model), model.graph.input.type.size
    ensemble = len(model.members) > 1
    fields = "\n".join(declared(*field) for field in stats.fields)
    arrays = "\n".join(f"  float out{k}[{n}]; /* of one sample */" for k, n in enumerate(outputs))
    memory = f"""  union {{
    uint8_t codes[{layout.nbytes}];
    int16_t filters[{layout.nbytes // 2}];
    int32_t sums[{layout.nbytes // 4}];
    float reals[{layout.nbytes // 4}];
  }} memory;"""
    shape = _said_shape(model)
    number = number_type(model.graph)
    given, codes_given = (declared_inputs(model, ctype) for ctype in (number, "uint8_t"))
    taken = "row" if len(model.inputs) > 1 else f"row x [{inputs}]"
    of_codes = ""
    if codes:
        of_codes = f"""
/* The same for codes of the input, as a sensor may give them; {upper}_CODE if one is none. */
int {name}_begin_codes({name}_state *st, {codes_given}, uint64_t seed, uint64_t row);
"""
    kept = f"  {number} x[{inputs}];\n" if ensemble else ""
    return f"""#ifndef {upper}_H
#define {upper}_H

/* {model.method}, {model.provenance.bits}, {model.head.task.value}. Compiled by {compiler(model)}.
 *
 * {name}_begin takes one row, {name}_sample makes one sample of its outputs, and {name}_predict
 * does all and summarises them. The state is all the memory there is: no heap, no statics. Two
 * threads may use two states. Samples are those of other backends, bit for bit. */

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

#define {upper}_INPUTS {inputs} /* {shape}, in PyTorch's order */
{input_sizes(model, upper)}{_sizes(upper, outputs)}
#define {upper}_MEMBERS {len(model.members)} /* of the ensemble; samples are a multiple */
#define {upper}_SAMPLES {model.samples} /* by default */

enum {{
  {upper}_OK = 0,
{_input_error(upper, number)}
  {upper}_CODE = 2,       /* an input is no code */
  {upper}_NO_SAMPLES = 3  /* none asked for, or no multiple of the members */
}};

typedef struct {{
  double origin, sum, squares;
}} {name}_moments;

typedef struct {{
  uint64_t seed, row;
{memory}
  struct {{
{stats.accumulators.replace("qb_moments", f"{name}_moments")}
  }} totals;
{kept}{arrays}
}} {name}_state;

typedef struct {{
{fields}
}} {name}_prediction;

/* Take a {taken}. Its number gives the random numbers: count up, or masks repeat. */
int {name}_begin({name}_state *st, {given}, uint64_t seed, uint64_t row);
{of_codes}
/* Make the sample of this number: 0, 1, ... An application may stop when it is sure. */
void {name}_sample({name}_state *st, uint64_t sample, {parameters(model)});

/* Summarise samples 0 to samples - 1. */
int {name}_predict({name}_state *st, {given}, uint64_t seed, uint64_t row,
{" " * (len(name) + 13)}uint32_t samples, {name}_prediction *out);

#ifdef __cplusplus
}}
#endif
#endif
"""


def _said_shape(model: Model) -> str:
    """The shape of one input, or the number of several."""
    if len(model.inputs) > 1:
        return f"of {len(model.inputs)} inputs together"
    return str(list(model.inputs[0].shape))


def _input_error(upper: str, number: str) -> str:
    """The line of the answer to a wrong input; rows of ids are computed all the same, cut."""
    if number == "int32_t":
        return f"  {upper}_NO_ID = 1,      /* an input is no id of its vocabulary */"
    return f"  {upper}_NOT_FINITE = 1, /* an input is NaN or infinite */"


def compiler(model: Model) -> str:
    return model.provenance.compiler or "qbnnc"


def _sizes(upper: str, outputs: list[int]) -> str:
    names = [f"{upper}_OUTPUTS"] + [f"{upper}_OUTPUTS_{k}" for k in range(1, len(outputs))]
    return "\n".join(f"#define {n} {size}" for n, size in zip(names, outputs, strict=True))
