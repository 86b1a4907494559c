"""HTML as text: what is escaped, tables, lists of terms."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence


def escaped(text: str) -> str:
    """Text for content and attributes: names of users are never markup.

    Control characters become " ", and lone surrogates "?", as HTML cannot hold them.

    >>> escaped('<script>"a"\\x00')
    '&lt;script&gt;&quot;a&quot; '
    """
    spaced = "".join(c if c.isprintable() else " " for c in text)
    return html.escape(spaced.encode("utf-8", "replace").decode())


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in a box of its own that scrolls; a row's first cell names it.

    Cells are markup already; the caption and the header are text.
    """
    heads = "".join(f'<th scope="col">{escaped(text)}</th>' for text in header)
    lines = "\n".join(
        f'<tr><th scope="row">{row[0]}</th>{"".join(f"<td>{cell}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    label = escaped(caption)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">\n<table>'
        f"<caption><span>{label}</span></caption>\n<thead><tr>{heads}</tr></thead>\n"
        f"<tbody>\n{lines}\n</tbody></table>\n</div>\n"
    )


def terms(descriptions: Mapping[str, str]) -> str:
    """Terms and their descriptions, both text; a term without one is left out."""
    items = "\n".join(
        f"<dt>{escaped(term)}</dt><dd>{escaped(text)}</dd>"
        for term, text in descriptions.items()
        if text
    )
    return f"<dl>\n{items}\n</dl>\n"


def section(id: str, heading: str, content: str) -> str:
    """A part of the page that its contents link to; `content` is markup."""
    return f'<section id="{id}">\n<h2>{escaped(heading)}</h2>\n{content}</section>\n'
