"""The costs of C models on a microcontroller: the table of docs/how-to/microcontroller.md.

    python -m tools.bench.devices -o docs/how-to/microcontroller.md [--networks lenet ...]
        [--device cortex-m4] [--samples 1 5 20 50]

qemu counts instructions (-icount shift=0), which are not cycles. A figure is one `NAME_predict`,
statistics included. The stack is painted before a prediction, and what it has overwritten is its
stack. Counts are exact: the same sources and compiler give the same table.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from qbnnc.backends.c import Source, to_c
from qbnnc.backends.c.program import real
from qbnnc.backends.c.scope import Form
from qbnnc.backends.c.vectors import drawn_rows
from qbnnc.ir.model import Model
from qbnnc.ir.ops import KeepMask
from qbnnc.support.files import write_atomically
from tools.bench.page import line
from tools.devices.networks import STANDARD, standard
from tools.devices.targets import BOARDS, Target

MARK = "<!-- devices -->"
BITS, OPTIONS = "w8a7", "-std=c99"
# The values' bytes that `--ram` gives, by network; None is the compiler's default.
MEMORIES: dict[str, Sequence[int | None]] = {
    "lenet": (64 << 10, None, 5 << 10),
    "lenet5": (320 << 10, None),
    "mlp_mcd": (None,),
    "mlp_bbb": (None,),
    "resnet18": (None, 48 << 10),
}


@dataclass(frozen=True, slots=True)
class Cost:
    """One model on a device: bytes of memory, and instructions by number of samples."""

    network: str
    ram: int | None
    source: Source
    masked: bool
    state: int
    stack: int
    flash: int
    instructions: dict[int, float]

    @property
    def cells(self) -> list[str]:
        forms = sorted({form.name.lower() for form in self.source.forms.values()})
        if not forms and self.masked:
            forms = [Form.DIRECT.name.lower()]
        given = "-" if self.ram is None else f"{self.ram >> 10}k"
        bytes_ = [f"{count:,}" for count in (self.state, self.stack, self.flash)]
        counts = [f"{count / 1e6:.3g}" for count in self.instructions.values()]
        return [STANDARD[self.network], given, ", ".join(forms) or "-", *bytes_, *counts]


def measure(device: Target, network: str, ram: int | None, samples: Sequence[int]) -> Cost:
    """Build a model for a device, and count."""
    model = standard(network, BITS)
    source = to_c(model, network, ram)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / f"{network}.c").write_text(source.body)
        (folder / f"{network}.h").write_text(source.header)
        (folder / "main.c").write_text(_program(model, network, samples))
        compiler = shlex.split(device.compiler)[0]
        flags = shlex.split(f"{device.compiler} {OPTIONS}")
        flags = [flag for flag in flags if not flag.endswith(".c")]
        _run([*flags, "-c", f"{network}.c"], folder)
        _run(device.command(OPTIONS, folder / "program", [f"{network}.o", "main.c"]), folder)
        size = _run([compiler.replace("gcc", "size"), f"{network}.o"], folder)
        qemu, *rest = shlex.split(device.runner)
        said = _run([qemu, "-icount", "shift=0", *rest, "program"], folder)
    text, data = size.splitlines()[1].split()[:2]
    found = {key: float(value) for key, value in map(str.split, said.splitlines())}
    return Cost(
        network,
        ram,
        source,
        any(isinstance(node.op, KeepMask) for node in model.graph.nodes),
        int(found["state"]),
        int(found["stack"]),
        int(text) + int(data),
        {count: found[str(count)] for count in samples},
    )


def _program(model: Model, name: str, samples: Sequence[int]) -> str:
    row = ", ".join(real(value) for value in drawn_rows(model.graph, 1).ravel().tolist())
    counts = ", ".join(map(str, samples))
    return f"""#include "{name}.h"

#include <stdio.h>

#define PAINTED 16384 /* bytes */
#define PAINT 0x5AA5F00Du

double instructions(void);
static {name}_state state;
static {name}_prediction prediction;
static const float row[{name.upper()}_INPUTS] = {{{row}}};
static const uint32_t counts[] = {{{counts}}};

static __attribute__((noinline)) uint32_t stack_of_one(void) {{
  uint32_t top, at;
  __asm volatile("mov %0, sp" : "=r"(top));
  for (at = top - PAINTED; at < top; at += 4) *(volatile uint32_t *)at = PAINT;
  {name}_predict(&state, row, 7u, 0u, 1u, &prediction);
  for (at = top - PAINTED; *(volatile uint32_t *)at == PAINT;) at += 4;
  return top - at;
}}

int main(void) {{
  uint32_t i;
  printf("state %u\\n", (unsigned)sizeof state);
  printf("stack %u\\n", (unsigned)stack_of_one());
  for (i = 0; i < sizeof counts / sizeof counts[0]; i++) {{
    const double before = instructions();
    const int error = {name}_predict(&state, row, 7u, 0u, counts[i], &prediction);
    const double after = instructions();
    if (error != {name.upper()}_OK) return 1;
    printf("%u %.0f\\n", (unsigned)counts[i], after - before);
  }}
  return 0;
}}
"""


def _run(command: Sequence[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def _tools(device: Target) -> str:
    """The compiler and the emulator with their versions."""
    compiler, qemu = (shlex.split(c)[0] for c in (device.compiler, device.runner))
    first = [_run([tool, "--version"], Path()).splitlines()[0] for tool in (compiler, qemu)]
    return f"{device.name}: {first[0]}, -O2; {first[1]}."


def lines(device: Target, networks: Sequence[str], samples: Sequence[int]) -> Iterator[str]:
    """Yield the lines of the table, as they are measured."""
    counts = [f"L = {count}, M" for count in samples]
    header = ["network", "`--ram`", "forms", "state", "stack", "flash", *counts]
    yield from (_tools(device), "", line(header), "|---" * len(header) + "|")
    for network in networks:
        for ram in MEMORIES[network]:
            yield line(measure(device, network, ram, samples).cells)


def main() -> None:
    """Measure every network, and put the table between the page's marks."""
    boards = {board.name: board for board in BOARDS}
    parser = argparse.ArgumentParser(description="What C models cost a microcontroller.")
    parser.add_argument("--device", choices=boards, default="cortex-m4")
    parser.add_argument("--networks", nargs="+", choices=MEMORIES, default=list(MEMORIES))
    parser.add_argument("--samples", nargs="+", type=int, default=[1, 5, 20, 50])
    parser.add_argument("-o", "--output", type=Path, help="a page with two marks for the table")
    options = parser.parse_args()
    page: Path | None = options.output
    parts = [] if page is None else page.read_text().split(MARK)
    if page is not None and len(parts) != 3:
        raise SystemExit(f"{page}: has no two marks {MARK}; write them where the table goes")
    made = []
    for text in lines(boards[options.device], options.networks, options.samples):
        print(text, flush=True)
        made.append(text)
    if page is not None:
        table = "\n".join(made)
        write_atomically(page, f"{parts[0]}{MARK}\n{table}\n{MARK}{parts[2]}".encode())


if __name__ == "__main__":
    main()
