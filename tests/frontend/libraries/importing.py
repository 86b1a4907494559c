"""Libraries of Bayesian layers, imported without the heavy packages that they depend on."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

import pytest


def library(
    name: str,
    *,
    distribution: str,
    bare: Sequence[str] = (),
    unused: Sequence[str] = (),
) -> ModuleType:
    """The module `name`; the test is skipped, by the name of `distribution`, if there is none.

    The packages `bare` are entered without their __init__, which imports what the layers do not
    need. The modules `unused` are imported by `name` and called by nothing that is tested.
    """
    top = name.partition(".")[0]
    if importlib.util.find_spec(top) is None:
        pytest.skip(f"{distribution} is not installed")
    with warnings.catch_warnings(), _without_init(bare), _absent(unused):
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


@contextmanager
def _without_init(packages: Sequence[str]) -> Iterator[None]:
    """Empty packages with the right path; what is imported from them stays imported."""
    for name in packages:
        if name not in sys.modules:
            parent, _, child = name.rpartition(".")
            folders = sys.modules[parent].__path__ if parent else sys.path
            found = importlib.machinery.PathFinder.find_spec(name, list(folders))
            assert found is not None, name
            module = ModuleType(name)
            module.__spec__ = found
            module.__path__ = list(found.submodule_search_locations or ())
            sys.modules[name] = module
            if parent:
                setattr(sys.modules[parent], child, module)
    yield


@contextmanager
def _absent(modules: Sequence[str]) -> Iterator[None]:
    """Modules that have every name, each of which is an empty class."""
    added = [name for name in modules if name not in sys.modules]
    for name in added:
        sys.modules[name] = _Empty(name)
    try:
        yield
    finally:
        for name in added:
            del sys.modules[name]


class _Empty(ModuleType):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__ = list[str]()

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})
