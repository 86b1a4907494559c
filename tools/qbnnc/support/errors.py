"""Errors that a user can mend, as fields, and places in the user's model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Loc:
    """The place in the user's model that a node comes from.

    `module` is the path of the module ("features.3.bn"), `source` the line ("net.py:42") if known.
    """

    module: str
    source: str = ""

    def __str__(self) -> str:
        return f"{self.module} ({self.source})" if self.source else self.module


class UserError(Exception):
    """Something the user can mend: `place`, `message` and `remedy`, joined when shown.

    The place says where the fault is: a file, a module, an option, an array. The message says what
    is wrong, the remedy what to do. A field names an option by its Python name in backquotes, alone
    or with a value: `samples`, `task='raw'`. The command line shows its own spelling instead.

    >>> str(UserError("no rows", place="the input", remedy="give one or more"))
    'the input: no rows; give one or more'
    """

    def __init__(self, message: str, place: object = "", remedy: str = "") -> None:
        super().__init__(message, place, remedy)  # the arguments that copying and pickling repeat
        self.message = message
        self.place = place
        self.remedy = remedy

    def __str__(self) -> str:
        where = f"{self.place}: " if str(self.place) else ""
        return f"{where}{self.message}" + (f"; {self.remedy}" if self.remedy else "")

    def at(self, place: object) -> Self:
        """The same error at another place."""
        return type(self)(self.message, place, self.remedy)

    def within(self, place: object) -> Self:
        """The same error at its own place within another, which is shown first."""
        return self.at(f"{place}: {self.place}" if str(self.place) else place)


class CompileError(UserError):
    """A model that cannot be compiled; the place is a Loc in the user's model, or a name."""

    def __init__(self, message: str, place: object, remedy: str = "") -> None:
        super().__init__(message, place, remedy)


class FileError(UserError):
    """A file that is missing, damaged, of the wrong kind, or cannot be written.

    The place is its path.
    """

    def __init__(self, message: str, place: object, remedy: str = "") -> None:
        super().__init__(message, place, remedy)


class InputError(UserError):
    """Data that does not fit the model: shape, type, NaN."""


class ArtefactWarning(UserWarning):
    """Something that a compiled file cannot promise."""


class RoundingWarning(UserWarning):
    """A layer whose integers are less good than they could be."""


class SpreadWarning(UserWarning):
    """Uncertainties that few bits make larger or smaller than those of the float network."""


class SourceWarning(UserWarning):
    """A change to a network on the way in that its user should know of."""
