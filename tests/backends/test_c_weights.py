"""Large constants of C: text, or bytes that the assembler includes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from qbnnc.backends.c import Source, golden_program, to_c
from qbnnc.ir.model import Model
from tests.backends.test_c import CHECKED, CHECKERS, COMPILERS, STRICT, bayesian, compiled
from tests.graphs import lenet

needs_compiler = pytest.mark.skipif(not CHECKERS, reason="needs gcc or clang with sanitizers")
needs_arm = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None, reason="needs arm-none-eabi-gcc"
)
needs_objdump = pytest.mark.skipif(shutil.which("objdump") is None, reason="needs objdump")


@pytest.fixture(scope="module")
def model() -> Model:
    return compiled(lenet(), "w8a7")


def written(folder: Path, model: Model, *, blob: bool | None = True) -> Source:
    source = to_c(model, "net", blob=blob)
    (folder / "net.c").write_text(source.body)
    (folder / "net.h").write_text(source.header)
    (folder / "net_test.c").write_text(golden_program(model, "net"))
    if source.blob is not None:
        (folder / "net_weights.S").write_text(source.blob.assembly)
        (folder / "net_weights.bin").write_bytes(source.blob.data)
    return source


def run(folder: Path, *command: object) -> str:
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_compiler
@pytest.mark.parametrize("cc", COMPILERS)
def test_the_same_samples(tmp_path: Path, model: Model, cc: str) -> None:
    written(tmp_path, model)
    flags = CHECKED if cc in CHECKERS else ["-O1"]
    files = ("net.c", "net_test.c", "net_weights.S")
    run(tmp_path, cc, *STRICT, *flags, "-I.", "-o", "net", *files)
    assert ": 0 of" in run(tmp_path, tmp_path / "net")


@needs_compiler
def test_other_bytes_are_noticed(tmp_path: Path, model: Model) -> None:
    source = written(tmp_path, model)
    assert source.blob is not None
    (tmp_path / "net_weights.bin").write_bytes(bytes(len(source.blob.data)))
    run(tmp_path, COMPILERS[0], "-I.", "-o", "net", "net.c", "net_test.c", "net_weights.S")
    assert subprocess.run([tmp_path / "net"], capture_output=True, check=False).returncode == 1


def test_a_blob_of_nothing_is_none() -> None:
    """No array of this network is large."""
    source = to_c(compiled(bayesian(), "w8a7"), "net", blob=True)
    assert source.blob is None
    assert not source.costs.blob


def test_the_blob_holds_bytes_alone(model: Model) -> None:
    source = to_c(model, "net", blob=True)
    declared = re.findall(r"extern const (\w+) net_data_\d+\[(\d+)\];", source.body)
    assert declared
    assert {ctype for ctype, _ in declared} <= {"int8_t", "uint8_t"}
    assert source.blob is not None
    places = re.findall(r'\.incbin "net_weights.bin", (\d+), (\d+)', source.blob.assembly)
    assert [size for _, size in places] == [size for _, size in declared]
    assert all(int(offset) % 16 == 0 for offset, _ in places)
    last, size = map(int, places[-1])
    assert len(source.blob.data) == last + size


def test_text_up_to_the_limit(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    source = to_c(model, "net")
    assert source.blob is None
    monkeypatch.setattr("qbnnc.backends.c.source.MOST_TEXT", source.constants)
    assert to_c(model, "net").blob is None
    monkeypatch.setattr("qbnnc.backends.c.source.MOST_TEXT", source.constants - 1)
    assert to_c(model, "net").blob is not None
    assert to_c(model, "net", blob=False).blob is None


@needs_arm
def test_a_cross_assembler(tmp_path: Path, model: Model) -> None:
    source = written(tmp_path, model)
    arm = ("arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb")
    run(tmp_path, *arm, "-I.", "-c", "net_weights.S")
    listed = run(tmp_path, "arm-none-eabi-nm", "-S", "net_weights.o")
    declared = re.findall(r"extern const \w+ (net_data_\d+)\[(\d+)\];", source.body)
    sizes = {words[3]: int(words[1], 16) for words in map(str.split, listed.splitlines())}
    assert sizes == {name: int(size) for name, size in declared}


@needs_objdump
@needs_compiler
def test_sections_on_request(tmp_path: Path, model: Model) -> None:
    """QBNNC_DATA, QBNNC_PART and QBNNC_SECTION put all constants into sections of their own."""
    written(tmp_path, model)
    static = 'static const __attribute__((section("%s")))'
    defined = [f"-DQBNNC_{what}={static % where}" for what, where in PLACES.items()]
    run(tmp_path, COMPILERS[0], *defined, "-fno-pie", "-c", "net.c")
    run(tmp_path, COMPILERS[0], "-DQBNNC_SECTION=.blob", "-I.", "-c", "net_weights.S")
    sections = run(tmp_path, "objdump", "-h", "net.o") + run(
        tmp_path, "objdump", "-h", "net_weights.o"
    )
    for name in (*PLACES.values(), ".blob"):
        assert re.search(rf" {re.escape(name)} +[0-9a-f]*[1-9a-f]", sections), name


PLACES = {"DATA": ".weights", "PART": ".records"}
