"""A report as a browser reads it: its texts, links, tables and drawings."""

from __future__ import annotations

import re
from base64 import b64decode
from collections import Counter
from xml.etree import ElementTree

from tests.page.parsed import Parsed


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


class Page(Parsed):
    """The content of a document, with its drawings; fails on tags that do not match."""

    def __init__(self, document: str) -> None:
        self.drawings: list[Drawing] = []  # with the pieces of lines in legends
        super().__init__(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        super().handle_starttag(tag, attrs)
        if tag == "img":
            _, given = self.tags[-1]
            self.drawings.append(Drawing(given["src"], given["alt"]))

    @property
    def charts(self) -> list[Drawing]:
        return [drawing for drawing in self.drawings if drawing.alt]
