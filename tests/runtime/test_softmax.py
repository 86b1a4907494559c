"""Softmax in the runtime: what the verifier accepts stays in its buffers; plans say what runs."""

from __future__ import annotations

import pytest

from qbnnc.runtime.families import OPCODES
from qbnnc.runtime.families.softmax.instructions import Softmax
from qbnnc.runtime.plan import plan
from qbnnc.runtime.program import columns_of
from tests.conformance.test_softmax import model_of
from tests.runtime.redzones import apart
from tests.runtime.test_verifier import assert_inside

OP = OPCODES[Softmax]
COLUMNS = vars(columns_of(Softmax))


@pytest.mark.few(1)
@pytest.mark.parametrize("product", [True, False])
@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5)])
def test_what_is_let_through_stays_in_its_buffers(shape: tuple[int, ...], product: bool) -> None:
    graph = model_of(shape, product=product, masks=True, biased=True).graph
    assert assert_inside(graph, 3, share=0.3) > 20


@pytest.mark.parametrize(
    ("field", "number"),
    [
        *(("length", n) for n in (0, -1, 6, 1 << 30)),
        *(("height", n) for n in (0, 5, 1 << 30)),
        *(("width", n) for n in (0, 4, 1 << 30)),
        *(("step", n) for n in (0, 2, -3)),
        *(("step_y", n) for n in (0, 14, 1 << 30)),
        *(("entries", n) for n in (0, -1, (1 << 16) + 1, 1 << 20)),
        *(("wide", n) for n in (2, -1)),
        *(("mask", n) for n in (-2, 1 << 30)),
        *(("bias", n) for n in (-4, 2, 1 << 30)),
        *(("mask_step", n) for n in (-1, 1 << 30)),
        *(("bias_step_y", n) for n in (-1, 1 << 30)),
        *(("table", n) for n in (-4, 2, 1 << 30)),
        *(("factors", n) for n in (-4, 2, 1 << 30)),
    ],
)
def test_fields_that_lead_elsewhere_are_refused(field: str, number: int) -> None:
    made = apart(model_of((3, 4, 5), product=True, masks=True, biased=True).graph, None)
    program = made.plan.program.copy()
    (line,) = (i for i, row in enumerate(program) if row[COLUMNS["length"]] == 5 and row[0] == OP)
    program[line, COLUMNS[field]] = number
    assert made.refusal(program) is not None


def test_a_plan_says_what_the_rows_are() -> None:
    steps = plan(model_of((4, 5), product=True, masks=False, biased=False).graph).steps
    assert "sums, rows of 5" in [step.instruction.form for step in steps]
