"""docs/how-to/serving.md: its Python runs, and its commands have the options that they name."""

import re
from pathlib import Path

import pytest

from qbnnc.cli.compile import command
from qbnnc.ir import format
from tests.runtime.nets import images, lenet

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "serving.md").read_text(encoding="utf-8")


def test_the_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = lenet()
    (tmp_path / "model.qbnn").write_bytes(format.to_bytes(model))
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        exec(block, {"x": images(model, 4)})


def test_the_options_exist() -> None:
    (line,) = re.findall(r"^    qbnnc compile (.*)$", PAGE, re.MULTILINE)
    known = {name for parameter in command.params for name in parameter.opts}
    asked = set(re.findall(r"--[a-z-]+", line))
    assert {"--row-ids", "--default-seed"} <= asked <= known
