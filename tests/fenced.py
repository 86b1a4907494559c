"""A pytest plugin: every prediction of a test runs on memory between guard pages.

    python -m pytest -p tests.fenced --fence before tests/runtime

A kernel that touches a byte outside of arena, constants, input or output ends the process.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.guard_pages import Side, fences

_OF_THE_ARENA = {  # fences take the place of what these test
    "test_arenas_are_not_shared": "fenced arenas are used once",
    "test_no_memory_is_told": "fenced arenas are not allocated by the runtime",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """--fence: the side of the memory at which the guard page lies."""
    sides = [side.value for side in Side]
    parser.addoption("--fence", choices=sides, default=Side.AFTER.value, help="guard page at ...")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of how arenas are allocated have nothing to test here."""
    for item in items:
        if (reason := _OF_THE_ARENA.get(item.name)) is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session", autouse=True)
def _fences(pytestconfig: pytest.Config) -> Iterator[None]:
    with fences(Side(pytestconfig.getoption("--fence"))):
        yield
