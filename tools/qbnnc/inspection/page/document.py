"""The document: its sections, from the inspection of a Model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qbnnc.inspection.page import facts
from qbnnc.inspection.page.facts import Layer, bits_of, layers
from qbnnc.inspection.page.histogram import Histogram, drawing, percent
from qbnnc.inspection.page.markup import escaped, section, table, terms
from qbnnc.inspection.page.network import drawing as graph_drawing
from qbnnc.inspection.page.observing import ROWS, observed
from qbnnc.inspection.report import Inspection, describe_outputs, inspect
from qbnnc.ir.graph import Node, Value
from qbnnc.ir.model import Model
from qbnnc.ir.types import Axis
from qbnnc.support.text import counted, human_bytes, spaced

_STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # whatever a name in the file tries
_PER = {"row": "row", "sample": "sample", "row,sample": "row and sample"}


@dataclass(frozen=True, slots=True, eq=False)
class _Content:
    """The Model, its inspection, and the activations that were looked at, if data were given."""

    model: Model
    report: Inspection
    layers: tuple[Layer, ...]
    seen: Mapping[Value, Histogram]
    rows: int
    data: str


def page(
    model: Model,
    file_bytes: int,
    title: str,
    x: NDArray[np.float32] | None = None,
    data: str = "",
) -> str:
    """A whole HTML document; the same Model, title and inputs give the same text.

    `x` [N, *shape] are inputs, of which the first 32 rows are looked at; `data` is what they are
    called. Without them the page says that activations need data.
    """
    seen = {} if x is None else observed(model, x)
    rows = 0 if x is None else min(len(x), ROWS)
    content = _Content(model, inspect(model, file_bytes), layers(model), seen, rows, data)
    parts = list(_sections(content))
    links = "".join(f'<li><a href="#{id}">{escaped(name)}</a></li>' for id, name, _ in parts)
    body = "".join(section(*part) for part in parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{escaped(title)}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n"
        f'<header><h1>{escaped(title)}</h1>\n<p class="lead">{escaped(_lead(content.report))}</p>\n'
        f'<nav aria-label="Contents"><ul>{links}</ul></nav></header>\n<main>\n{body}</main>\n'
        "</body>\n</html>\n"
    )


def _lead(report: Inspection) -> str:
    level = {"FLOAT": "a float network", "SIMULATED": "a fake-quantised network"}
    what = level.get(report.stage, "an integer program")
    bits = f", {spaced(report.bits)}" if report.bits else ""
    return f"{report.method}, {report.task}: {what}{bits}, {counted(report.samples, 'sample')}"


def _sections(content: _Content) -> Iterator[tuple[str, str, str]]:
    graph = content.model.graph
    links = {layer.node.output: f"layer{i}" for i, layer in enumerate(content.layers)}
    yield "summary", "Summary", terms(_summary(content.model, content.report))
    first = "" if content.report.members == 1 else "<p>The first member; all have this graph.</p>\n"
    yield "graph", "Graph", first + graph_drawing(graph, links)
    if content.layers:
        yield "layers", "Layers", _layer_table(content)
        yield "histograms", "Codes of each layer", _cards(content)
    yield "nodes", "Nodes", _node_table(content)
    if any(node.accumulators for node in content.report.nodes):
        yield "proof", "Accumulators", _proof(content.report)


def _summary(model: Model, report: Inspection) -> dict[str, str]:
    """What `qbnnc inspect` says of the whole."""
    size = human_bytes(report.file_bytes)
    if report.float_bytes:
        share = 100 * report.file_bytes / report.float_bytes
        size += f", {share:.1f} % of {human_bytes(report.float_bytes)} of float32 weights"
    macs = f"{report.prefix_macs:,} once a row, {report.sample_macs:,} for every sample of a row"
    memory = f"{human_bytes(report.live_bytes)} of values at once, for 1 row and all samples"
    return {
        "Posterior": report.method,
        "Task": report.task,
        "Outputs": describe_outputs(model),
        "Left out": report.left_out,
        "Widths": spaced(report.bits) or "float32",
        "Weights": report.weights,
        "Members": str(report.members),
        "Samples": str(report.samples),
        "Digest": report.digest,
        "File": size,
        "Constants": human_bytes(report.constant_bytes),
        "Memory": memory,
        "Multiply-accumulates": macs,
        "Random words": f"{report.sample_words:,} of 64 bits for every sample of a row",
        "Integers alone between input and outputs": "yes" if report.integer else "no",
        "Calibrated": report.calibration,
        "Fine-tuned": report.training,
        "Distribution": report.distribution,
        "Compiler": report.compiler,
    }


def _layer_table(content: _Content) -> str:
    draws = content.model.draws
    header = (
        "Layer", "Operation", "Weights", "Weight bits", "Input bits", "Output bits", "Bytes",
        "MACs a run", "Runs a row", "Share of MACs",
    )  # fmt: skip
    rows = [
        (
            f'<a href="#layer{i}">{escaped(layer.name)}</a>',
            layer.node.op.name.removesuffix("_integer"),
            _shape(layer.node.inputs[1].type.shape),
            bits_of(layer.node.inputs[1]),
            bits_of(layer.node.inputs[0]),
            bits_of(layer.made),
            f"{layer.nbytes:,}",
            f"{layer.macs:,}",
            str(layer.runs),
            percent(layer.share),
        )
        for i, layer in enumerate(content.layers)
    ]
    each = "a member's" if content.report.members > 1 else "the"
    note = (
        f"<p>MACs are multiply-accumulates. A layer before the first random one runs once a row, "
        f"and the others run once for each of {each} {counted(draws, 'sample')}. Bytes are those "
        "of its weights and bias, with what draws them.</p>\n"
    )
    return table("Bits, bytes and costs of the layers", header, rows) + note


def _cards(content: _Content) -> str:
    if content.seen:
        note = (
            f"Activations are those of {counted(content.rows, 'row')} of {content.data}, with one "
            "sample of each and the random numbers of seed 0."
        )
    else:
        note = "Histograms of activations need data: give --input FILE[:KEY]."
    heights = "The height of a bar grows with the square root of its count."
    cards = "".join(_card(content, layer, i) for i, layer in enumerate(content.layers))
    return f"<p>{escaped(note)} {heights}</p>\n{cards}"


def _card(content: _Content, layer: Layer, number: int) -> str:
    id, node = f"layer{number}", layer.node
    weight, entry, made = node.inputs[1], node.inputs[0], layer.made
    quants = [(n, v.type.quant) for n, v in (("weights", weight), ("in", entry), ("out", made))]
    rows = [
        (name, facts.range_text(quant), facts.scale_text(quant), facts.zero_text(quant))
        for name, quant in quants
        if quant is not None
    ]
    drawn = list(facts.weight_histograms(layer, content.model.graph))
    drawn += [
        (f"Activations {name}", content.seen[value])
        for name, value in (("in", entry), ("out", made))
        if value in content.seen
    ]
    bars = "\n".join(
        drawing(histogram, f"{title} of {layer.name}", f"{id}h{i}")
        for i, (title, histogram) in enumerate(drawn)
    )
    kind = "sampled weights" if layer.sampled else "constant weights"
    grids = ("", "Range", "Scale", "Zero point")
    shown = table(f"Grids of {layer.name}", grids, rows) if rows else ""
    return (
        f'<article id="{id}">\n<h3>{escaped(layer.name)}</h3>\n'
        f"<p>{escaped(str(node.loc))}: {node.op.name.removesuffix('_integer').replace('_', ' ')}, "
        f"{kind} {_shape(weight.type.shape)}</p>\n{shown}"
        f'<div class="panels">\n{bars}\n</div>\n</article>\n'
    )


def _node_table(content: _Content) -> str:
    header = ["Node", "Operation", "Shape", "Once per", "Codes", "Zero point", "Scale", "Place"]
    if content.seen:
        header[7:7] = ["At lowest code", "At highest code"]
    rows = [_node_row(content, node) for node in content.model.graph.nodes]
    note = "" if content.seen else "<p>Shares of saturated codes need data: --input.</p>\n"
    return note + table("Every node, in the order in which they run", header, rows)


def _node_row(content: _Content, node: Node) -> list[str]:
    type_ = node.output.type
    axes = ",".join(axis.value for axis in Axis if axis in type_.axes)
    row = [
        escaped(node.output.name),
        node.op.name.removesuffix("_integer"),
        _shape(type_.shape),
        _PER.get(axes, "–"),
        bits_of(node.output),
        facts.zero_text(type_.quant),
        facts.scale_text(type_.quant),
        escaped(str(node.loc)),
    ]
    if content.seen:
        found = content.seen.get(node.output)
        codes = found is not None and found.whole
        ends = (found.at_low, found.at_high) if found is not None and codes else ()
        row[7:7] = [percent(share) for share in ends] or ["–", "–"]
    return row


def _proof(report: Inspection) -> str:
    header = ("Accumulators", "Least", "Greatest", "Bits", "int32", "Pairs in int16", "float32")
    rows = [
        (
            escaped(node.node),
            f"{bounds.low:,}".replace("-", "−"),
            f"{bounds.high:,}",
            str(bounds.bits),
            "fits" if bounds.fits_int32 else "does not fit",
            "no" if bounds.saturates else "safe",
            "exact" if bounds.exact_in_float32 else "no",
        )
        for node in report.nodes
        if (bounds := node.accumulators) is not None
    ]
    note = (
        "<p>Proved for every input: no accumulator leaves int32. Weights whose pairs of products "
        "may leave int16 are stored as u8.</p>\n"
    )
    return note + table("Bounds of the accumulators", header, rows)


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "1"
