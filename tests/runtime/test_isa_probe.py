"""Instruction sets that the CPU has and this LLVM cannot compile."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llvmlite import ir

from qbnnc.runtime import isa_probe
from qbnnc.runtime.cache_store import Store
from qbnnc.runtime.families.contraction.kernels.products import (
    PRODUCTS,
    WIDE_PRODUCTS,
    Accumulators,
    Operands,
)
from qbnnc.runtime.isa import Isa, chosen, of_this_cpu, target_features
from qbnnc.runtime.isa_probe import fault
from qbnnc.runtime.kernels.vectors import I8, I32, declare, splat
from qbnnc.support.errors import UserError


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    chosen.cache_clear()
    yield
    chosen.cache_clear()


def broken_verify(build: Any, operands: Operands, sums: Accumulators) -> Accumulators:
    """Write a product as for an LLVM whose intrinsic has other arguments."""
    return _by(build, operands, sums, {8: "avx2.psad.bw", 16: "avx512.psad.bw.512"}, I32)


def broken_name(build: Any, operands: Operands, sums: Accumulators) -> Accumulators:
    """Write a product as for an LLVM that does not have the intrinsic."""
    return _by(build, operands, sums, {8: "avx999.dot.256", 16: "avx999.dot.512"}, I8)


def broken_selection(build: Any, operands: Operands, sums: Accumulators) -> Accumulators:
    """Write a product at which LLVM ends the process: the CPU lacks its feature."""
    names = {8: "avx2.vpdpbssd.256", 16: "avx10.vpdpbssd.512"}
    return _by(build, operands, sums, names, I8)


def broken_emitter(build: Any, operands: Operands, sums: Accumulators) -> Accumulators:
    raise TypeError("llvmlite has changed")


def _by(
    build: Any, operands: Operands, sums: Accumulators, names: dict[int, str], element: ir.IntType
) -> Accumulators:
    """Write a product by an intrinsic; `names` are by the lanes of an accumulator."""

    def product(codes: ir.Value, w: ir.Value, total: ir.Value) -> ir.Value:
        ints, lanes = total.type, total.type.count
        kind = ir.VectorType(element, 32 * lanes // element.width)
        dot = declare(build, f"llvm.x86.{names[lanes]}", ints, [ints, kind, kind])
        x = splat(build, codes, lanes)
        return build.call(dot, [total, build.bitcast(x, kind), build.bitcast(w, kind)])

    return [
        [product(codes, w, total) for w, total in zip(operands.weights, row, strict=True)]
        for codes, row in zip(operands.codes, sums, strict=True)
    ]


BROKEN = [
    (broken_verify, "RuntimeError: .*[Ii]ntrinsic"),
    (broken_name, "LLVM has no such intrinsic: .*llvm.x86.avx999.dot"),
    (broken_selection, "LLVM ERROR: Cannot select"),
    (broken_emitter, "TypeError: llvmlite has changed"),
]
BEST = of_this_cpu()[0]
on_x86 = pytest.mark.skipif(
    not target_features().get("avx2", False) or target_features().get("avxvnniint8", False),
    reason="the broken products are of an x86 with AVX2, and without AVX-VNNI-INT8",
)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty cache."""
    store = Store(tmp_path, "key")
    monkeypatch.setattr(isa_probe, "store", lambda: store)
    return store


@pytest.mark.parametrize("isa", of_this_cpu())
def test_llvm_compiles_what_the_processor_has(isa: Isa, kept: Store) -> None:
    """LLVM compiles all sets of this CPU; otherwise the runtime would be slower than it could."""
    assert fault(isa).why == ""


@on_x86
@pytest.mark.parametrize(("emitter", "says"), BROKEN)
def test_the_next_is_taken_and_said_once(
    emitter: Any, says: str, kept: Store, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.delenv("QBNNC_ISA", raising=False)
    for table in (PRODUCTS, WIDE_PRODUCTS):
        monkeypatch.setitem(table, BEST, emitter)
    following = of_this_cpu()[1]
    assert chosen() is following
    ((level, message),) = [(r.levelno, r.getMessage()) for r in caplog.records]
    assert level == logging.WARNING
    assert re.match(
        f"instruction set {BEST.value} is left out, because LLVM cannot .*{says}", message
    )

    chosen.cache_clear()  # as in the next process
    caplog.clear()
    monkeypatch.setattr(isa_probe, "_tried", lambda _: pytest.fail("tried again"))
    assert chosen() is following
    assert caplog.messages == []


@on_x86
@pytest.mark.parametrize(("emitter", "says"), BROKEN)
def test_a_forced_one_that_llvm_cannot_compile(
    emitter: Any, says: str, kept: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRODUCTS, Isa.AVX2, emitter)
    monkeypatch.setenv("QBNNC_ISA", "avx2")
    with pytest.raises(UserError, match=f"QBNNC_ISA=avx2: LLVM cannot compile .*{says}"):
        chosen()


def test_generic_needs_no_trial(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isa_probe, "_tried", lambda _: pytest.fail("tried"))
    assert fault(Isa.GENERIC) == ("", False)


@on_x86
@pytest.mark.parametrize("executable", ["", None, "/bin/false", "/opt/app/uwsgi", "/no/python3"])
def test_where_no_python_can_be_started(
    executable: str | None, kept: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LLVM's verifier alone decides if no other process can be started."""
    monkeypatch.setattr(sys, "executable", executable)
    assert fault(Isa.AVX2) == ("", True)
    monkeypatch.setitem(PRODUCTS, Isa.AVX2, broken_verify)
    assert kept.folder is not None
    (kept.folder / "avx2-products").unlink()
    assert "ntrinsic" in fault(Isa.AVX2).why
