"""Names that have moved: the old module still gives them, with a warning."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Sequence


def moved(old: str, new: str, names: Sequence[str]) -> Callable[[str], object]:
    """A module's `__getattr__` that takes `names` from the module `new`, with a DeprecationWarning.

    Other names raise AttributeError, as they do in any module (PEP 562).
    """

    def get(name: str) -> object:
        if name not in names:
            raise AttributeError(f"module {old!r} has no attribute {name!r}")
        warnings.warn(f"{old}.{name} is now {new}.{name}", DeprecationWarning, stacklevel=2)
        return getattr(importlib.import_module(new), name)

    return get
