"""State that was saved of a library's object, loaded into one that a factory builds."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, cast

from qbnnc.frontend.objects.structure import name_of
from qbnnc.frontend.torch_messages import first_line
from qbnnc.support.errors import FileError


class _Loads(Protocol):
    def load_state_dict(self, state: object) -> object: ...


def load_state(source: object, state: object, path: Path) -> None:
    """Load what a file holds, as the object's own load_state_dict takes it.

    Of (model, guide) it is the guide's. FileError: the object loads nothing, or not this.
    """
    holder = source[1] if isinstance(source, tuple) else source
    if not hasattr(holder, "load_state_dict"):
        raise FileError(
            f"the factory returns a {name_of(holder)}, which loads no file",
            path,
            remedy="compile it in Python: qbnnc.compile(object, ..., calibration=x)",
        )
    try:
        cast(_Loads, holder).load_state_dict(state)
    except Exception as error:  # whatever the library raises for a state that does not fit
        raise FileError(
            f"does not fit the {name_of(holder)} of `model` ({first_line(error)})",
            path,
            remedy="save the object's own state_dict(), and build it as it was fitted",
        ) from error
