"""C models on devices: the oracle's samples, bit for bit, under each compiler and emulator.

`make devices` installs what these tests need. A test is skipped by the name of what is missing.
Warnings are errors, and sanitizers stop a program.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from qbnnc.loading.writing import write_artefacts
from qbnnc.verification.c_program import run_test
from tests.devices.networks import (
    METHODS,
    SOME_WIDTHS,
    WIDTHS,
    drawn,
    mlps,
    random_models,
    standards,
)
from tests.devices.programs import check_equal, check_runs, run, text_of
from tests.strategies import Ops
from tools.devices.networks import STANDARD, standard
from tools.devices.targets import DEVICES, FUSED, HOST, STRICT, X86, Target

ROOT = Path(__file__).resolve().parents[2]
EVERY = HOST + DEVICES
every_target = pytest.mark.parametrize("target", EVERY, ids=lambda target: target.name)
devices = pytest.mark.parametrize("target", DEVICES, ids=lambda target: target.name)
hosts = pytest.mark.parametrize("target", HOST, ids=lambda target: target.name)
REFUSED = ("-ffast-math", "-ffinite-math-only", "-freciprocal-math", "-mfpmath=387")
ARM = "arm-none-eabi-gcc"
# Bytes of the demo's network on a Cortex-M4; its weights alone.
MOST_FLASH, WEIGHTS = 26_000, 20_424
OPTIMISED = ("-O2", "-Os", FUSED)


@pytest.mark.sample(6)
@pytest.mark.slow
@every_target
def test_a_sample_of_all(tmp_path: Path, target: Target) -> None:
    """One program: a method at each of some widths, and random graphs."""
    check_runs(target)
    models = random_models((0, 1))
    for method, width in zip(METHODS, SOME_WIDTHS[1:], strict=False):
        models |= mlps(method, [width])
    check_equal(tmp_path, target, models, fits=len(METHODS))


@pytest.mark.sample(5)
@pytest.mark.slow
@every_target
def test_noise_choices_and_masks_of_weights(tmp_path: Path, target: Target) -> None:
    """One program, or two: a network for each way to draw, and random graphs."""
    check_runs(target)
    models = drawn()
    check_equal(tmp_path, target, models | random_models((0, 1), "draws"), fits=len(models))


@pytest.mark.slow
@every_target
def test_another_seed_is_noticed(tmp_path: Path, target: Target) -> None:
    """The same program fails with a seed that is changed by one."""
    check_runs(target)
    (model,) = mlps("mcd", SOME_WIDTHS[1:2]).values()
    text = text_of(model, "net")
    changed, count = re.subn(r"(net_begin\(&state, x, )20261u", r"\g<1>20262u", text.test)
    assert count == 1
    status, said = run(tmp_path, target, [replace(text, test=changed)])
    assert status != 0
    assert re.match(r"net: [1-9]\d* of \d+ values differ, 0 statistics are far", said), said


@pytest.mark.nightly
@pytest.mark.parametrize("method", METHODS)
@hosts
def test_mlps_at_all_widths(tmp_path: Path, target: Target, method: str) -> None:
    check_runs(target)
    assert len(WIDTHS) == 49
    check_equal(tmp_path, target, mlps(method, WIDTHS))


@pytest.mark.nightly
@pytest.mark.parametrize("method", METHODS)
@devices
def test_mlps_at_some_widths(tmp_path: Path, target: Target, method: str) -> None:
    check_runs(target)
    options = OPTIMISED[list(METHODS).index(method) % len(OPTIMISED)]
    check_equal(tmp_path, target, mlps(method, SOME_WIDTHS), options)


@pytest.mark.nightly
@pytest.mark.parametrize("ops", ["all", "draws"])
@pytest.mark.parametrize("options", OPTIMISED)
@every_target
def test_random_graphs(tmp_path: Path, target: Target, options: str, ops: Ops) -> None:
    """The smallest board runs those of more graphs that fit."""
    check_runs(target)
    first, count, fits = 100 * OPTIMISED.index(options), 10, 5
    if target in HOST:
        count, fits, options = 20, 10, ""
    elif target.name == "cortex-m0":
        count = 40
    models = random_models(range(first, first + count), ops)
    check_equal(tmp_path, target, models, options, fits)


@pytest.mark.nightly
@pytest.mark.parametrize("bits", ["w8a7", "w4a4", "w2a2"])
@every_target
def test_standard_networks(tmp_path: Path, target: Target, bits: str) -> None:
    """The smallest board has memory for MLPs alone."""
    check_runs(target)
    names = ("mlp_mcd", "mlp_bbb") if target.name == "cortex-m0" else STANDARD
    check_equal(tmp_path, target, standards(names, bits))


@pytest.mark.parametrize("options", REFUSED)
@hosts
def test_options_that_change_bits_are_refused(tmp_path: Path, target: Target, options: str) -> None:
    """Floats of another width, and sums in another order, are errors of the compiler."""
    check_runs(target)
    if "clang" in target.compiler and options not in REFUSED[:2]:
        pytest.skip(f"{target.name} does not know {options}, or does not tell")
    if options == "-mfpmath=387" and not X86:
        pytest.skip("a CPU without x87")
    (model,) = mlps("mcd", SOME_WIDTHS[1:2]).values()
    text = text_of(model, "net")
    (tmp_path / "net.c").write_text(text.body)
    (tmp_path / "net.h").write_text(text.header)
    command = [*shlex.split(f"{target.compiler} {STRICT} {options}"), "-c", "net.c"]
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert built.returncode != 0
    assert re.search(r"error: .*(-ffast-math|-mfpmath=sse)", built.stderr), built.stderr


@pytest.mark.slow
@pytest.mark.skipif(shutil.which(ARM) is None, reason=f"needs {ARM}; `make devices` installs it")
def test_the_flash_of_the_demo(tmp_path: Path) -> None:
    """Functions leave out what no layer of the network needs: code and constants are few."""
    text = text_of(standard("lenet", "w8a7"), "net")
    (tmp_path / "net.c").write_text(text.body)
    (tmp_path / "net.h").write_text(text.header)
    command = [ARM, *"-std=c99 -O2 -mcpu=cortex-m4 -mthumb -c net.c".split()]
    subprocess.run(command, cwd=tmp_path, check=True)
    size = [ARM.replace("gcc", "size"), "net.o"]
    listed = subprocess.run(size, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    code, data = map(int, listed.splitlines()[1].split()[:2])
    assert WEIGHTS < code + data <= MOST_FLASH


@pytest.mark.slow
def test_the_command_of_the_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's `qbnnc verify` runs from the root of a clone, with the files that it names."""
    check_runs(next(target for target in DEVICES if target.name == "cortex-m4"))
    page = (ROOT / "docs" / "how-to" / "microcontroller.md").read_text()
    (command,) = re.findall(r"^qbnnc verify lenet.c .*?^```$", page, re.DOTALL | re.MULTILINE)
    words = shlex.split(command.removesuffix("```").replace("\\\n", ""))
    assert words[3::2] == ["--cc", "--run"]
    write_artefacts(standard("lenet", "w8a7"), [tmp_path / "lenet.c"])
    monkeypatch.chdir(ROOT)
    outcome = run_test(tmp_path / "lenet.c", words[4], words[6])
    assert outcome.equal, outcome.text
    assert outcome.text.startswith("lenet: 0 of ")
