"""An INTEGER model as one C99 file and its header; and a program that tests them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from qbnnc.backends.c.arguments import declared_inputs, kept_row, passed_on, unused
from qbnnc.backends.c.costs import Costs, costs_of
from qbnnc.backends.c.embedding import id_check, number_type
from qbnnc.backends.c.emission import emit
from qbnnc.backends.c.head import Statistics, statistics
from qbnnc.backends.c.header import compiler, header, parameters
from qbnnc.backends.c.loops import rolled, share_records
from qbnnc.backends.c.parts import Part, library
from qbnnc.backends.c.program import Constants, Layout, Phase, Program, lay_out
from qbnnc.backends.c.scope import Form, Forms, Scope
from qbnnc.backends.c.traits import Trait, definitions
from qbnnc.backends.c.weights import MOST_TEXT, Blob, array_definitions, blob_of
from qbnnc.ir.format import digest
from qbnnc.ir.ids import id_values
from qbnnc.ir.model import Model
from qbnnc.ir.rng import eps_table
from qbnnc.support.errors import CompileError, UserError


@dataclass(frozen=True, slots=True)
class Source:
    """The texts of FILE.h and FILE.c, and their costs in bytes.

    `memory` are the values of a row and a sample; the state holds them, the statistics and one
    sample of the outputs. `name` is the prefix of what the header declares. The `blob` holds large
    constants that are not in the text.
    """

    name: str
    header: str
    body: str
    blob: Blob | None
    costs: Costs
    memory: int
    constants: int
    forms: dict[str, Form]


def identifier(name: str) -> str:
    """The nearest name that C takes."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII).lstrip("_")
    return plain if plain[:1].isalpha() else f"model_{plain}"


def check_name(name: str, place: str) -> None:
    """UserError, at `place`, for a prefix that C does not take."""
    if not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII):
        raise UserError(
            "a C name has letters, digits and _, and begins with a letter",
            place=place,
            remedy=f"give `prefix='{identifier(name)}'`",
        )


def to_c(
    model: Model,
    name: str,
    ram: int | None = None,
    *,
    file: str | None = None,
    blob: bool | None = None,
) -> Source:
    """Write an INTEGER model as C.

    `name` is the prefix of everything that the header declares, and by default also the name of
    the `file` without its suffix. `ram` is the most bytes of the values; a layer behind dropout
    then takes the fastest form that fits. With a `blob` large constants are no text; by default
    above `MOST_TEXT` bytes. CompileError for what C does not have, UserError if the model does not
    fit, or if the name is none for C.
    """
    check_name(name, f"{name}.c")
    file = file or name
    forms = Forms(Form.SUBTRACT if ram is None else Form.CACHED)
    constants, scopes, layout = _emitted(model, forms)
    while ram is not None and layout.nbytes > ram:
        tables = {n: b for n, b in scopes[0].masked.items() if forms.form(n) is Form.CACHED}
        if tables:
            largest = max(tables, key=lambda key: tables[key])
            forms = Forms(forms.default, {**forms.of, largest: Form.SUBTRACT})
        elif forms.default is not Form.DIRECT:
            forms = Forms(Form.DIRECT)
        else:
            raise UserError(
                f"the values take {layout.nbytes:,} bytes, of which {_largest(layout)}",
                place=f"`ram` {ram:,}",
                remedy="give more, or compile a smaller network",
            )
        constants, scopes, layout = _emitted(model, forms)
    made = {n: forms.form(n) for n in scopes[0].masked}
    stats, program = statistics(model), scopes[0].program
    apart = constants.nbytes > MOST_TEXT if blob is None else blob
    made_blob = blob_of(constants, name, file) if apart else None
    text = header(model, name, layout, stats, codes=_takes_codes(scopes))
    check = id_check(model.graph, constants)
    arrays = array_definitions(constants, name, blob=apart)
    costs = costs_of(model, name, scopes[0], layout, stats, constants, blob=made_blob is not None)
    body = _body(model, (name, file), arrays, scopes, layout, stats, program, check) + costs.text
    return Source(name, text, body, made_blob, costs, layout.nbytes, constants.nbytes, made)


def _emitted(model: Model, forms: Forms) -> tuple[Constants, list[Scope], Layout]:
    constants = Constants()
    scopes = [emit(member, constants, len(model.members), forms) for member in model.members]
    first = [(step.phase, step.text) for step in scopes[0].program.steps]
    for scope in scopes[1:]:
        if [(step.phase, step.text) for step in scope.program.steps] != first:
            raise CompileError("the members need different steps", "the C backend")
    share_records([scope.program for scope in scopes])
    return constants, scopes, lay_out(scopes[0].program)


def _largest(layout: Layout) -> str:
    buffer = max(layout.offsets, key=lambda b: b.nbytes)
    return f"{buffer.nbytes:,} are one value"


