"""A report as a browser reads it: its texts, links, tables and drawings."""

from __future__ import annotations

import re
from base64 import b64decode
from collections import Counter
from html.parser import HTMLParser
from xml.etree import ElementTree


class Drawing:
    """An image of the page: well-formed SVG, given whole in the page."""

    def __init__(self, source: str, alt: str) -> None:
        kind, _, data = source.partition(";base64,")
        assert kind == "data:image/svg+xml"
        self.alt = alt
        self.elements = list(ElementTree.fromstring(b64decode(data, validate=True)).iter())
        self.texts = [e.text for e in self.elements if e.tag.endswith("}text") and e.text]
        assert not any(e.tag.endswith("}script") for e in self.elements)
        attributes = [(name, value) for e in self.elements for name, value in e.attrib.items()]
        assert all(v.startswith("#") for name, v in attributes if name.endswith("href"))
        ids = Counter(value for name, value in attributes if name == "id")
        assert max(ids.values()) == 1
        values = " ".join(value for _, value in attributes)
        assert set(re.findall(r"url\(([^)]*)\)", values)) <= {f"#{name}" for name in ids}

    @property
    def paths(self) -> list[str]:
        return [e.attrib.get("d", "") for e in self.elements]


class Page(HTMLParser):
    """The content of a document; fails on tags that do not match."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.drawings: list[Drawing] = []  # with the pieces of lines in legends
        self._open: list[str] = []
        self.feed(document)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag == "img":
            _, given = self.tags[-1]
            self.drawings.append(Drawing(given["src"], given["alt"]))
        if tag not in ("img", "meta"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.texts.append(data)

    def attributes(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.tags if name in attributes]

    @property
    def charts(self) -> list[Drawing]:
        return [drawing for drawing in self.drawings if drawing.alt]

    @property
    def text(self) -> str:
        return " ".join(self.texts)
