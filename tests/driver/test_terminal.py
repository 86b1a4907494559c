"""What every command has in common on a terminal: Ctrl-C, and lines of 80 columns."""

from __future__ import annotations

import importlib

import pytest

from qbnnc.cli.main import COMMANDS
from tests.driver.commands import Result, Runner


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_is_one_line(
    qbnnc_command: Runner, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    module = importlib.import_module(f"qbnnc.cli.{name}")
    monkeypatch.setattr(module.command, "parse_args", interrupted)
    assert qbnnc_command(name) == Result(130, "", "interrupted\n")
