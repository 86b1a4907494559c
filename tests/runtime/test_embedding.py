"""Embeddings in the runtime, onnxruntime and C: the oracle's bits, whatever moves the ids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qbnnc.backends.onnx import emit
from qbnnc.backends.onnx.embedded_model import read_model
from qbnnc.backends.onnx.session import OnnxArtefact
from qbnnc.ir.evaluate import evaluate
from qbnnc.ir.format import digest, from_bytes, to_bytes
from qbnnc.ir.ids import rows_taken_by
from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_samples
from qbnnc.ir.rng import Draw
from qbnnc.runtime import Session
from qbnnc.runtime.families import OPCODES
from qbnnc.runtime.families.embedding.instructions import Embed
from qbnnc.runtime.families.embedding.kernels import row_of as row_in_kernel
from qbnnc.runtime.program import Operand, Place
from qbnnc.runtime.verifier.line import Line, Violation
from qbnnc.runtime.verifier.rules.embedding import embed
from qbnnc.support.errors import FileError, InputError
from qbnnc.verification.oracle import bits
from tests.devices.programs import check_equal, check_runs
from tests.examples import slow_but
from tests.runtime.test_verifier import assert_inside
from tests.tokens import integer_model
from tools.devices.targets import HOST

SEEDS = range(12)
HOSTILE = [-1.0, np.inf, -np.inf, 1e30, 2.5, -0.0, 2.0**24, 1e-45, -1e30, 7.0]


def ids_of(model: Model, count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return rows_taken_by(model.graph).drawn(count)


@pytest.mark.few(2)
@pytest.mark.parametrize("seed", SEEDS)
def test_random_graphs_have_the_oracles_bits(seed: int) -> None:
    model = integer_model(seed, members=1 + seed % 3)
    x = ids_of(model, 9)
    (expected,) = oracle_samples(model, x, samples=model.samples, seed=3, first_row=2)
    data = emit(model)
    for artefact in (Session(model), OnnxArtefact.from_bytes(data)):
        made = artefact.predict(x, seed=3, first_row=2)["samples"]
        assert (bits(made) == bits(expected)).all()
    assert digest(read_model(data)) == digest(model) == digest(from_bytes(to_bytes(model), "m"))


@pytest.mark.slow
def test_random_graphs_in_c(tmp_path: Path) -> None:
    check_runs(HOST[0])
    models = {f"ids{seed}": integer_model(seed, 1 + seed % 2) for seed in range(6)}
    check_equal(tmp_path, HOST[0], models)


def test_the_kernel_reads_inside_the_table_for_any_bits() -> None:
    """Callers in C are not checked in Python: the kernel cuts what is no id."""
    model = integer_model(1)
    session = Session(model)
    session._rows = replace(session._rows, ids=None)
    shape = model.graph.input.type.shape
    x = np.resize(np.array(HOSTILE, np.float32), (len(HOSTILE), *shape))
    x[0] = np.roll(x[0], 1)
    draw = Draw.of(0, range(model.samples), range(len(x)))
    with np.errstate(invalid="ignore"):
        (expected,) = evaluate(model.graph, x, draw)
    assert (bits(session.predict(x)["samples"]) == bits(expected)).all()


@pytest.mark.parametrize("number", [*HOSTILE, np.nan])
def test_the_kernel_cuts_as_the_definition_says(number: float) -> None:
    found = row_in_kernel.py_func(np.float32(number), np.int64(5))
    wanted = 0 if not number > 0 else min(int(min(number, 4.0)), 4)
    assert found == wanted


@pytest.mark.parametrize(
    "call",
    [
        lambda session, x, out: session.predict(x),
        lambda session, x, out: session.predict_into(x, out),
        lambda session, x, out: session.trace(x),
        lambda session, x, out: session.stream().predict(x),
    ],
    ids=["predict", "predict_into", "trace", "stream"],
)
def test_ids_outside_are_refused(call: Callable[..., object]) -> None:
    model = integer_model()
    session, x = Session(model), ids_of(model, 3)
    out = session.new_out(3)
    call(session, x, out)
    out[:] = 7
    x[1].flat[0] = 40
    with pytest.raises(InputError, match="the id 40 is in row 1, position 0"):
        call(session, x, out)
    assert (out == 7).all()


def test_a_refused_part_of_a_stream_counts_no_row() -> None:
    model = integer_model()
    x = ids_of(model, 3)
    stream = Session(model).stream()
    bad = x.copy()
    bad[2].flat[0] = -1
    with pytest.raises(InputError):
        stream.predict(bad)
    assert stream.row == 0


def test_onnx_takes_int64_and_says_its_vocabulary() -> None:
    model = integer_model()
    artefact = OnnxArtefact.from_bytes(emit(model, embedded_model=False))
    assert artefact.description.takes_ids
    known, wanted = artefact.description.rows.ids, rows_taken_by(model.graph).ids
    assert known is not None
    assert wanted is not None
    assert known.tolist() == wanted.tolist()
    with pytest.raises(InputError, match="the id 99 is in row 0"):
        artefact.predict(np.full((1, *artefact.input_shape), 99))


def test_an_onnx_file_with_another_vocabulary_is_refused() -> None:
    data = emit(integer_model(), embedded_model=False)
    assert data.count(b"vocabulary") == 1
    with pytest.raises(FileError, match="changed"):
        OnnxArtefact.from_bytes(data.replace(b"vocabulary", b"vocabulory"))


FIELDS = {"index": 64, "table": 0, "rows": 5, "width": 3, "planes": 1, "lines": 4}


def line(input_place: Place = Place.INPUT, **changed: int) -> Line:
    """A line that reads 5 x 3 codes and 4 places, with some numbers changed."""
    fields = FIELDS | changed
    buffers = Operand(0, 12, Place.COPY), Operand(0, 6, input_place)
    columns = [n for b in buffers for n in (b.offset, b.stride, int(b.place))]
    row = [OPCODES[Embed], *columns, *fields.values()]
    constants = np.zeros(80, np.uint8)
    constants[64:80].view(np.int32)[:] = [0, 5, -1, 2]
    return Line([*row, *[0] * (48 - len(row))], constants)


def test_a_line_states_what_it_reads_and_writes() -> None:
    good = line()
    embed(good)
    read, write = good.accesses
    assert (read.field, read.extent, read.writes) == ("input", 6, False)
    assert (write.field, write.extent, write.writes) == ("output", 12, True)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"rows": 30}, "table"),
        ({"width": 0}, "width"),
        ({"lines": 5}, "index"),
        ({"planes": 0}, "planes"),
        ({"table": -1}, "table"),
        ({"index": 68}, "index"),
        ({"input_place": Place.COPY}, "COPY"),
    ],
)
def test_a_line_that_leaves_its_memory_is_refused(changed: dict[str, int], said: str) -> None:
    with pytest.raises(Violation, match=said):
        embed(line(**changed))  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", slow_but([4], range(8)))
def test_what_is_let_through_stays_in_its_buffers(seed: int) -> None:
    """The input is noise, in which few numbers are ids."""
    assert assert_inside(integer_model(seed).graph, seed, share=0.3) > 0


def test_places_before_the_row_are_refused() -> None:
    bad = line()
    bad._constants[64:68].view(np.int32)[:] = -2
    with pytest.raises(Violation, match="an index is -2"):
        embed(bad)
