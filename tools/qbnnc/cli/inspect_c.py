"""qbnnc inspect of C artefacts: their costs, by the table in the .c."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click

from qbnnc.backends.c import Costs
from qbnnc.cli.common import echo_json
from qbnnc.loading.project_folder import source_of
from qbnnc.support.errors import UserError
from qbnnc.support.text import counted, fold, human_bytes, shortened, spaced, table
from qbnnc.verification.c_object import Compiled, compiled
from qbnnc.verification.c_program import costs_of

_ROOM = 26


def is_c(file: str) -> bool:
    """Whether a file is a .c, or a folder of a project."""
    return Path(file).suffix == ".c" or Path(file).is_dir()


def inspect_c(file: str, cc: str | None, *, as_json: bool) -> None:
    """Print what a .c costs; a compiler, if there is one, tells its code and its stack."""
    path = source_of(Path(file))
    costs = costs_of(path)
    made = _compiled(path, costs, cc)
    if as_json:
        echo_json({**asdict(costs), "compiled": None if made is None else asdict(made)})
    else:
        click.echo("\n".join(_lines(file, costs, made)))


def _compiled(path: Path, costs: Costs, cc: str | None) -> Compiled | None:
    try:
        made = compiled(path, costs.prefix, cc)
    except UserError:
        if cc is None:
            return None
        raise
    if made is None and cc is not None:
        raise UserError(
            f"does not compile {path}", place=f"`cc` {cc}", remedy="give a compiler of C99"
        )
    return made


def _lines(file: str, costs: Costs, made: Compiled | None) -> Iterator[str]:
    yield fold(f"{file}: C99, {costs.method}, task {costs.task}, names begin {costs.prefix}_")
    yield f"digest {costs.digest}"
    yield fold(f"{spaced(costs.bits)}, {counted(costs.samples, 'sample')}")
    total = sum(costs.constants.values())
    where = "in a binary file, but for small ones" if costs.blob else "in the text"
    yield ""
    yield fold(f"flash: {human_bytes(total)} of constants, {where}")
    yield table(
        ("layer", "bytes", "share"),
        [
            (shortened(layer, _ROOM), f"{size:,}", f"{100 * size / total:.1f} %")
            for layer, size in costs.constants.items()
        ],
    )
    yield ""
    yield from _memory(costs)
    yield ""
    yield fold("products: once a row, and of one sample as expected over the masks")
    yield table(
        ("layer", "form", "once", "a sample"),
        [(shortened(c.layer, _ROOM), c.form, f"{c.row:,}", f"{c.sample:,}") for c in costs.layers],
    )
    once, each = sum(c.row for c in costs.layers), sum(c.sample for c in costs.layers)
    yield fold(
        f"in all: {once:,} once, {each:,} a sample, {once + each * costs.samples:,} for "
        f"{counted(costs.samples, 'sample')}"
    )
    yield ""
    yield from _machine(made)


def _memory(costs: Costs) -> Iterator[str]:
    state = costs.state
    parts = (
        (state.values, "of values"),
        (state.statistics, "of statistics"),
        (state.outputs, "of one sample's outputs"),
        (state.row, "of the row"),
        (state.seeds, "of the seed and the row's number"),
    )
    yield fold(
        f"RAM: a state of {state.total:,} bytes: "
        + ", ".join(f"{size:,} {what}" for size, what in parts if size)
    )
    yield "scratch: for one step; kept: from a row's steps until its last sample"
    yield table(
        ("buffer of", "use", "type", "bytes", "at", "last used by"),
        [
            (
                shortened(b.layer, 18),
                b.use,
                b.ctype.removesuffix("_t"),
                f"{b.nbytes:,}",
                f"{b.offset:,}",
                "" if b.use == "scratch" else shortened(b.last, 18),
            )
            for b in costs.buffers
        ],
    )


def _machine(made: Compiled | None) -> Iterator[str]:
    if made is None:
        yield fold("code and stack: not known, for no compiler here takes it (--cc names one)")
        return
    code = "not known, for it writes no ELF" if made.code is None else human_bytes(made.code)
    stack = "not known, for it is no GCC" if made.stack is None else f"{made.stack:,} bytes"
    yield fold(f"by {made.command}: code {code}; largest stack {stack}")
