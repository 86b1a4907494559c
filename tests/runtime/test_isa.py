"""The choice of an instruction set, forced or not; each one gives the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import llvmlite.binding as llvm
import pytest

from qbnnc.ir.types import QuantParams
from qbnnc.runtime import isa as detection
from qbnnc.runtime.families.contraction.lowering import needs_wide
from qbnnc.runtime.isa import Isa, available, chosen, of_this_cpu
from qbnnc.support.errors import UserError
from tests.examples import nightly_but

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    chosen.cache_clear()
    yield
    chosen.cache_clear()


@pytest.mark.parametrize(
    ("features", "best"),
    [
        ((), Isa.GENERIC),
        (("avx2",), Isa.AVX2),
        (("avx512vnni",), Isa.GENERIC),
        (("avx2", "avxvnni"), Isa.AVX_VNNI),
        (("avx2", "avx512vl", "avx512vnni", "avxvnni"), Isa.AVX512_VNNI_256),
        (("neon", "i8mm"), Isa.GENERIC),
        (("dotprod",), Isa.NEON_DOT),
    ],
)
def test_the_best_that_there_is(features: tuple[str, ...], best: Isa) -> None:
    found = available(dict.fromkeys(features, True) | {"sse2": True, "sve": False}, "")
    assert found[0] is best
    assert found[-1] is Isa.GENERIC


@pytest.mark.parametrize(
    ("cpu", "is_full"),
    [
        ("icelake-server", True),
        ("sapphirerapids", True),
        ("znver5", True),
        ("znver4", False),
        ("cascadelake", False),
        ("rocketlake", False),
        ("x86-64-v4", False),
    ],
)
def test_which_processors_take_wide_vectors(cpu: str, is_full: bool) -> None:
    found = available(dict.fromkeys(Isa.AVX512_VNNI.features, True), cpu)
    widths = [isa.lanes for isa in found[:2]]
    assert widths == ([16, 8] if is_full else [8, 16])
    assert found[2:] == [Isa.AVX2, Isa.GENERIC]


@pytest.mark.parametrize(
    ("activations", "weights", "wide"),
    [
        (7, 8, set()),
        (8, 8, {Isa.AVX2, Isa.NEON_DOT}),
        (8, 7, {Isa.NEON_DOT}),  # two products fit into int16, but 255 is no int8
        (8, 2, {Isa.NEON_DOT}),
    ],
)
def test_which_codes_need_a_wide_product(activations: int, weights: int, wide: set[Isa]) -> None:
    high = 2 ** (weights - 1) - 1
    x = QuantParams((1.0,), (0,), 0, 2**activations - 1)
    assert {
        isa for isa in Isa if needs_wide(isa, x, QuantParams((1.0,), (0,), -high, high))
    } == wide


@pytest.mark.parametrize("triple", ["aarch64-unknown-linux-gnu", "arm64-apple-darwin23.0.0"])
@pytest.mark.parametrize("has", [False, True])
def test_what_llvm_does_not_say_of_arm(
    triple: str, has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llvm, "get_process_triple", lambda: triple)
    monkeypatch.setattr(llvm, "get_host_cpu_features", lambda: {"neon": True})
    monkeypatch.setattr(detection, "_has_dotprod", lambda: has)
    assert of_this_cpu()[0] is (Isa.NEON_DOT if has else Isa.GENERIC)


def test_llvm_may_not_look_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise RuntimeError("failed to get host cpu features.")

    monkeypatch.setattr(llvm, "get_process_triple", lambda: "arm64-apple-darwin23.0.0")
    monkeypatch.setattr(llvm, "get_host_cpu_features", fails)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert of_this_cpu()[0] is Isa.NEON_DOT


def test_one_can_be_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QBNNC_ISA", "Generic")
    assert chosen() is Isa.GENERIC


@pytest.mark.parametrize("name", ["mmx", "neon-dot avx2"])
def test_one_that_the_processor_lacks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QBNNC_ISA", name)
    with pytest.raises(UserError, match=f"QBNNC_ISA={name}: this CPU runs .*generic; take one"):
        chosen()


def test_numba_is_told_of_another_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU that numba compiles for decides, not the machine's."""
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    monkeypatch.delenv("NUMBA_CPU_FEATURES", raising=False)
    assert of_this_cpu() == [Isa.GENERIC]
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "+avx2,-avx512vl")
    assert of_this_cpu() == [Isa.AVX2, Isa.GENERIC]
    wide = ",".join(f"+{name}" for name in Isa.AVX512_VNNI.features)
    monkeypatch.setenv("NUMBA_CPU_FEATURES", wide)
    assert of_this_cpu()[0] is Isa.AVX512_VNNI_256
    monkeypatch.setenv("NUMBA_CPU_NAME", "znver5")
    assert of_this_cpu()[0] is Isa.AVX512_VNNI


OTHERS = [isa for isa in of_this_cpu() if isa is not chosen()]
USUAL = [isa for isa in OTHERS if isa is Isa.AVX2] or OTHERS[:1]


@pytest.mark.parametrize("isa", nightly_but(USUAL, OTHERS))
def test_whole_networks(isa: Isa) -> None:
    """The other instruction sets of this machine give the oracle's bits, each in a process.

    These tests run in this process too, with the chosen one.
    """
    files = [f"tests/runtime/test_{name}.py" for name in ("equality", "ops", "sampled", "winograd")]
    passes(isa, "-m", "not slow and not nightly", "--hypothesis-profile=again", *files)


@pytest.mark.nightly
@pytest.mark.parametrize("isa", OTHERS)
def test_thousands_of_whole_networks(isa: Isa) -> None:
    passes(isa, "tests/runtime/test_equality.py::test_thousands_of_random_models")


def passes(isa: Isa, *options: str) -> None:
    """Run pytest with an instruction set; fail unless its tests pass."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        cwd=ROOT,
        env=os.environ | {"QBNNC_ISA": isa.value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
