"""The tokens of the text form of graphs, and errors that say where the text is wrong."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from math import isfinite
from typing import Final

from qbnnc.support.errors import FileError

_QUOTED: Final = r'"[^"\\\n]*(?:\\.[^"\\\n]*)*"'
_BARE: Final = r"[\w.$@/-]+"
_BLANK: Final = re.compile(r"(?:\s+|//[^\n]*)*+")  # between tokens, with comments
_TOKEN: Final = re.compile(rf"%?{_QUOTED}|%?{_BARE}|\.\.|#[^\n]*|\S")
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?(?![\w%])")
_TEXT: Final = re.compile(_QUOTED)
_NAME: Final = re.compile(rf"%(?:{_BARE}|{_QUOTED})")
_WORD: Final = re.compile(r"[A-Za-z_]\w*")
_PLACE: Final = re.compile(r"#[ \t]*([^\n]*)")
_MOST_SHOWN, _MOST_DIGITS = 40, 20


class TextError(FileError):
    """A text that is no graph. The place is a Position."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file: line and column begin at 1."""

    path: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


class Scanner:
    """Reads tokens from a text, in order; `at` is the offset of the next one."""

    def __init__(self, text: str, path: str) -> None:
        self._text, self._path = text, path
        self.at = 0
        self._skip_blank(0)

    @property
    def at_end(self) -> bool:
        """Whether no token is left."""
        return self.at == len(self._text)

    def sees(self, token: str) -> bool:
        """Whether the text goes on with exactly these characters."""
        return self._text.startswith(token, self.at)

    def takes(self, token: str) -> bool:
        """Whether the text goes on with these characters, which are then read."""
        if not self.sees(token):
            return False
        self._skip_blank(self.at + len(token))
        return True

    def expect(self, token: str) -> None:
        """Read these characters; TextError if the text goes on with others."""
        if not self.takes(token):
            raise self.unexpected(repr(token))

    def name(self) -> str:
        """Read the name of a value: %fc.weight, or %"any text"."""
        found = self._match(_NAME, "the name of a value, such as %fc")
        return self._unquoted(found[1:]) if found[1] == '"' else found[1:]

    def word(self, expected: str) -> str:
        """Read a word of letters, digits and underscores."""
        return self._match(_WORD, expected)

    def field(self) -> str | None:
        """Read "name=", the beginning of a field, or return None if there is none."""
        found = _WORD.match(self._text, self.at)
        if found is None or not self._text.startswith("=", found.end()):
            return None
        self._skip_blank(found.end() + 1)
        return found[0]

    def text(self) -> str:
        """Read a text in double quotes, with the escapes of JSON."""
        return self._unquoted(self._match(_TEXT, "a text in double quotes"))

    @property
    def sees_number(self) -> bool:
        """Whether the next token is a number."""
        return _NUMBER.match(self._text, self.at) is not None

    def number(self) -> int | float:
        """Read a finite number: an int unless it has a point or an exponent."""
        start = self.at
        found = self._match(_NUMBER, "a number")
        if set(found) & set(".eE"):
            if not isfinite(value := float(found)):
                raise self.error(f"the number {found[:_MOST_SHOWN]} is too large", start)
            return value
        if len(found) > _MOST_DIGITS:
            raise self.error(f"a whole number has {len(found)} digits, which are too many", start)
        return int(found)

    def whole(self) -> int:
        """Read a whole number."""
        start = self.at
        number = self.number()
        if not isinstance(number, int):
            raise self.error(f"expected a whole number, found {number}", start)
        return number

    def place(self) -> str | None:
        """Read what follows "#" to the end of the line, or return None if there is no "#"."""
        found = _PLACE.match(self._text, self.at)
        if found is None:
            return None
        self._skip_blank(found.end())
        return found[1].strip()

    def unexpected(self, expected: str) -> TextError:
        """The error for a next token that is not the expected one."""
        token = _TOKEN.match(self._text, self.at)
        found = "the end of the text" if token is None else repr(token[0][:_MOST_SHOWN])
        return self.error(f"expected {expected}, found {found}")

    def error(self, message: str, at: int | None = None) -> TextError:
        """An error at an offset of the text; by default at the next token."""
        at = self.at if at is None else at
        line = self._text.count("\n", 0, at) + 1
        column = at - self._text.rfind("\n", 0, at)
        return TextError(message, Position(self._path, line, column))

    def _match(self, pattern: re.Pattern[str], expected: str) -> str:
        found = pattern.match(self._text, self.at)
        if found is None:
            raise self.unexpected(expected)
        self._skip_blank(found.end())
        return found[0]

    def _unquoted(self, quoted: str) -> str:
        try:
            return str(json.loads(quoted))
        except ValueError:
            raise self.error(f"{quoted[:_MOST_SHOWN]} has an escape that JSON lacks") from None

    def _skip_blank(self, start: int) -> None:
        blank = _BLANK.match(self._text, start)
        assert blank is not None  # it matches nothing, too
        self.at = blank.end()
