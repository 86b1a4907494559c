"""The NEON tiles against numpy, run under qemu as a processor with dotprod and without i8mm."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from qbnnc.runtime.isa import Isa
from qbnnc.runtime.kernels.microkernel import Shape
from tests.runtime.tiles import CHANNEL, HIGH, LOW, SHAPES, ZERO, Case, object_code, random_case

TRIPLE = "aarch64-unknown-linux-gnu"
CPU = "cortex-a76"
TILES = {f"tile_{shape}": shape for shape in [*SHAPES, Shape(4, 2), Shape(4, 2, wide=True)]}
MAIN = """
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef int64_t i64;
typedef void Tile(i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, int32_t, float, float);
extern Tile TILES;
static Tile *const tiles[] = {TILES};

static i64 get(size_t size)
{
    void *bytes = malloc(size);
    if (!bytes || fread(bytes, 1, size, stdin) != size)
        exit(2);
    return (i64)bytes;
}

int main(void)
{
    struct { i64 tile, rows, channels, segments, fours, size, channel, zero, low, high; } c;
    while (fread(&c, sizeof c, 1, stdin) == 1) {
        i64 arena = get(c.size), x = get(8 * c.rows), runs = get(4 * c.segments);
        i64 weights = get(4 * c.segments * c.fours * c.channels), bias = get(4 * c.channels);
        i64 factor = get(4 * c.channels), out = get(8 * c.rows);
        tiles[c.tile](arena, x, runs, c.segments, c.fours, weights, bias, factor, out, c.channel,
                      c.zero, c.low, c.high);
        fwrite((void *)arena, 1, c.size, stdout);
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def emulator() -> str:
    found = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if found is None:
        pytest.skip("no qemu-aarch64")
    known = subprocess.run([found, "-cpu", "help"], capture_output=True, text=True, check=False)
    if CPU not in known.stdout:
        pytest.skip(f"a qemu-aarch64 that does not know {CPU}")
    return found


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cases on stdin, the arenas after them on stdout."""
    compiler = shutil.which("aarch64-linux-gnu-gcc")
    if compiler is None:
        pytest.skip("no aarch64-linux-gnu-gcc")
    folder = tmp_path_factory.mktemp("neon")
    (folder / "main.c").write_text(MAIN)
    (folder / "tiles.o").write_bytes(object_code(Isa.NEON_DOT, TILES, TRIPLE))
    made = folder / "tiles"
    command = [compiler, "-O1", "-static", f"-DTILES={','.join(TILES)}", "main.c", "tiles.o"]
    subprocess.run([*command, "-o", made], cwd=folder, check=True)
    return made


def as_bytes(case: Case) -> bytes:
    shape, (segments, fours) = case.shape, case.weights.shape[:2]
    number = list(TILES.values()).index(shape)
    header = [number, shape.rows, shape.channels, segments, fours, case.arena.size]
    arrays = (case.arena, case.x, case.runs, case.weights, case.bias, case.factor, case.out)
    parts = [np.array([*header, CHANNEL, ZERO, LOW, HIGH], np.int64), *arrays]
    return b"".join(part.tobytes() for part in parts)


def test_tiles(emulator: str, program: Path) -> None:
    rng = np.random.default_rng(0)
    cases = [
        random_case(rng, shape, *rng.integers(1, (6, 10)).tolist(), extreme=extreme)
        for shape in TILES.values()
        for extreme in [False, True] * 10
    ]
    done = subprocess.run(
        [emulator, "-cpu", CPU, program],
        input=b"".join(map(as_bytes, cases)),
        capture_output=True,
        check=True,
    )
    arenas = np.frombuffer(done.stdout, np.uint8).reshape(len(cases), -1)
    for case, arena in zip(cases, arenas, strict=True):
        assert np.array_equal(arena, case.expected()), case.shape
