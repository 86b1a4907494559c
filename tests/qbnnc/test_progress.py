"""The one progress display of all commands."""

from __future__ import annotations

import sys

import pytest

from qbnnc.cli.progress import ProgressLine

EMPTY = "\r" + " " * 79 + "\r"


def become_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)


def test_a_terminal_has_one_line_that_is_empty_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    become_terminal(monkeypatch)
    with ProgressLine() as line:
        line.counter("verifying")(3, 12)
        line.show("evaluating a.qbnn", 0, 0, "x" * 100)
    first, second, empty = capsys.readouterr().err.removeprefix("\r").split("\r", 2)
    assert first.rstrip() == "verifying [######------------------] 3/12"
    assert second.startswith("evaluating a.qbnn [------------------------] 0/0 xxx")
    assert {len(first), len(second)} == {79}
    assert "\r" + empty == EMPTY


def test_the_time_that_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    become_terminal(monkeypatch)
    clock = iter([0.0, 0.0, 10.0, 20.0, 20.0])
    monkeypatch.setattr("qbnnc.cli.progress.time.monotonic", lambda: next(clock))
    line = ProgressLine()
    line.show("sweeping", 100, 800)  # 100 were there before
    line.show("sweeping", 101, 800)  # in 10 seconds, so that 699 take 6990
    line.show("other", 5, 10)  # begins at 20 seconds
    said = capsys.readouterr().err
    assert "101/800 1:56:30 left" in said
    assert said.count("left") == 1


def test_quiet_draws_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    become_terminal(monkeypatch)
    with ProgressLine(quiet=True) as line:
        line.show("verifying", 1, 2)
    assert capsys.readouterr().err == ""


def test_a_pipe_gets_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressLine() as line:
        line.show("verifying", 1, 2)
    assert capsys.readouterr().err == ""
