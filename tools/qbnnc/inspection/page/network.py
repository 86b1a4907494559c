"""The drawing of a graph: a box for each node, in layers, with links to what the page says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from qbnnc.inspection.page.facts import merged
from qbnnc.inspection.page.layered import Layout, layered
from qbnnc.inspection.page.markup import escaped
from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.types import PER_ROW, PER_ROW_AND_SAMPLE, PER_SAMPLE, Axes, TensorType
from qbnnc.support.text import shortened

MOST_BOXES = 1000
_WIDTH, _HEIGHT, _STEP, _LETTERS = 168, 40, 64, 22
_STRIP = 5  # lines of boxes that stay together on paper
_CLASSES = {PER_ROW: "row", PER_SAMPLE: "sample", PER_ROW_AND_SAMPLE: "both"}
LEGEND = {
    "row": "once a row",
    "sample": "once a sample",
    "both": "for every row and sample",
}


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """A node, and the one that makes codes of its accumulators; the input has none."""

    name: str
    kind: str
    type: TensorType
    nodes: tuple[Node, ...]

    @property
    def words(self) -> str:
        shape = "×".join(map(str, self.type.shape)) or "1"
        quant = self.type.quant
        few = quant is not None and quant.bits <= 8
        codes = f"u{quant.bits}" if quant is not None and few else self.type.dtype.value
        return f"{shape} {codes}"


def drawing(graph: Graph, links: Mapping[Value, str]) -> str:
    """An SVG of the graph in a box that scrolls; `links` are the ids of layers on the page.

    More than 1000 nodes are not drawn, and a sentence says so.
    """
    boxes = _boxes(graph)
    if len(boxes) > MOST_BOXES:
        return f"<p>{len(boxes)} nodes are too many for a drawing: see the table of nodes.</p>\n"
    layout = layered(len(boxes), _edges(boxes, graph.input), _WIDTH + 20, 20)
    width = round(max(layout.x) + _WIDTH / 2 + 10)
    last = max(layout.rank)
    edges = _edge_paths(layout, last // _STRIP + 1)
    strips = "".join(
        _strip(number, width, min(_STRIP, last + 1 - _STRIP * number), path)
        + "".join(
            _drawn(box, i, layout, links)
            for i, box in enumerate(boxes)
            if layout.rank[i] // _STRIP == number
        )
        + "</svg>\n"
        for number, path in enumerate(edges)
    )
    return (
        '<div class="scroll graph" tabindex="0" role="region" aria-label="The graph">\n'
        f"{strips}</div>\n{_legend()}"
    )


def _strip(number: int, width: int, ranks: int, edges: str) -> str:
    """The head of one of the drawings that stand one below the other; no page break cuts a box."""
    top, height = _STEP * _STRIP * number, _STEP * ranks
    first = _STRIP * number + 1
    return (
        f'<svg width="{width}" height="{height}" viewBox="0 {top - 4} {width} {height}" '
        f'role="group" aria-labelledby="g{number}t g{number}d"><title id="g{number}t">The graph, '
        f'lines {first} to {first + ranks - 1}</title><desc id="g{number}d">Boxes '
        "with the name of a node, its operation, and the shape and codes of its value; lines lead "
        "down to its readers."
        f'</desc>\n<path class="edge" d="{edges}"/>\n'
    )


def _edge_paths(layout: Layout, strips: int) -> list[str]:
    """The edges of each strip: those that begin in it, from foot to head, past boxes between."""
    paths = [""] * strips
    for way in layout.ways:
        for (x, rank), (to, _) in pairwise(way):
            foot, head = _STEP * rank + _HEIGHT, _STEP * (rank + 1)
            middle = (foot + head) // 2
            begin = "" if rank == way[0][1] else f"V{foot}"
            start = f"M{round(x)} {_STEP * rank if begin else foot}{begin}"
            curve = f"C{round(x)} {middle} {round(to)} {middle} {round(to)} {head}"
            paths[rank // _STRIP] += start + curve
    return paths


def _boxes(graph: Graph) -> list[Box]:
    readers, within = graph.consumers(), set[Node]()
    boxes = [Box(graph.input.name, "input", graph.input.type, ())]
    for node in graph.nodes:
        if node in within:
            continue
        kind, after = node.op.name.removesuffix("_integer"), merged(node, readers)
        nodes: tuple[Node, ...] = (node,)
        type_ = node.output.type
        if after is not None:
            within.add(after)
            kind, nodes, type_ = f"{kind}, {after.op.name}", (node, after), after.output.type
        boxes.append(Box(node.output.name, kind, type_, nodes))
    return boxes


def _edges(boxes: list[Box], entry: Value) -> list[tuple[int, int]]:
    made = {node.output: i for i, box in enumerate(boxes) for node in box.nodes} | {entry: 0}
    return sorted(
        {
            (made[value], i)
            for i, box in enumerate(boxes)
            for node in box.nodes
            for value in node.inputs
            if value in made and made[value] != i
        }
    )


def _drawn(box: Box, number: int, layout: Layout, links: Mapping[Value, str]) -> str:
    left = round(layout.x[number] - _WIDTH / 2)
    top = _STEP * layout.rank[number]
    kind = shortened(box.kind.replace("_", " "), _LETTERS + 4)
    middle = left + _WIDTH // 2
    title = f"{box.name}: {box.kind}, {box.words}"
    drawn = (
        f'<g class="{_class(box.type.axes)}"><title>{escaped(title)}</title>'
        f'<rect x="{left}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}" rx="5"/>'
        f'<text class="name" x="{middle}" y="{top + 16}">'
        f"{escaped(shortened(box.name, _LETTERS))}</text>"
        f'<text x="{middle}" y="{top + 32}">{escaped(_second(kind, box.words))}</text></g>'
    )
    id = links.get(box.nodes[0].output) if box.nodes else None
    return drawn if id is None else f'<a href="#{id}">{drawn}</a>'


def _second(kind: str, words: str) -> str:
    """The operation, and the value's shape and codes where both fit."""
    first = kind.partition(",")[0]
    both = f"{first} {words}"
    return both if len(both) <= _LETTERS + 2 else words


def _class(axes: Axes) -> str:
    return _CLASSES.get(axes, "row")


def _legend() -> str:
    items = "".join(f'<li><span class="key {c}"></span>{text}</li>' for c, text in LEGEND.items())
    return f'<ul class="legend" aria-label="Colours: a value is computed">{items}</ul>\n'
