"""What may go wrong for a user, and where in their model it did."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Loc:
    """Where in the user's model a node comes from.

    `module` is the path of the module ("features.3.bn"), `source` the line ("net.py:42") if known.
    """

    module: str
    source: str = ""

    def __str__(self) -> str:
        return f"{self.module} ({self.source})" if self.source else self.module


class UserError(Exception):
    """Something the user can mend. The text says where, what is wrong, and what to do."""


class CompileError(UserError):
    """A model that cannot be compiled; begins with the place in the user's model."""

    def __init__(self, message: str, loc: Loc | str) -> None:
        super().__init__(f"{loc}: {message}")
        self.loc = loc


class FileError(UserError):
    """A file that is missing, damaged, of the wrong kind, or cannot be written."""

    def __init__(self, message: str, path: object) -> None:
        super().__init__(f"{path}: {message}")


class InputError(UserError):
    """Data that does not fit the model: shape, type, NaN."""


class ArtefactWarning(UserWarning):
    """What a compiled file cannot promise."""


class RoundingWarning(UserWarning):
    """A layer whose integers are less good than they could be."""


class SourceWarning(UserWarning):
    """What was done to a network on the way in that its user should know."""
