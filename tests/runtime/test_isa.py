"""Which instruction set is chosen, what a forced one says, and that each gives the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from numba.core import config

from qbnnc.ir.errors import UserError
from qbnnc.runtime.isa import Isa, available, chosen, target_features

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
        (("avx2", "avx512vl", "avx512vnni", "avxvnni"), Isa.AVX512_VNNI),
        (("dotprod",), Isa.GENERIC),
        (("dotprod", "i8mm"), Isa.NEON_DOT),
    ],
)
def test_the_best_that_there_is(features: tuple[str, ...], best: Isa) -> None:
    found = available(dict.fromkeys(features, True) | {"sse2": True, "sve": False})
    assert found[0] is best
    assert found[-1] is Isa.GENERIC


def test_one_can_be_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QBNNC_ISA", "Generic")
    assert chosen() is Isa.GENERIC


@pytest.mark.parametrize("name", ["mmx", "neon-dot avx2"])
def test_one_that_the_processor_lacks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QBNNC_ISA", name)
    with pytest.raises(UserError, match=f"QBNNC_ISA={name}: this CPU runs .*generic; take one"):
        chosen()


def test_numba_is_told_of_another_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """What numba compiles for decides, not what the machine has."""
    monkeypatch.setitem(vars(config), "CPU_NAME", "generic")
    monkeypatch.setitem(vars(config), "CPU_FEATURES", None)
    assert target_features() == {}
    monkeypatch.setitem(vars(config), "CPU_FEATURES", "+avx2,-avx512vl")
    assert target_features() == {"avx2": True, "avx512vl": False}


@pytest.mark.slow
@pytest.mark.parametrize("isa", available(target_features()))
def test_whole_networks(isa: Isa, tmp_path: Path) -> None:
    """Each instruction set of this machine in a process of its own, against the oracle."""
    files = [f"tests/runtime/test_{name}.py" for name in ("equality", "ops", "sampled", "winograd")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", *files],
        cwd=ROOT,
        env=os.environ | {"QBNNC_ISA": isa.value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