def _body(
    model: Model,
    names: tuple[str, str],
    arrays: str,
    scopes: list[Scope],
    layout: Layout,
    stats: Statistics,
    program: Program,
    check: str,
) -> str:
    (name, file), members, upper = names, len(scopes), names[0].upper()
    tables = _eps_tables() if Part.SAMPLED in program.parts else ""
    functions = library(program.parts).replace(
        _MOMENTS, f"typedef {name}_moments qb_moments; /* shifted by the first sample */\n"
    )
    records = "\n".join(_records(scopes))
    traits = definitions(set[Trait]().union(*(scope.program.traits for scope in scopes)))
    row = rolled([layout.statement(s) for s in program.steps if s.phase is Phase.ROW])
    sample = rolled([layout.statement(s) for s in program.steps if s.phase is Phase.SAMPLE])
    number = number_type(model.graph)
    error = "NO_ID" if number == "int32_t" else "NOT_FINITE"
    given, passed = declared_inputs(model, number), passed_on(model)
    begin = check + "\n".join(f"  {line}" for line in row)
    body = "\n".join(f"  {line}" for line in sample)
    if members > 1:
        begin = f"{kept_row(model, ids=number == 'int32_t')}\n{check}"
        body = f"""  const int32_t m = (int32_t)(sample % {members}u);
  const {number} *x = st->x;
  int error = 0;
{body}
  (void)error;"""
    outs = ", ".join(f"st->out{k}" for k in range(len(model.graph.outputs)))
    mod = f" || samples % {members}u != 0u" if members > 1 else ""
    uses = "  (void)sample;\n" if "sample" not in body else ""
    used = "".join(
        f"  (void)out{k};\n" for k in range(len(model.graph.outputs)) if f"out{k}" not in body
    )
    return f"""/* Generated by {compiler(model)}; digest {digest(model)}.
 * Compile as C99 with any optimisation but -ffast-math. QBNNC_DATA and QBNNC_PART may be defined
 * to put constants into a section. */
#include "{file}.h"

#ifndef QBNNC_DATA
#define QBNNC_DATA static const
#endif
#ifndef QBNNC_PART
#define QBNNC_PART static const
#endif

/* The cases of the functions below that this network has. */
{traits}
{_number(number, program)}
{tables}{functions}
/* ---- this network ------------------------------------------------------------------------ */

{arrays}

{records}

static int {name}_prefix({name}_state *st, {given}) {{
  int error = 0;
{begin}
  (void)st;
{unused(model)}  return error;
}}

int {name}_begin({name}_state *st, {given}, uint64_t seed, uint64_t row) {{
  st->seed = seed;
  st->row = row;
  return {name}_prefix(st, {passed}) != 0 ? {upper}_{error} : {upper}_OK;
}}
{_begin_codes(model, name, scopes, layout)}
void {name}_sample({name}_state *st, uint64_t sample, {parameters(model)}) {{
{body}
  (void)st;
{uses}{used}}}

int {name}_predict({name}_state *st, {given}, uint64_t seed, uint64_t row,
{" " * (len(name) + 13)}uint32_t samples, {name}_prediction *out) {{
  const int error = {name}_begin(st, {passed}, seed, row);
  uint32_t s;
  int32_t i;
  if (error != {upper}_OK) return error;
  if (samples == 0{mod}) return {upper}_NO_SAMPLES;
{stats.begin.replace("a->", "st->totals.")}
  for (s = 0; s < samples; s++) {{
    {name}_sample(st, s, {outs});
{_indented(stats.add).replace("a->", "st->totals.")}
  }}
{stats.finish.replace("a->", "st->totals.")}
  return {upper}_OK;
}}
"""


_MOMENTS = """typedef struct {
  double origin, sum, squares; /* shifted by the first sample: exact enough far below a mean */
} qb_moments;
"""


def _takes_codes(scopes: list[Scope]) -> bool:
    """Whether a row may be given as codes: one network, and no ids."""
    return len(scopes) == 1 and not id_values(scopes[0].graph)


def _number(ctype: str, program: Program) -> str:
    """The type of the numbers of a row, for embeddings."""
    return f"typedef {ctype} qb_number;\n" if Part.EMBEDDING in program.parts else ""


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _records(scopes: list[Scope]) -> list[str]:
    members, lines = len(scopes), list[str]()
    for number, (ctype, _) in enumerate(scopes[0].program.records):
        each = [scope.program.records[number][1] for scope in scopes]
        name = f"qb_part_{number}"
        if members == 1:
            lines.append(f"QBNNC_PART {ctype} {name} = {each[0]};")
        else:
            lines.append(f"QBNNC_PART {ctype} {name}[{members}] = {{")
            lines.append(",\n".join(f"  {text}" for text in each) + "};")
    return lines


def _begin_codes(model: Model, name: str, scopes: list[Scope], layout: Layout) -> str:
    """The start from codes, for a network that quantises its input once."""
    if not _takes_codes(scopes):
        return ""
    upper, program = name.upper(), scopes[0].program
    lines = []
    for step in program.steps:
        if step.phase is Phase.ROW:
            text = layout.statement(step)
            lines.append(text.replace("error |= qb_read(", "error |= qb_read_codes("))
    body = "\n".join(f"  {line}" for line in rolled(lines))
    given = declared_inputs(model, "uint8_t")
    return f"""
int {name}_begin_codes({name}_state *st, {given}, uint64_t seed, uint64_t row) {{
  int error = 0;
  st->seed = seed;
  st->row = row;
{body}
{unused(model)}  return error != 0 ? {upper}_CODE : {upper}_OK;
}}
"""


def _eps_tables() -> str:
    table = eps_table().astype(np.int64)
    constants = Constants()
    last = np.searchsorted(table, np.arange(-127, 128), side="right") - 1
    constants.array(table[::256] + 127, "uint8_t")
    constants.array(last, "uint16_t")
    text = "#include <stdint.h>\n" + "\n".join(c.definition for c in constants.arrays) + "\n\n"
    return text.replace("qb_data_0", "qb_eps_start").replace("qb_data_1", "qb_eps_last")
