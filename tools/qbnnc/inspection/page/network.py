"""The drawing of a graph: a box for each node, in layers, with links to what the page says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qbnnc.inspection.page.facts import merged
from qbnnc.inspection.page.layered import Layout, layered
from qbnnc.inspection.page.markup import escaped
from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.types import PER_ROW, PER_ROW_AND_SAMPLE, PER_SAMPLE, Axes, TensorType
from qbnnc.support.text import counted, shortened

MOST_BOXES = 1000
_WIDTH, _HEIGHT, _STEP, _LETTERS = 168, 40, 64, 22
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
    height = _STEP * (max(layout.rank) + 1)
    edges = "".join(_path(way) for way in layout.ways)
    drawn = "\n".join(_drawn(box, i, layout, links) for i, box in enumerate(boxes))
    return (
        f'<div class="scroll graph" tabindex="0" role="region" aria-label="The graph">\n'
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="group" '
        f'aria-labelledby="gt gd"><title id="gt">The graph</title><desc id="gd">'
        f"{counted(len(boxes), 'box', 'boxes')} from the input at the top to the outputs at the "
        "bottom. A box has a node's name, its operation, the shape of its value without row and "
        f'sample, and its codes.</desc>\n<path class="edge" d="{edges}"/>\n{drawn}\n</svg>\n</div>\n'
        f"{_legend()}"
    )


def _boxes(graph: Graph) -> list[Box]:
    readers, within = graph.consumers(), set[Node]()
    boxes = [Box(graph.input.name, "input", graph.input.type, ())]
    for node in graph.nodes:
        if node in within:
            continue
        kind, nodes, after = node.op.name.removesuffix("_integer"), (node,), merged(node, readers)
        type_ = node.output.type
        if after is not None:
            within.add(after)
            kind, nodes, type_ = f"{kind}, {after.op.name}", (node, after), after.output.type
        boxes.append(Box(node.output.name, kind, type_, nodes))
    # a reader of a merged node comes after both: its place in the order is the first one's
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


def _path(way: tuple[tuple[float, int], ...]) -> str:
    """From the foot of a box to the head of another, past those between."""
    (x, rank), *rest = way
    text, y = f"M{round(x)} {_STEP * rank + _HEIGHT}", _STEP * rank + _HEIGHT
    for i, (to, rank) in enumerate(rest):
        head = _STEP * rank
        middle = (y + head) // 2
        text += f"C{round(x)} {middle} {round(to)} {middle} {round(to)} {head}"
        x, y = to, head + _HEIGHT
        if i + 1 < len(rest):
            text += f"V{y}"
    return text


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
    return both if len(both) <= _LETTERS + 6 else words


def _class(axes: Axes) -> str:
    return _CLASSES.get(axes, "row")


def _legend() -> str:
    items = "".join(f'<li><span class="key {c}"></span>{text}</li>' for c, text in LEGEND.items())
    return f'<ul class="legend" aria-label="Colours: a value is computed">{items}</ul>\n'
