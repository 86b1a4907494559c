"""A pytest plugin: every prediction of a test runs on memory between guard pages.

    python -m pytest -p tests.fenced --fence before tests/runtime

A kernel that touches a byte outside of arena, constants, input or output ends the process.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fences import Side, fences


def pytest_addoption(parser: pytest.Parser) -> None:
    """--fence: the side of the memory at which the guard page lies."""
    sides = [side.value for side in Side]
    parser.addoption("--fence", choices=sides, default=Side.AFTER.value, help="guard page at ...")


@pytest.fixture(scope="session", autouse=True)
def _fences(pytestconfig: pytest.Config) -> Iterator[None]:
    with fences(Side(pytestconfig.getoption("--fence"))):
        yield
