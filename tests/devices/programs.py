"""Programs that hold C models against the oracle: many models in one, built and started once."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from qbnnc.backends.c import golden_program, to_c
from qbnnc.ir.model import Model
from tools.devices.targets import STRICT, Target

# Of a program without models: the C library, its buffers, and the stack.
_PROGRAM_FLASH, _PROGRAM_RAM = 64 << 10, 8 << 10
_CODE = 16 << 10  # of one model


@dataclass(frozen=True, slots=True)
class Text:
    """A model as C, its test, and the most bytes that both take."""

    name: str
    body: str
    header: str
    test: str
    flash: int
    ram: int


def text_of(model: Model, name: str, ram: int | None = None) -> Text:
    """Write a model and its test, whose `main` is called NAME_main."""
    source, golden = to_c(model, name, ram), golden_program(model, name)
    test = golden.replace("int main(void)", f"int {name}_main(void);\nint {name}_main(void)")
    inputs, outputs = model.graph.input.type.size, sum(v.type.size for v in model.graph.outputs)
    state = source.memory + 4 * (3 * inputs + 40 * outputs)
    flash = _CODE + source.constants + golden.count(",") * 4
    return Text(name, source.body, source.header, test, flash, state)


def check_runs(target: Target) -> None:
    """Skip a test, by the name of what this machine does not have."""
    if trouble := _trouble(target):
        pytest.skip(f"{target.name} {trouble}; `make devices` installs what Debian has")


@cache
def _trouble(target: Target) -> str:
    return target.trouble


def check_equal(
    folder: Path, target: Target, models: Mapping[str, Model], options: str = "", fits: int = 0
) -> None:
    """Expect the oracle's bits of every model that fits the target, and no warning.

    At least `fits` models must fit; all if it is 0.
    """
    texts = [text_of(model, name) for name, model in models.items()]
    ours = [text for text in texts if _fits(target, [text])]
    assert len(ours) >= (fits or len(texts)), [text.name for text in texts if text not in ours]
    for number, some in enumerate(_programs(target, ours)):
        place = folder / str(number)
        place.mkdir(parents=True)
        status, said = run(place, target, some, options)
        lines = said.splitlines()
        for text in some:
            mine = [line for line in lines if line.startswith(f"{text.name}: 0 of ")]
            assert len(mine) == 1, f"{target.name}, {text.name}, {place}: {said}"
            assert mine[0].endswith(" 0 statistics are far, 0 answers are wrong"), said
        assert (status, len(lines)) == (0, len(some)), said


def run(folder: Path, target: Target, texts: Iterable[Text], options: str = "") -> tuple[int, str]:
    """Build and start one program; return its exit status and what it printed."""
    texts, sources = list(texts), ["main.c"]
    for text in texts:
        files = {f"{text.name}.c": text.body, f"{text.name}_test.c": text.test}
        sources += files
        for name, content in (files | {f"{text.name}.h": text.header}).items():
            (folder / name).write_text(content)
    (folder / "main.c").write_text(_main(texts))
    command = target.command(f"{STRICT} {options}", folder / "program", sources)
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert built.returncode == 0, f"{shlex.join(command)}\n{built.stderr}"
    # The addresses that a sanitizer wants may be taken; it says so, and nothing was tested.
    made = subprocess.run(
        [*shlex.split(target.runner), folder / "program"],
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},
    )
    return made.returncode, made.stdout + made.stderr


def _main(texts: list[Text]) -> str:
    declared = "\n".join(f"int {text.name}_main(void);" for text in texts)
    called = "\n".join(f"  failed += {text.name}_main();" for text in texts)
    return f"""{declared}

int main(void) {{
  int failed = 0;
{called}
  return failed != 0;
}}
"""


def _fits(target: Target, texts: list[Text]) -> bool:
    flash = _PROGRAM_FLASH + sum(text.flash for text in texts)
    ram = _PROGRAM_RAM + sum(text.ram for text in texts)
    return flash <= target.flash and ram <= target.ram


def _programs(target: Target, texts: list[Text]) -> Iterator[list[Text]]:
    """Put as many models into each program as fit."""
    program = list[Text]()
    for text in texts:
        if program and not _fits(target, [*program, text]):
            yield program
            program = []
        program.append(text)
    if program:
        yield program
