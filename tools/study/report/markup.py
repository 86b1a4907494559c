"""HTML that cannot be written unescaped: text is escaped, only `Markup` is not."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

_VOID: Final = frozenset({"meta", "br"})


@dataclass(frozen=True, slots=True)
class Markup:
    """Text that is HTML already."""

    text: str


Content: TypeAlias = str | Markup


def element(tag: str, *children: Content, **attributes: str) -> Markup:
    """<tag attribute="...">children</tag>; `_` is written `-`, a `_` at the end is left out.

    >>> element("p", "a < b", class_="note").text
    '<p class="note">a &lt; b</p>'
    """
    names = (name.rstrip("_").replace("_", "-") for name in attributes)
    pairs = zip(names, attributes.values(), strict=True)
    opening = " ".join([tag, *(f'{name}="{escape(value)}"' for name, value in pairs)])
    if tag in _VOID:
        return Markup(f"<{opening}>")
    return Markup(f"<{opening}>{join(children).text}</{tag}>")


def join(children: Iterable[Content], separator: str = "") -> Markup:
    """All of them in a row, text escaped."""
    texts = (child.text if isinstance(child, Markup) else escape(child) for child in children)
    return Markup(separator.join(texts))


def escape(text: str) -> str:
    """Text that stands for itself in HTML; what no file can hold becomes a question mark."""
    return html.escape(printable(text), quote=True)


def printable(text: str) -> str:
    """Text without control characters (a space each) and without lone surrogates ("?")."""
    spaced = "".join(c if c.isprintable() or c == "\n" else _substitute(c) for c in text)
    return spaced.encode("utf-8", "replace").decode()


def _substitute(character: str) -> str:
    return " " if ord(character) < 0xA0 else character
