"""The display while kernels are compiled, on a terminal and elsewhere."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qbnnc.cli.progress import shown_log
from qbnnc.runtime.cache import Progress, kernels
from qbnnc.runtime.cache_folder import store
from qbnnc.runtime.isa import chosen

LOG = logging.getLogger("qbnnc")
WARM_UP = [sys.executable, "-c", "from qbnnc.cli.main import main; main()", "warmup"]


def log_a_build() -> None:
    """Log as the runtime does for two kernels."""
    LOG.info("compiling 2 kernels", extra={"compiling": Progress(0, 2, "")})
    LOG.debug("compiling one", extra={"compiling": Progress(0, 2, "one")})
    LOG.debug("compiling two", extra={"compiling": Progress(1, 2, "two")})
    LOG.info("compiled 2 kernels", extra={"compiling": Progress(2, 2, "")})


def test_a_terminal_shows_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with shown_log():
        log_a_build()
    empty, half = "-" * 24, "#" * 12 + "-" * 12
    lines = [line.rstrip() for line in capsys.readouterr().err.split("\r")]
    assert lines == [
        "",
        f"compiling kernels, once [{empty}] 0/2",
        f"compiling kernels, once [{empty}] 0/2 one",
        f"compiling kernels, once [{half}] 1/2 two",
        "",
        "compiled 2 kernels",
    ]


def test_elsewhere_one_line_says_it(capsys: pytest.CaptureFixture[str]) -> None:
    with shown_log():
        log_a_build()
        LOG.info("of something else")
    assert capsys.readouterr().err == "compiling 2 kernels\ncompiled 2 kernels\n"


def test_warnings_are_sentences_and_the_log_is_left_as_it_was(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = LOG.level, list(LOG.handlers)
    with shown_log():
        LOG.warning("kernels cannot be kept: %s", "why")
    assert capsys.readouterr().err == "Warning: kernels cannot be kept: why\n"
    assert (LOG.level, LOG.handlers) == before
    LOG.warning("not shown")
    assert capsys.readouterr().err == ""


def test_the_library_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """The logger has a handler that does nothing, or Python would print warnings."""
    assert any(isinstance(handler, logging.NullHandler) for handler in LOG.handlers)
    log_a_build()
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")
def test_warmup_of_one_missing_kernel(tmp_path: Path) -> None:
    """On a terminal, then elsewhere, then quietly, then with all kernels there."""
    import pty

    kernels()
    folder = store().folder
    if folder is None:
        pytest.skip("this process has no cache")
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy, copy_function=shutil.copy)
    kernel = copy / f"{chosen().value}-load"
    environment = os.environ | {"QBNNC_CACHE_DIR": str(tmp_path)}

    kernel.unlink()
    ours, theirs = pty.openpty()
    done = subprocess.run(WARM_UP, env=environment, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    shown = os.read(ours, 10_000).decode()
    os.close(ours)
    assert done.returncode == 0
    assert done.stdout.startswith(f"compiled 1 kernel for {chosen().value} in ".encode())
    assert "compiling kernels, once [" in shown
    assert "] 0/1 load" in shown

    for options, lines in (([], 2), (["-q"], 0)):
        kernel.unlink()
        quiet = subprocess.run(
            [*WARM_UP, *options], env=environment, capture_output=True, text=True
        )
        assert quiet.returncode == 0
        assert quiet.stderr.count("\n") == lines
        assert bool(quiet.stdout) is (not options)
    found = subprocess.run(WARM_UP, env=environment, capture_output=True, text=True)
    assert found.stdout.startswith(f"found all kernels for {chosen().value} in ")
    assert found.stderr == ""
